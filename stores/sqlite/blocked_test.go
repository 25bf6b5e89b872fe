package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// Another process may keep the database locked for writers for as long as it likes.
func TestATokenThatCannotBeDeactivatedInALockedDatabaseIsRefusedHere(t *testing.T) {
	t.Parallel() // it waits most of the time
	path := filepath.Join(t.TempDir(), "tokens.db")
	store, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	defer store.Close()
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: store, StoreTimeout: 3 * time.Second})
	require.NoError(t, err)
	defer auth.Close()
	m := auth.As(apitoken.Actor{User: "ada", Environment: "demo", Grants: catalog.All()})
	in, secret, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{read}, Expiry: apitoken.Never()})
	require.NoError(t, err)

	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)

	_, err = m.Deactivate(t.Context(), in.ID)
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.ErrorContains(t, err, "may still be accepted")
	_, err = auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.All(read))
	assert.ErrorIs(t, err, apitoken.ErrDeactivated)

	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		rec, err := store.Get(t.Context(), in.ID)
		return err == nil && rec.Status == apitoken.StatusInactive
	}, 2*time.Minute, 20*time.Millisecond)
}
