package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

func TestAfterCloseTheDatabaseIsOneFile(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	store, err := sqlite.Open(ctx, filepath.Join(dir, "tokens.db"))
	require.NoError(t, err)
	rec := apitoken.Record{
		ID: "id", Version: 1, Environment: "e", Owner: "o", Name: "n", Status: apitoken.StatusActive, CreatedAt: time.Now(),
		Secrets: []apitoken.SecretRecord{{Digest: make([]byte, 32)}},
	}
	require.NoError(t, store.Create(ctx, rec))
	_, err = store.Get(ctx, "id")
	require.NoError(t, err)
	require.NoError(t, store.Close())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "and no log beside it, which a copy would forget")
}
