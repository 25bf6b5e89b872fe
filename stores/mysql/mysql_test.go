package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
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

// isUnknown fails for an error that claims to know the outcome, and for none.
func isUnknown(t testing.TB, doing string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, apitoken.ErrNotFound) || errors.Is(err, apitoken.ErrExists) || errors.Is(err, apitoken.ErrConflict) {
		t.Errorf("%s: the error is %v", doing, err)
	}
}

// answer returns the text that a query finds.
func answer(t testing.TB, db *sql.DB, query string) (text string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
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
	for _, table := range []string{"apitoken_tokens", "apitoken_index", "apitoken_changes", "apitoken_limits"} {
		mustExec(t, db, "DELETE FROM "+table)
	}
}

func TestADatabaseOfTheApplicationIsAStore(t *testing.T) {
	t.Parallel()
	dsn := testserver.MariaDBDatabase(t)
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t, "Acknowledged", "CreateAllAdds", "LaterVersion", "TouchMerges")
		return emptied(t, dsn)
	})
}

func TestWithEveryOptionOfTheDriverItIsAStore(t *testing.T) {
	testserver.LongVariant(t)
	t.Parallel()
	dsn := testserver.MariaDBDatabase(t) + options
	storetest.Run(t, func(t *testing.T) apitoken.Store { return emptied(t, dsn) })
}

// options are those of the driver that change how it writes, reads and counts.
const options = "?interpolateParams=true&clientFoundRows=true&parseTime=true&loc=Asia%2FKathmandu&multiStatements=true&rejectReadOnly=true&columnsWithAlias=true&checkConnLiveness=false"

func TestTheStoreKeepsTheRulesOfTheManager(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	managertest.Run(t, func(t *testing.T) apitoken.Store { return mustUse(t, handle(t, testserver.MariaDBDatabase(t))) })
}

func emptied(t *testing.T, dsn string) closing {
	db := handle(t, dsn)
	db.SetMaxIdleConns(20) // or else many at once connect again and again
	s := mustUse(t, db)
	empty(t, db)
	return closing{s, db}
}

var today = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func use(id string, at time.Time) apitoken.Use {
	return apitoken.Use{ID: id, Digest: record(id).Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: at}
}
