//go:build mattn

package databases

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/sqlite"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// What stores/sqlite promises of Use, with the driver that is SQLite in C.

const mattnSettings = "?_journal_mode=WAL&_busy_timeout=5000&_foreign_keys=1&_synchronous=NORMAL"

func mattn(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", newPath(t)+dsn)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func TestADatabaseOfMattnIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		store, err := sqlite.Use(t.Context(), mattn(t, mattnSettings))
		must(t, err)
		return store
	})
}

// settingsOf returns the settings of connections of a database, all open at once.
func settingsOf(t *testing.T, db *sql.DB, connections int) (list []string) {
	t.Helper()
	for range connections {
		c, err := db.Conn(t.Context())
		must(t, err)
		defer c.Close()
		var text string
		for _, name := range []string{"journal_mode", "busy_timeout", "foreign_keys", "synchronous", "query_only", "temp_store", "cache_size", "fullfsync"} {
			var value string
			must(t, c.QueryRowContext(t.Context(), `PRAGMA `+name).Scan(&value))
			text += fmt.Sprintln(name, value)
		}
		list = append(list, text)
	}
	return list
}

func TestEveryConnectionOfMattnHasTheSettingsThatItHadBeforeUse(t *testing.T) {
	db := mattn(t, mattnSettings)
	db.SetMaxIdleConns(6)
	all := settingsOf(t, db, 3)
	if want := "journal_mode wal\nbusy_timeout 5000\nforeign_keys 1\nsynchronous 1\n"; !strings.HasPrefix(all[0], want) {
		t.Fatal(all[0])
	}
	store, err := sqlite.Use(t.Context(), db)
	must(t, err)
	mustServe(t, store)
	all = append(all, settingsOf(t, db, 6)...)
	must(t, store.Close())
	for _, now := range append(all, settingsOf(t, db, 6)...) {
		if now != all[0] {
			t.Errorf("a connection has\n%safter\n%s", now, all[0])
		}
	}
}

func TestSettingsOfMattnThatAreNotSafeAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		dsn, statement string
		says           string
	}{
		"synchronous is OFF in the DSN":        {dsn: "?_journal_mode=WAL&_synchronous=OFF", says: "synchronous = OFF"},
		"synchronous is OFF of one connection": {dsn: "?_journal_mode=WAL", statement: `PRAGMA synchronous = OFF`, says: "synchronous = OFF"},
		"no WAL":                               {says: "journal_mode = delete"},
	} {
		t.Run(name, func(t *testing.T) {
			db := mattn(t, c.dsn)
			_, err := db.ExecContext(t.Context(), `CREATE TABLE devices (id INTEGER PRIMARY KEY); `+c.statement)
			must(t, err)
			if _, err := sqlite.Use(t.Context(), db); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Error(err)
			}
		})
	}
}

func TestGORMAndTheTokensShareAnSQLiteOfMattn(t *testing.T) {
	db, err := gorm.Open(gormsqlite.Open(newPath(t)+mattnSettings), &gorm.Config{})
	must(t, err)
	pool, err := db.DB()
	must(t, err)
	defer pool.Close()
	store, err := sqlite.Use(t.Context(), pool)
	must(t, err)
	defer store.Close()
	mustServe(t, store)
	mustStoreDevices(t, db)
	mustServe(t, store)
}

// The driver waits for a lock until the engine gives up, also after its context has ended.
func TestAChangeThatWaitsForATransactionOfMattnEndsWithItsContext(t *testing.T) {
	db := mattn(t, mattnSettings)
	store, err := sqlite.Use(t.Context(), db)
	must(t, err)
	defer store.Close()
	other, err := db.Conn(t.Context())
	must(t, err)
	defer other.Close()
	_, err = other.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	must(t, err)
	var took []time.Duration
	for range 10 { // on a busy machine one alone may be late
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		err := store.Delete(ctx, "token")
		took = append(took, time.Since(start))
		cancel()
		if err == nil || !strings.Contains(err.Error(), "has not ended a transaction") {
			t.Error(err)
		}
	}
	if slices.Min(took) > 4*time.Second { // the engine's timeout is 5 s
		t.Error(took)
	}
	_, err = other.ExecContext(t.Context(), `ROLLBACK`)
	must(t, err)
	mustServe(t, store)
}

// With this DSN, and one connection, each transaction of the application locks the database for writes.
func TestReadsDoNotWaitForTransactionsOfMattn(t *testing.T) {
	db := mattn(t, mattnSettings+"&_txlock=immediate")
	db.SetMaxOpenConns(1)
	store, err := sqlite.Use(t.Context(), db)
	must(t, err)
	defer store.Close()
	mustServe(t, store)
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	defer tx.Rollback()
	if _, err := store.Get(t.Context(), "missing"); !errors.Is(err, apitoken.ErrNotFound) {
		t.Error(err)
	}
	_, err = store.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 1})
	must(t, err)
}
