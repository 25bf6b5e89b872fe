package postgres

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// poolWith returns a pool of the application.
func poolWith(t *testing.T, url string, set func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	set(config)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// hooked returns a pool whose hook, of each kind that it can have, runs a statement.
func hooked(t *testing.T, url, statement string) map[string]*pgxpool.Pool {
	run := func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	}
	pools := make(map[string]*pgxpool.Pool)
	for hook, set := range map[string]func(*pgxpool.Config){
		"AfterConnect": func(c *pgxpool.Config) { c.AfterConnect = run },
		"PrepareConn": func(c *pgxpool.Config) {
			c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) { return true, run(ctx, conn) }
		},
		"BeforeAcquire": func(c *pgxpool.Config) {
			//lint:ignore SA1019 applications set it as long as the pool runs it
			c.BeforeAcquire = func(ctx context.Context, conn *pgx.Conn) bool { return run(ctx, conn) == nil }
		},
	} {
		pools[hook] = poolWith(t, url, set)
	}
	return pools
}

func TestSessionsInAnotherEncodingAreRefused(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustOpen(t, url).Close()
	refused := func(how string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), `client_encoding "LATIN1"`) || !strings.Contains(err.Error(), "client_encoding=UTF8") {
			t.Errorf("%s: the error is %v", how, err)
		}
	}
	_, err := Open(t.Context(), url+"&client_encoding=latin1")
	refused("in the URL", err)
	for hook, pool := range hooked(t, url, `SET client_encoding = 'latin1'`) {
		_, err := New(t.Context(), pool)
		refused(hook, err)
	}

	psql := operator(t, url)
	role, url := asRole(t, psql, url)
	mustExec(t, psql, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role)
	before := poolWith(t, url, func(*pgxpool.Config) {})
	s, err := New(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, psql, `ALTER ROLE `+role+` SET client_encoding = 'latin1'`)
	_, err = New(t.Context(), poolWith(t, url, func(*pgxpool.Config) {}))
	refused("of the role", err)
	mustCreate(t, mustOpen(t, url), record("token")) // as Open says which one

	// That the role has it from now on does not get past a store that is there.
	before.Reset()
	_, err = s.Get(t.Context(), "token")
	refused("Get", err)
	refused("Create", s.Create(t.Context(), record("müller")))
	refused("Touch", s.Touch(t.Context(), []apitoken.Use{use("token", today)}))
	refused("Watch", s.Watch(t.Context(), newFeed(time.Hour)))
}

func TestAPoolWhoseHookSetsTheSchemaIsWatched(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	mustExec(t, psql, `CREATE SCHEMA tokens`)
	mustOpen(t, url).Close() // tables in public, which are others
	for hook, pool := range hooked(t, url, `SET search_path = tokens`) {
		s, err := New(t.Context(), pool)
		if err != nil {
			t.Fatalf("%s: %v", hook, err)
		}
		mustCreate(t, s, record(hook))
		feed := newFeed(50 * time.Millisecond)
		watch(t, s, feed)
		feed.waitFor(t, "reset")
		mustExec(t, psql, `UPDATE tokens.apitoken_tokens SET status = 'inactive', version = version + 1 WHERE id = $1`, hook)
		feed.waitFor(t, hook)
		feed.caughtUp(t)
	}
}

// Otherwise it would watch tables from which nobody reads.
func TestWatchRefusesTablesInAnotherSchemaThanThoseOfTheStore(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustExec(t, operator(t, url), `CREATE SCHEMA tokens`)
	mustOpen(t, url).Close()
	path := "tokens"
	s, err := New(t.Context(), poolWith(t, url, func(c *pgxpool.Config) {
		c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			_, err := conn.Exec(ctx, `SET search_path = `+path)
			return true, err
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	path = "public"
	if err := s.Watch(t.Context(), newFeed(time.Hour)); err == nil || !strings.Contains(err.Error(), `"public"`) || !strings.Contains(err.Error(), "search_path") {
		t.Errorf("Watch ended with %v", err)
	}
}

func TestWatchSaysThatAHookDoesNotWantItsConnection(t *testing.T) {
	wants := true
	s, err := New(t.Context(), poolWith(t, testserver.PostgresDatabase(t), func(c *pgxpool.Config) {
		c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return wants, nil }
	}))
	if err != nil {
		t.Fatal(err)
	}
	wants = false
	if err := s.Watch(t.Context(), newFeed(time.Hour)); err == nil || !strings.Contains(err.Error(), "hook") {
		t.Errorf("Watch ended with %v", err)
	}
}

func TestReadsGoPastConnectionsThatTheServerEnded(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url+"&pool_max_conns=8&application_name=node")
	mustCreate(t, s, record("token"))
	psql := operator(t, url)
	end := func() {
		var conns []*pgxpool.Conn
		for range 8 {
			conn, err := s.pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			conn.Release()
		}
		if got := settings(t, psql, `SELECT count(pg_terminate_backend(pid, 10000))::text FROM pg_stat_activity WHERE application_name = 'node'`); got != "8" {
			t.Fatalf("%s connections were ended", got)
		}
	}
	for name, read := range map[string]func() error{
		"Get": func() error { _, err := s.Get(t.Context(), "token"); return err },
		"List": func() error {
			page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
			if err == nil && (page.Count != 1 || len(page.Records) != 1) {
				t.Errorf("the list is %+v", page)
			}
			return err
		},
		"Scan":      func() error { _, err := s.Scan(t.Context(), "", 10); return err },
		"KeysInUse": func() error { _, _, err := s.KeysInUse(t.Context()); return err },
	} {
		end()
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				if err := read(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
		end()
		for range 3 {
			if err := read(); err != nil {
				t.Errorf("%s, one after the other: %v", name, err)
			}
		}
	}
}
