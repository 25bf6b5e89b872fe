package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	store, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// database opens a database of an application.
func database(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func mustExec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "tokens.db") }

func record(id string) apitoken.Record {
	digest := sha256.Sum256([]byte(id))
	now := time.Date(2026, 3, 14, 12, 0, 0, 1000, time.UTC)
	return apitoken.Record{
		ID: id, Version: 1, Environment: "environment", Owner: "owner", Name: "name", Permissions: []string{"devices:read"},
		Status: apitoken.StatusActive, CreatedAt: now, CreatedBy: "owner", ChangedAt: now,
		Secrets: []apitoken.SecretRecord{{Digest: digest[:], CreatedAt: now}},
	}
}

func mustCreate(t testing.TB, s *Store, recs ...apitoken.Record) {
	t.Helper()
	for _, rec := range recs {
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
}

// version returns the version of a stored record, 0 if there is none.
func version(t testing.TB, s *Store, id string) int64 {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil && !errors.Is(err, apitoken.ErrNotFound) {
		t.Fatal(err)
	}
	return rec.Version
}

func TestAFileIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		s, err := Open(t.Context(), newPath(t))
		if err != nil {
			t.Fatal(err)
		}
		return s // storetest closes it
	})
}

func TestADatabaseOfTheApplicationIsAStore(t *testing.T) {
	testserver.Variant(t)
	t.Parallel()
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		db := database(t, newPath(t)+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
		db.SetMaxOpenConns(3)
		s, err := Use(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestTwoHandlesSeeEachOthersChanges(t *testing.T) {
	path := newPath(t)
	a, b := mustOpen(t, path), mustOpen(t, path)
	for i := range 20 {
		rec := record(fmt.Sprint("token ", i))
		mustCreate(t, a, rec)
		if got := version(t, b, rec.ID); got != 1 {
			t.Fatalf("after Create in the other handle, the version is %d", got)
		}
		if err := b.Create(t.Context(), rec); !errors.Is(err, apitoken.ErrExists) {
			t.Fatalf("Create of what the other handle has created: %v", err)
		}
		rec.Version++
		if err := b.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if err := a.Replace(t.Context(), rec); !errors.Is(err, apitoken.ErrConflict) {
			t.Fatalf("Replace of what the other handle has replaced: %v", err)
		}
		if got := version(t, a, rec.ID); got != 2 {
			t.Fatalf("after Replace in the other handle, the version is %d", got)
		}
		page, err := a.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
		if err != nil || len(page.Records) != 1 || page.Records[0].Version != 2 {
			t.Fatalf("List: %v, %v", page, err)
		}
		if err := a.Delete(t.Context(), rec.ID); err != nil {
			t.Fatal(err)
		}
		if got := version(t, b, rec.ID); got != 0 {
			t.Fatalf("after Delete in the other handle, the version is %d", got)
		}
	}
}

func TestAClosedStoreOpensAgain(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(path + "-*"); left != nil {
			t.Errorf("%v is left behind", left)
		}
		s = mustOpen(t, path)
		if version(t, s, "token") != 1 {
			t.Fatal("the token is gone")
		}
	}
}

func TestAClosedStoreReportsErrors(t *testing.T) {
	s := mustOpen(t, newPath(t))
	mustCreate(t, s, record("token"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, getErr := s.Get(t.Context(), "token")
	_, listErr := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
	_, scanErr := s.Scan(t.Context(), "", 10)
	_, _, keysErr := s.KeysInUse(t.Context())
	for i, err := range []error{
		getErr, listErr, scanErr, keysErr, s.Create(t.Context(), record("new")), s.Replace(t.Context(), record("token")),
		s.Delete(t.Context(), "token"), s.Touch(t.Context(), []apitoken.Use{{ID: "token"}}),
	} {
		if err == nil || errors.Is(err, apitoken.ErrNotFound) || !strings.HasPrefix(err.Error(), "sqlite: ") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestANewFileIsForItsOwnerAlone(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(f), info.Mode())
		}
	}
}

func TestAPathIsTakenAsItIs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "100%.db", "%41.db", "what?mode=memory", "a#b.db", "ä&ö=1.db", "+.db"} {
		path := filepath.Join(dir, name)
		s := mustOpen(t, path)
		mustCreate(t, s, record(name))
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if again := mustOpen(t, path); version(t, again, name) != 1 {
			t.Errorf("%s: the token is not there", name)
		}
	}
}

func TestARelativePathSurvivesAChangeOfDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	s := mustOpen(t, "tokens.db")
	t.Chdir(t.TempDir())
	mustCreate(t, s, record("token"))
	var wg sync.WaitGroup
	for range 8 { // more connections are opened
		wg.Go(func() {
			if _, err := s.Get(t.Context(), "token"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestWhatCannotBeADatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, path, says string }{
		{"a text", write("text", strings.Repeat("This is not a database.\n", 500)), "not an SQLite database"},
		{"a short text", write("short", "x"), "not an SQLite database"},
		{"half a header", write("half", "SQLite"), "not an SQLite database"},
		{"a header and nothing good", write("damaged", "SQLite format 3\x00"+strings.Repeat("x", 8000)), "not an SQLite database"},
		{"a directory", dir, "directory"},
		{"a missing directory", filepath.Join(dir, "missing", "tokens.db"), "does not exist"},
		{"a file as directory", filepath.Join(dir, "text", "tokens.db"), "not a directory"},
		{"nothing", "", "empty"},
		{"memory", ":memory:", "stores/memory"},
		{"a URI", "file:tokens.db?mode=memory", "not a URI"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := os.ReadFile(c.path)
			s, err := Open(t.Context(), c.path)
			if err == nil {
				s.Close()
				t.Fatal("it is opened")
			}
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %q", err)
			}
			if after, _ := os.ReadFile(c.path); string(after) != string(before) {
				t.Error("it was changed")
			}
		})
	}
	if found, _ := filepath.Glob("file*"); found != nil {
		t.Errorf("%v was left behind", found)
	}
}

func TestAStoreFromTheFutureIsRefused(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	s.Close()
	db := database(t, path)
	mustExec(t, db, `UPDATE apitoken_schema SET version = 5, oldest = 'v0.9.0'`)
	content := func() (all string) {
		err := db.QueryRow(`SELECT group_concat(quote(sql)) || (SELECT group_concat(id || version) FROM apitoken_tokens) FROM sqlite_schema`).Scan(&all)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := content()
	for name, open := range map[string]func() (*Store, error){
		"Open": func() (*Store, error) { return Open(t.Context(), path) },
		"Use":  func() (*Store, error) { return Use(t.Context(), db) },
	} {
		_, err := open()
		if err == nil || !strings.Contains(err.Error(), "version 5, and this program knows version 4; use a newer one, of v0.9.0") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if content() != before {
		t.Error("it was changed")
	}
	mustExec(t, db, `DELETE FROM apitoken_schema`)
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("tables of no version: the error is %v", err)
	}
}

func TestManyCanOpenANewFileAtOnce(t *testing.T) {
	t.Parallel()
	for range 3 {
		path := newPath(t)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if i < 2 { // as other processes
					if out, err := child(t, "open", path, fmt.Sprint("token ", i)).CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
					return
				}
				s, err := Open(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if err := s.Create(t.Context(), record(fmt.Sprint("token ", i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		recs, err := mustOpen(t, path).Scan(t.Context(), "", 10)
		if err != nil || len(recs) != 6 {
			t.Errorf("there are %d records (%v)", len(recs), err)
		}
	}
}

func TestOtherTablesAreLeftAlone(t *testing.T) {
	path := newPath(t)
	db := database(t, path+"?_pragma=journal_mode(wal)")
	mustExec(t, db, `
		PRAGMA user_version = 42; PRAGMA application_id = 43;
		CREATE TABLE terms (a); INSERT INTO terms VALUES ('mine');
		CREATE TRIGGER t AFTER INSERT ON terms BEGIN SELECT RAISE(FAIL, 'no'); END`)
	for _, open := range []func() (*Store, error){
		func() (*Store, error) { return Use(t.Context(), db) },
		func() (*Store, error) { return Open(t.Context(), path) },
	} {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		mustCreate(t, s, record("token"))
		if err := s.Delete(t.Context(), "token"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var user, application, rows, foreign int
		err = db.QueryRow(`SELECT user_version, application_id, (SELECT count(*) FROM terms),
			(SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'apitoken\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_autoindex\_apitoken\_%' ESCAPE '\')
			FROM pragma_user_version, pragma_application_id`).Scan(&user, &application, &rows, &foreign)
		if err != nil || user != 42 || application != 43 || rows != 1 || foreign != 2 {
			t.Errorf("%d, %d, %d, %d, %v", user, application, rows, foreign, err)
		}
	}
}

func TestUseRefusesWhatIsNotSafe(t *testing.T) {
	for _, c := range []struct {
		name, settings, says string
		conns                int
	}{
		{"a rollback journal", "_pragma=journal_mode(delete)", "must be WAL", 0},
		{"UTF-16", "_pragma=encoding('UTF-16')&_pragma=journal_mode(wal)", "UTF-8", 0},
		{"synchronous off", "_pragma=journal_mode(wal)&_pragma=synchronous(off)", "synchronous = OFF", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := database(t, newPath(t)+"?"+c.settings)
			db.SetMaxOpenConns(c.conns)
			mustExec(t, db, `CREATE TABLE mine (a)`)
			_, err := Use(t.Context(), db)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v", err)
			}
			var tables int
			if err := db.QueryRow(`SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil || tables != 1 {
				t.Errorf("the database was changed: %d tables, %v", tables, err)
			}
		})
	}
	for _, dsn := range []string{":memory:", "file:shared?mode=memory&cache=shared", ""} {
		if _, err := Use(t.Context(), database(t, dsn)); err == nil || !strings.Contains(err.Error(), "memory") {
			t.Errorf("%q: the error is %v", dsn, err)
		}
	}
}

func TestUseKeepsItsSettingsToItself(t *testing.T) {
	db := database(t, newPath(t)+"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=busy_timeout(123)")
	db.SetMaxOpenConns(2)
	s, err := Use(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, n int) {
		for range n {
			c, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var synchronous, timeout int
			if err := c.QueryRowContext(t.Context(), `SELECT synchronous, timeout FROM pragma_synchronous, pragma_busy_timeout`).Scan(&synchronous, &timeout); err != nil {
				t.Fatal(err)
			}
			if synchronous != 1 || timeout != 123 {
				t.Errorf("%s, a connection has synchronous = %d, busy_timeout = %d", when, synchronous, timeout)
			}
		}
	}
	check("in use", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("after Close", 2)
	if err := db.Ping(); err != nil {
		t.Errorf("the database was closed: %v", err)
	}
}

func TestWritesAreSynchronous(t *testing.T) {
	s := mustOpen(t, newPath(t))
	var mode string
	var synchronous int
	err := s.writer.conn.QueryRowContext(t.Context(), `SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous`).Scan(&mode, &synchronous)
	if err != nil || mode != "wal" || synchronous != 2 {
		t.Errorf("journal_mode = %s, synchronous = %d, %v", mode, synchronous, err)
	}
}

func TestRowsThatAreNoTokensAreRefused(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"), record("other"))
	db := database(t, path)
	for _, set := range []string{
		`id = NULL`, `id = 'other'`, `version = 0`, `version = -1`, `version = 'x'`, `version = NULL`,
		`environment = ''`, `environment = NULL`, `owner = ''`, `name = NULL`,
		`status = 'expired'`, `status = 'ACTIVE'`, `status = NULL`,
		`permissions = 'devices:read'`, `permissions = '{}'`, `permissions = NULL`, `networks = ''`, `history = '['`, `uses = '1'`,
		`created_at = NULL`, `created_at = '2026-03-14'`, `created_at = 1.5`, `expires_at = 'never'`,
		`digest = NULL`, `digest = x'00'`, `digest = zeroblob(33)`, `digest = 'a text of thirty-two characters.'`,
		`secret_foreign = 2`, `secret_foreign = NULL`, `idempotency_key = x'00'`, `mac = x'00'`,
		`expires_key = 1`, `last_used_key = 1`, `last_used_at = 1`, `old_digest = zeroblob(31)`, `old_encryption_key_id = 'k'`, `old_created_at = 1`, `old_foreign = 1`,
	} {
		_, err := db.Exec(`UPDATE apitoken_tokens SET ` + set + ` WHERE id = 'token'`)
		if err == nil {
			t.Errorf("%s is accepted", set)
		}
	}
	if _, err := db.Exec(`INSERT INTO apitoken_tokens (id) VALUES ('new')`); err == nil {
		t.Error("a row without values is accepted")
	}
	if got := version(t, s, "token"); got != 1 {
		t.Errorf("the version is %d", got)
	}
}

func TestATokenDeletedByHandIsGoneFromLists(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	db := database(t, path)
	mustExec(t, db, `DELETE FROM apitoken_tokens WHERE id = 'token'`)
	for _, table := range []string{"apitoken_permissions", "apitoken_terms", "apitoken_beginnings"} {
		if n := rowsOf(t, db, table); n != 0 {
			t.Errorf("%d rows of it are left in %s", n, table)
		}
	}
	for _, q := range []apitoken.Query{{}, {Text: "name"}, {Permission: "devices:read"}} {
		q.Environment, q.Order, q.Limit = "environment", apitoken.ByName, 10
		page, err := s.List(t.Context(), q)
		if err != nil || page.Count != 0 || page.Records != nil {
			t.Errorf("%+v: %+v, %v", q, page, err)
		}
	}
}

func TestATokenHasNoMoreBeginningsThanItsTermsHave(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	db := database(t, path)
	rec := record("token")
	rec.ID, rec.Owner = "id", "me" // too short for any
	for _, c := range []struct {
		environment, name string
		want              string
	}{
		{"one", "Laptop", ""}, // its beginning is that of the name
		{"one", "My laptop, my lamp", "lam/my laptop, my lamp lap/my laptop, my lamp my /my laptop, my lamp"},
		{"one", "My phone", "pho/my phone"},
		{"two", "My phone", "pho/my phone"},
		{"two", "é è éclair", "è é/é è éclair écl/é è éclair"},
		{"two", "me", ""},
	} {
		rec.Environment, rec.Name = c.environment, c.name
		if rec.Version == 1 {
			mustCreate(t, s, rec)
		} else if err := s.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		rec.Version++
		var got sql.NullString
		err := db.QueryRow(`SELECT group_concat(beginning || '/' || name_key, ' ' ORDER BY beginning) FROM apitoken_beginnings WHERE id = 'id' AND environment = ?`,
			c.environment).Scan(&got)
		if err != nil || got.String != c.want || int(rowsOf(t, db, "apitoken_beginnings")) != strings.Count(c.want, "/") {
			t.Errorf("%q has the beginnings %q, not %q (%v); there are %d in all", c.name, got.String, c.want, err, rowsOf(t, db, "apitoken_beginnings"))
		}
	}
}

func rowsOf(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestARecordThatHasNoColumnsIsRefused(t *testing.T) {
	s := mustOpen(t, newPath(t))
	mustCreate(t, s, record("token"))
	for name, breaks := range map[string]func(*apitoken.Record){
		"no secret":     func(r *apitoken.Record) { r.Secrets = nil },
		"three secrets": func(r *apitoken.Record) { r.Secrets = append(r.Secrets, r.Secrets[0], r.Secrets[0]) },
		"short digest":  func(r *apitoken.Record) { r.Secrets[0].Digest = []byte("short") },
		"no digest":     func(r *apitoken.Record) { r.Secrets[0].Digest = nil },
		"no UTF-8":      func(r *apitoken.Record) { r.Permissions = []string{"\xff"} },
		"no version":    func(r *apitoken.Record) { r.Version = 0 },
		"expired":       func(r *apitoken.Record) { r.Status = apitoken.StatusExpired },
	} {
		rec := record("new")
		breaks(&rec)
		if err := s.Create(t.Context(), rec); err == nil || !strings.HasPrefix(err.Error(), "sqlite: ") {
			t.Errorf("%s: the error of Create is %v", name, err)
		}
		if version(t, s, "new") != 0 {
			t.Errorf("%s: it was created", name)
		}
		if name != "no version" {
			rec = record("token")
			breaks(&rec)
			rec.Version = 2
			if err := s.Replace(t.Context(), rec); err == nil || errors.Is(err, apitoken.ErrConflict) {
				t.Errorf("%s: the error of Replace is %v", name, err)
			}
		}
		if version(t, s, "token") != 1 {
			t.Errorf("%s: it was replaced", name)
		}
	}
}

func TestAFullDiskChangesNothing(t *testing.T) {
	s := mustOpen(t, newPath(t))
	mustCreate(t, s, record("token"))
	limit := func(pages string) {
		if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA max_page_count = `+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // as small as what is there
	large := record("large")
	large.Version = 2
	large.Description = strings.Repeat("x", 100_000)
	for range 3 {
		if err := s.Create(t.Context(), large); err == nil || errors.Is(err, apitoken.ErrExists) {
			t.Fatalf("the error of Create is %v", err)
		}
		large.ID = "token"
		if err := s.Replace(t.Context(), large); err == nil || errors.Is(err, apitoken.ErrConflict) {
			t.Fatalf("the error of Replace is %v", err)
		}
		large.ID = "large"
	}
	page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Text: "name", Limit: 10})
	if err != nil || page.Count != 1 || page.Records[0].Version != 1 {
		t.Errorf("something was written: %+v, %v", page, err)
	}
	limit("1000000")
	mustCreate(t, s, large)
}

func TestALockedDatabaseIsWaitedForNoLongerThanTheContext(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	db := database(t, path)
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	for range 20 { // a busy machine has not begun to wait, some times
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err = together(8, func(i int) error { return s.Create(ctx, record(fmt.Sprint("new ", i))) })
		cancel()
		if strings.Count(fmt.Sprint(err), "the database is locked (busy)") == 8 {
			break
		}
	}
	if strings.Count(fmt.Sprint(err), "the database is locked (busy)") != 8 {
		t.Errorf("not every error says why: %v", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err) // SQLite itself gives up after 5 seconds, with another one
	}
	if version(t, s, "token") != 1 { // reads go on meanwhile
		t.Error("the token cannot be read")
	}
	if _, err := lock.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if version(t, s, "new 0") != 0 {
		t.Error("it was created after all")
	}
	mustCreate(t, s, record("new 0"))
}

func TestALockedDatabaseIsNamedBeforeTheContextEnds(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	db := database(t, path)
	db.SetMaxOpenConns(1)
	mustExec(t, db, `BEGIN IMMEDIATE`)
	rec := record("token")
	rec.Version, rec.Status = 2, apitoken.StatusInactive
	var err, late error
	for range 20 { // a busy machine may be too late, some times
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err, late = s.Replace(ctx, rec), ctx.Err()
		cancel()
		if late == nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "locked (busy)") || late != nil {
		t.Errorf("the error is %v, and of the context %v", err, late)
	}
	mustExec(t, db, `ROLLBACK`)
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Errorf("then: %v", err)
	}
}

func TestAContextThatEndsAtAnyMomentLeavesTheStoreUsable(t *testing.T) {
	s := mustOpen(t, newPath(t))
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Duration(i%100) * 2 * time.Microsecond)
			cancel()
		}()
		rec := record(fmt.Sprint("token ", i))
		err := s.Create(ctx, rec)
		cancel()
		if there := version(t, s, rec.ID) == 1; there != (err == nil) {
			t.Fatalf("Create returned %v; the record is there: %v", err, there)
		}
	}
	mustCreate(t, s, record("token"))
}

// together runs f n times at once and returns an error if any is not nil.
func together(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
