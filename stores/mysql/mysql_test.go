package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// handle returns a database of the application.
func handle(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustUse(t testing.TB, db *sql.DB) *Store {
	t.Helper()
	s, err := Use(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.patience = time.Minute
	return s
}

func mustExec(t testing.TB, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

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

// A closing store closes the database of the application, too, so that nothing stays behind.
type closing struct {
	*Store
	db *sql.DB
}

func (c closing) Close() error {
	c.Store.Close()
	return c.db.Close()
}

// empty removes what tokens have in all tables.
func empty(t testing.TB, db *sql.DB) {
	for _, table := range []string{"apitoken_tokens", "apitoken_index", "apitoken_changes"} {
		mustExec(t, db, "DELETE FROM "+table)
	}
}

func TestItIsAStore(t *testing.T) {
	dsn := testserver.MariaDBDatabase(t)
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		db := handle(t, dsn)
		s := mustUse(t, db)
		empty(t, db)
		return closing{s, db}
	})
}

func TestDescribe(t *testing.T) {
	if os.Getenv("DESCRIBE") == "" {
		t.Skip()
	}
	db := handle(t, testserver.MariaDBDatabase(t))
	for _, q := range statements() {
		mustExec(t, db, q)
	}
	c, _ := db.Conn(t.Context())
	lines, err := describe(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := os.Create("schema.txt")
	for _, l := range lines {
		f.WriteString(l + "\n")
	}
}

var today = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func use(id string, at time.Time) apitoken.Use {
	return apitoken.Use{ID: id, Digest: record(id).Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: at}
}
