package ownstore

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func TestAStoreInPlainSQLIsAStore(t *testing.T) {
	if testing.Short() {
		t.Skip("repeats the suite of stores")
	}
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

// docs/databases.md says so.
func TestTheStoreTakes150LinesOfCode(t *testing.T) {
	source, err := os.ReadFile("ownstore.go")
	if err != nil {
		t.Fatal(err)
	}
	code := 0
	for line := range strings.Lines(string(source)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			code++
		}
	}
	if code > 150 {
		t.Errorf("it takes %d", code)
	}
}
