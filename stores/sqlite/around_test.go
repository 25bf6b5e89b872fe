package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	modernc "modernc.org/sqlite"
)

// restore copies the database at path into that of db, by the backup interface of the engine.
func restore(t *testing.T, db *sql.DB, path string) {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Raw(func(driver any) error {
		b, err := driver.(interface {
			NewRestore(string) (*modernc.Backup, error)
		}).NewRestore(path)
		if err != nil {
			return err
		}
		for more := true; more; {
			if more, err = b.Step(-1); err != nil {
				break
			}
		}
		if finish := b.Finish(); err == nil {
			err = finish
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each is a way that the engine offers to change tokens or the log by hand.
func TestEveryWayAroundTheLogIsNoticed(t *testing.T) {
	const edit = `UPDATE apitoken_tokens SET status = 'inactive', version = version + 1 WHERE id = 'token'`
	for name, c := range map[string]struct {
		change func(t *testing.T, db *sql.DB, path string)
		says   string // the error of Watch; "" for a Reset or a change
	}{
		"a trigger is dropped": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `DROP TRIGGER apitoken_log_update; `+edit)
		}, "apitoken_log_update"},
		"a trigger is dropped and made again": {func(t *testing.T, db *sql.DB, path string) {
			_, trigger, _ := strings.Cut(schema, "CREATE TRIGGER apitoken_log_update")
			trigger, _, _ = strings.Cut(trigger, "END;")
			mustExec(t, db, `BEGIN; DROP TRIGGER apitoken_log_update; `+edit+`; CREATE TRIGGER apitoken_log_update`+trigger+`END; COMMIT`)
		}, ""},
		"a trigger does nothing": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `BEGIN; DROP TRIGGER apitoken_log_update;
				CREATE TRIGGER apitoken_log_update AFTER UPDATE ON apitoken_tokens BEGIN SELECT 1; END; COMMIT; `+edit)
		}, "apitoken_log_update"},
		"writable_schema": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'apitoken_log_update'; PRAGMA writable_schema = RESET; `+edit)
		}, "apitoken_log_update"},
		"another table has the name": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `ALTER TABLE apitoken_tokens RENAME TO away; CREATE TABLE apitoken_tokens AS SELECT * FROM away; `+edit)
		}, "apitoken_tokens"},
		"INSERT OR REPLACE over the number of another token": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `CREATE TEMP TABLE rows AS SELECT * FROM apitoken_tokens WHERE id = 'token'; UPDATE rows SET id = 'new';
				INSERT OR REPLACE INTO apitoken_tokens SELECT * FROM rows`)
		}, ""},
		"UPDATE OR REPLACE to the number of another token": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `UPDATE OR REPLACE apitoken_tokens SET token = (SELECT token FROM apitoken_tokens WHERE id = 'token') WHERE id = 'other'`)
		}, ""},
		"recursive_triggers": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `PRAGMA recursive_triggers = ON; `+edit)
		}, ""},
		"ATTACH": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, database(t, newPath(t)), `ATTACH '`+path+`' AS a; UPDATE a.apitoken_tokens SET status = 'inactive' WHERE id = 'token'`)
		}, ""},
		"the whole table is emptied": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, `DELETE FROM apitoken_tokens`)
		}, ""},
		"the log is emptied": {func(t *testing.T, db *sql.DB, path string) {
			mustExec(t, db, edit+`; DELETE FROM apitoken_changes`)
		}, ""},
		"a backup of earlier, with as many changes since": {func(t *testing.T, db *sql.DB, path string) {
			backup := path + ".backup"
			mustExec(t, db, `VACUUM INTO '`+backup+`'`)
			mustExec(t, db, edit)
			mustExec(t, database(t, backup), `UPDATE apitoken_tokens SET name = 'x' WHERE id = 'token'`)
			restore(t, db, backup)
		}, ""},
		"a backup without tables": {func(t *testing.T, db *sql.DB, path string) {
			backup := filepath.Join(t.TempDir(), "empty.db")
			mustExec(t, database(t, backup), `CREATE TABLE mine (a)`)
			restore(t, db, backup)
		}, ""},
		"VACUUM": {func(t *testing.T, db *sql.DB, path string) { mustExec(t, db, `VACUUM`) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s := mustOpen(t, path)
			mustCreate(t, s, record("other"), record("token"))
			f := &feed{}
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { ended <- s.Watch(ctx, f) }()
			f.told(t)
			// The change is made in one go, between two looks.
			db := database(t, path+"?_pragma=busy_timeout(5000)")
			db.SetMaxOpenConns(1)
			c.change(t, db, path)
			if c.says != "" || strings.Contains(name, "without tables") {
				select {
				case err := <-ended:
					if !strings.Contains(err.Error(), c.says) {
						t.Errorf("Watch returned %v", err)
					}
				case <-time.After(2 * time.Minute):
					t.Error("Watch goes on")
				}
				return
			}
			if ids, resets := f.told(t); !slices.Contains(ids, "token") && resets == 1 {
				t.Errorf("the feed is told of %q, and of no Reset", ids)
			}
		})
	}
}

func TestTheWALModeCannotBeEndedWhileItIsOpen(t *testing.T) {
	path := newPath(t)
	mustCreate(t, mustOpen(t, path), record("token"))
	var mode string
	err := database(t, path).QueryRow(`PRAGMA journal_mode = DELETE`).Scan(&mode)
	if err == nil && mode != "wal" {
		t.Errorf("it is %s", mode)
	}
}
