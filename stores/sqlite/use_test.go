package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
)

func TestUseTakesADatabaseOfWhichOneConnectionHasSettingsByStatement(t *testing.T) {
	for _, statement := range []string{`PRAGMA foreign_keys = ON`, `PRAGMA busy_timeout = 77`, `PRAGMA query_only = ON`, `ATTACH ':memory:' AS other`, `CREATE TEMP TABLE mine (a)`} {
		db := database(t, newPath(t)+"?_pragma=journal_mode(wal)")
		db.SetMaxOpenConns(1)
		mustExec(t, db, statement)
		before := settingsOf(t, db, 1)
		s, err := Use(t.Context(), db)
		if err != nil {
			t.Errorf("after %s: %v", statement, err)
			continue
		}
		mustCreate(t, s, record("token"))
		if now := settingsOf(t, db, 1); now[0] != before[0] {
			t.Errorf("after %s a connection has\n%safter\n%s", statement, now[0], before[0])
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The connections of the application are in use, one with a transaction that writes.
func TestReadsDoNotWaitForTheConnectionsOfTheApplication(t *testing.T) {
	for _, most := range []int{1, 2} {
		db := database(t, newPath(t)+"?_pragma=journal_mode(wal)")
		db.SetMaxOpenConns(most)
		s, err := Use(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		mustCreate(t, s, record("token"))
		if n := db.Stats().OpenConnections; n != 1 {
			t.Errorf("the application has %d connections", n)
		}
		for i := range most {
			c, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.ExecContext(t.Context(), []string{`BEGIN IMMEDIATE`, `BEGIN`}[i]); err != nil {
				t.Fatal(err)
			}
		}
		if version(t, s, "token") != 1 {
			t.Error("it is not there")
		}
		page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 1})
		if err != nil || len(page.Records) != 1 {
			t.Errorf("List: %d records, %v", len(page.Records), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// settings are the pragmas that hold for a connection, and can matter to an application.
var settings = []string{
	"foreign_keys", "recursive_triggers", "synchronous", "busy_timeout", "cache_size", "temp_store", "mmap_size", "query_only",
	"read_uncommitted", "secure_delete", "trusted_schema", "wal_autocheckpoint", "ignore_check_constraints", "legacy_alter_table",
	"reverse_unordered_selects", "locking_mode", "fullfsync", "checkpoint_fullfsync", "automatic_index", "cell_size_check",
}

// one returns the one value that a query selects; some pragmas have none.
func one(ctx context.Context, c *sql.Conn, query string) (value string, err error) {
	err = c.QueryRowContext(ctx, query).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return value, err
}

func TestUseLeavesTheConnectionsOfTheApplicationAsTheyAre(t *testing.T) {
	for _, most := range []int{0, 1, 2, 3} {
		t.Run(fmt.Sprint("at most ", most), func(t *testing.T) {
			db := database(t, newPath(t)+"?_pragma=journal_mode(wal)&_pragma=foreign_keys(1)&_pragma=cache_size(123)")
			db.SetMaxOpenConns(most)
			mustExec(t, db, `CREATE TABLE mine (a)`)
			s, err := Use(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err := db.Ping(); err != nil {
					t.Error(err)
				}
			})
			mustCreate(t, s, record("token"))
			f := &feed{}
			mustWatch(t, s, f)
			for range 3 {
				var foreign, size, synchronous int
				if err := db.QueryRow(`SELECT foreign_keys, cache_size, synchronous FROM pragma_foreign_keys, pragma_cache_size, pragma_synchronous`).
					Scan(&foreign, &size, &synchronous); err != nil || foreign != 1 || size != 123 {
					t.Errorf("%d, %d, %d, %v", foreign, size, synchronous, err)
				}
			}
			mustExec(t, db, `UPDATE apitoken_tokens SET status = 'inactive'`)
			if ids, _ := f.told(t); len(ids) != 1 {
				t.Errorf("the feed is told of %q", ids)
			}
		})
	}
}

// settingsOf returns the settings of connections of a database, all open at once, including new ones.
func settingsOf(t *testing.T, db *sql.DB, connections int) []string {
	t.Helper()
	var list []string
	for range connections {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var text string
		for _, name := range append([]string{"journal_mode"}, settings...) {
			value, err := one(t.Context(), c, `PRAGMA `+name)
			if err != nil {
				t.Fatal(err)
			}
			text += name + " = " + value + "\n"
		}
		list = append(list, text)
	}
	return list
}

func TestEveryConnectionHasTheSettingsThatItHadBeforeUse(t *testing.T) {
	db := database(t, newPath(t)+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(77)&_pragma=foreign_keys(1)&_pragma=synchronous(normal)")
	db.SetMaxIdleConns(6)
	before := settingsOf(t, db, 3)
	s, err := Use(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, record("token"))
	if version(t, s, "token") != 1 {
		t.Error("it is not there")
	}
	used := settingsOf(t, db, 6)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, now := range slices.Concat(before, used, settingsOf(t, db, 6)) {
		if now != before[0] {
			t.Errorf("a connection has\n%safter\n%s", now, before[0])
		}
	}
}

func TestConnectionsThatCouldLoseAcknowledgedChangesAreRefused(t *testing.T) {
	for name, set := range map[string]struct{ dsn, statement string }{
		"in the DSN":        {dsn: "&_pragma=synchronous(off)"},
		"of one connection": {statement: `PRAGMA synchronous = OFF`},
	} {
		t.Run(name, func(t *testing.T) {
			db := database(t, newPath(t)+"?_pragma=journal_mode(wal)"+set.dsn)
			mustExec(t, db, set.statement) // on the one connection that there is
			if _, err := Use(t.Context(), db); !errors.Is(err, errSynchronousOff) {
				t.Error(err)
			}
		})
	}
}

func TestWithOneConnectionTheApplicationMayCallTheStoreInsideOfItsOwnTransaction(t *testing.T) {
	db := database(t, newPath(t)+"?_pragma=journal_mode(wal)")
	db.SetMaxOpenConns(1)
	mustExec(t, db, `CREATE TABLE mine (a)`)
	s, err := Use(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM mine`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, record("token"))
	if version(t, s, "token") != 1 {
		t.Error("it is not there")
	}
}

func TestAWatchEndsWithItsContextAndWithTheStore(t *testing.T) {
	s := mustOpen(t, newPath(t))
	begin := func(ctx context.Context) (ended chan error) {
		f := &feed{}
		ended = make(chan error, 1)
		go func() { ended <- s.Watch(ctx, f) }()
		f.told(t)
		return ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	first, second := begin(ctx), begin(t.Context())
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-second; !errors.Is(err, errClosed) || strings.Count(err.Error(), "sqlite: ") != 1 {
		t.Errorf("the error is %v", err)
	}
	if err := s.Watch(t.Context(), &feed{}); !errors.Is(err, errClosed) {
		t.Errorf("of a closed store, the error is %v", err)
	}
}
