package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSettingsMadeOnOneConnectionAreNotSwallowed(t *testing.T) {
	for statement, says := range map[string]string{
		`PRAGMA foreign_keys = ON`:       "PRAGMA foreign_keys = 1",
		`PRAGMA recursive_triggers = ON`: "PRAGMA recursive_triggers = 1",
		`PRAGMA busy_timeout = 77`:       "PRAGMA busy_timeout = 77",
		`PRAGMA synchronous = EXTRA`:     "PRAGMA synchronous = 3",
		`ATTACH ':memory:' AS other`:     "ATTACH",
		`CREATE TEMP TABLE mine (a)`:     "temporary table",
	} {
		db := database(t, newPath(t)+"?_pragma=journal_mode(wal)")
		mustExec(t, db, statement)
		_, err := Use(t.Context(), db)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("after %s the error is %v", statement, err)
		}
	}
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

// settingsOf returns what connections of a database have, all open at once: also those that it has yet to open.
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
