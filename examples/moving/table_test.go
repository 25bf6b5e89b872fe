package moving

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/apitoken-go/apitoken"
)

// fromTable is the old way: it accepts what is in the column key.
func fromTable(db *sql.DB) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var owner string
			if db.QueryRow(`SELECT owner FROM api_keys WHERE key = ?`, r.Header.Get("X-Api-Key")).Scan(&owner) != nil {
				http.Error(w, "no key", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, WithOwner(r, owner))
		})
	}
}

// keyTable returns a table with one key, of bob.
func keyTable(t *testing.T) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec(`CREATE TABLE api_keys (id INTEGER PRIMARY KEY, key TEXT UNIQUE, owner TEXT NOT NULL);
		INSERT INTO api_keys (key, owner) VALUES (?, 'bob')`, oldKey)
	require.NoError(t, err)
	return db
}

func TestAMovedKeyWorksAndThePublicIDOfItsTokenDoesNot(t *testing.T) {
	db := keyTable(t)
	_, err := db.Exec(`ALTER TABLE api_keys ADD COLUMN token_id TEXT`)
	require.NoError(t, err)
	a := newAuthority(t, keysOf35)
	h := Beside(a, apitoken.All(readDevices), fromTable(db))(devices)
	for range 2 { // the second time there is nothing to do
		require.NoError(t, MoveKey(t.Context(), db, a, operator, 1, readDevices))
	}
	status, owner := ask(h, "X-Api-Key: "+oldKey)
	assert.Equal(t, 200, status)
	assert.Equal(t, "bob", owner)
	var id string
	require.NoError(t, db.QueryRow(`SELECT token_id FROM api_keys WHERE key IS NULL`).Scan(&id))
	status, _ = ask(h, "X-Api-Key: "+id)
	assert.Equal(t, 401, status)

	// The key is not revived by the old way.
	_, err = a.As(operator).Deactivate(t.Context(), id)
	require.NoError(t, err)
	status, _ = ask(h, "X-Api-Key: "+oldKey)
	assert.Equal(t, 401, status)

	// This is why: with the ID in the column of keys, everybody who knows it gets in.
	_, err = db.Exec(`UPDATE api_keys SET key = token_id`)
	require.NoError(t, err)
	status, _ = ask(h, "X-Api-Key: "+id)
	assert.Equal(t, 200, status)
}

func TestAKeyWhoseMoveBrokeOffIsMovedTheNextTime(t *testing.T) {
	db := keyTable(t)
	a := newAuthority(t, keysOf35)
	assert.ErrorContains(t, MoveKey(t.Context(), db, a, operator, 1, readDevices), "token_id")
	_, err := db.Exec(`ALTER TABLE api_keys ADD COLUMN token_id TEXT`)
	require.NoError(t, err)
	require.NoError(t, MoveKey(t.Context(), db, a, operator, 1, readDevices))
	var key sql.NullString
	require.NoError(t, db.QueryRow(`SELECT key FROM api_keys`).Scan(&key))
	assert.False(t, key.Valid)
}
