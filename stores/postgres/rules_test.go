package postgres

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestTheStoreKeepsTheRulesOfTheManager(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	managertest.Run(t, func(t *testing.T) apitoken.Store {
		store, err := Open(context.Background(), inSchema(t, url))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	})
}
