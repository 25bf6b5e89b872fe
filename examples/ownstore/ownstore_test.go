package ownstore

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func TestAStoreInPlainSQLIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(60000)&_pragma=synchronous(full)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(4)
		if _, err := db.Exec(Schema); err != nil {
			t.Fatal(err)
		}
		return Store{db}
	})
}
