package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

func TestTheStoreKeepsTheRulesOfTheManager(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	managertest.Run(t, func(t *testing.T) apitoken.Store {
		store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "tokens.db"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	})
}
