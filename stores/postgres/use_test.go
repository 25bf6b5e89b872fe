package postgres

import (
	"database/sql"
	"database/sql/driver"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// drivers are those of database/sql that the tests use.
var drivers = []string{"postgres", "pgx"}

var (
	_ driver.Driver = (*pq.Driver)(nil)     // "postgres"
	_ driver.Driver = (*stdlib.Driver)(nil) // "pgx"
)

// handle returns a database of the application.
func handle(t testing.TB, driver, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, url)
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

// A closing store closes the database of the application, too, so that nothing stays behind.
type closing struct {
	*Store
	db *sql.DB
}

func (c closing) Close() error {
	c.Store.Close()
	return c.db.Close()
}

func TestADatabaseOfTheApplicationIsAStore(t *testing.T) {
	testserver.Variant(t)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			if driver != drivers[0] {
				testserver.LongVariant(t)
			}
			t.Parallel()
			url := testserver.PostgresDatabase(t)
			storetest.Run(t, func(t *testing.T) apitoken.Store {
				testserver.UnwatchedLists(t)
				db := handle(t, driver, inSchema(t, url))
				return closing{mustUse(t, db), db}
			})
		})
	}
}

// All drivers poll in the same way; what each of them is told is in other tests.
func TestADatabaseOfTheApplicationIsAWatcher(t *testing.T) {
	testserver.Variant(t)
	t.Parallel() // it waits most of the time
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes {
		return nodesBy(t, testserver.PostgresDatabase(t), nil, func(t *testing.T, url string) apitoken.Store {
			db := handle(t, "postgres", url)
			s, err := Use(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			return closing{s, db}
		})
	})
}

func TestTheDatabaseOfTheApplicationStaysOpen(t *testing.T) {
	for _, driver := range drivers {
		db := handle(t, driver, testserver.PostgresDatabase(t))
		s := mustUse(t, db)
		mustCreate(t, s, record("token"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.PingContext(t.Context()); err != nil {
			t.Errorf("%s: after Close of the store: %v", driver, err)
		}
	}
}

// What a driver would write in its own way is read by another one as it was.
func TestEveryDriverStoresTheSame(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	stores := map[string]*Store{"pgxpool": mustOpen(t, url)}
	for _, driver := range drivers {
		stores[driver] = mustUse(t, handle(t, driver, url))
	}
	stores["pgx, simple protocol"] = mustUse(t, handle(t, "pgx", url+"&default_query_exec_mode=simple_protocol"))
	stores["pq, binary parameters"] = mustUse(t, handle(t, "postgres", url+"&binary_parameters=yes"))
	stores["pq, other formats"] = mustUse(t, handle(t, "postgres", url+"&bytea_output=escape&timezone=Asia/Kathmandu"))
	stores["pgx, other formats"] = mustUse(t, handle(t, "pgx", url+"&datestyle=sql,dmy&bytea_output=escape&timezone=Asia/Kathmandu"))
	for name, s := range stores {
		mustCreate(t, s, record("with nothing in rest "+name))
		rec := record(name)
		rec.Permissions, rec.History = []string{"a \"b\" {c}", "'\\", "NULL", "müller", ""}, []apitoken.HistoryEntry{{At: today, By: "'\\"}}
		rec.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.1/32")}
		rec.ExpiresAt, rec.NotBefore, rec.Uses = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC), today, []apitoken.Use{use(name, today)}
		rec.Secrets = append(rec.Secrets, apitoken.SecretRecord{Digest: record("old").Secrets[0].Digest, ValidUntil: today, Ciphertext: []byte{0, '\'', '\\', 255}})
		mustCreate(t, s, rec)
		rec.Version, rec.MACKeyID, rec.MAC = 2, "k", make([]byte, 32)
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Touch(t.Context(), []apitoken.Use{use(name, today.Add(time.Hour))}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rec.Uses = []apitoken.Use{use(name, today.Add(time.Hour))}
		for reader, s := range stores {
			if got, err := s.Get(t.Context(), name); err != nil || !reflect.DeepEqual(got, rec) {
				t.Errorf("%s reads what %s wrote as %+v, not %+v (%v)", reader, name, got, rec, err)
			}
		}
	}
	if got := settings(t, operator(t, url), `SELECT id FROM apitoken_tokens WHERE rest = ''`); got != "" {
		t.Errorf("nothing is written as a text without bytes, and not as NULL: %s", got)
	}
}

// There is no deadlock: no call holds a connection while it waits for another one.
func TestOneConnectionIsEnough(t *testing.T) {
	for _, driver := range drivers {
		db := handle(t, driver, testserver.PostgresDatabase(t))
		db.SetMaxOpenConns(1)
		s := mustUse(t, db)
		feed := newFeed(50 * time.Millisecond)
		watch(t, s, feed)
		feed.waitFor(t, "reset")
		mustCreate(t, s, record("token"))
		feed.waitFor(t, "token")
		rec := record("token")
		if err := s.Replace(t.Context(), rec); err == nil {
			t.Errorf("%s: a record is replaced by one of its own version", driver)
		}
		if page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10}); err != nil || page.Count != 1 {
			t.Errorf("%s: the list is %+v (%v)", driver, page, err)
		}
		if err := s.Touch(t.Context(), []apitoken.Use{use("token", today)}); err != nil {
			t.Errorf("%s: %v", driver, err)
		}
		if _, _, err := s.KeysInUse(t.Context()); err != nil {
			t.Errorf("%s: %v", driver, err)
		}
		if err := s.Delete(t.Context(), "token"); err != nil {
			t.Errorf("%s: %v", driver, err)
		}
		feed.caughtUp(t)
	}
}

func TestNothingStaysOnTheConnectionsOfTheApplication(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	const left = `SELECT count(*) || (SELECT coalesce(string_agg(statement, '; '), '') FROM pg_prepared_statements) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'`
	const settings = `SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
		WHERE name IN ('statement_timeout', 'lock_timeout', 'synchronous_commit', 'enable_seqscan', 'search_path', 'work_mem')`
	for _, driver := range drivers {
		db := handle(t, driver, url)
		db.SetMaxOpenConns(1) // so that it is the same one
		one := func(query string) (text string) {
			t.Helper()
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if err := tx.QueryRowContext(t.Context(), query).Scan(&text); err != nil {
				t.Fatal(err)
			}
			return text
		}
		const pid = `SELECT pg_backend_pid()::text`
		before, session := one(settings), one(pid)
		s := mustUse(t, db)
		w, _ := poller(t, s)
		mustCreate(t, s, record(driver))
		if err := s.Touch(t.Context(), []apitoken.Use{use(driver, today)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if version(t, s, driver) != 1 {
			t.Errorf("%s: the token is not there", driver)
		}
		if err := w.trimTo(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := one(settings); got != before {
			t.Errorf("%s: there is left %s, not %s", driver, got, before)
		}
		if got := one(left); !strings.HasPrefix(got, "0") || strings.Contains(got, "apitoken") {
			t.Errorf("%s: there is left %s", driver, got)
		}
		if one(pid) != session {
			t.Errorf("%s: the application lost its session", driver)
		}
	}
}
