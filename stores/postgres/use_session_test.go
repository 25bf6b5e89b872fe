package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// A statement of the application may set another encoding at any time.
func TestSessionsOfTheApplicationInAnotherEncodingAreRefused(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	refused := func(how string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), `client_encoding "LATIN1"`) || !strings.Contains(err.Error(), "client_encoding=UTF8") {
			t.Errorf("%s: the error is %v", how, err)
		}
	}
	_, err := Use(t.Context(), handle(t, "pgx", url+"&client_encoding=latin1"))
	refused("in the URL", err)
	for _, driver := range drivers {
		db := handle(t, driver, url)
		db.SetMaxOpenConns(1)
		s := mustUse(t, db)
		mustCreate(t, s, record(driver))
		encoding := func(name string) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), `SET client_encoding = '`+name+`'`); err != nil {
				t.Fatal(err)
			}
		}
		encoding("latin1")
		_, err := Use(t.Context(), db)
		refused(driver+": Use", err)
		_, err = s.Get(t.Context(), driver)
		refused(driver+": Get", err)
		_, err = s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
		refused(driver+": List", err)
		_, _, err = s.KeysInUse(t.Context())
		refused(driver+": KeysInUse", err)
		refused(driver+": Create", s.Create(t.Context(), record("müller")))
		rec := record(driver)
		rec.Version = 2
		refused(driver+": Replace", s.Replace(t.Context(), rec))
		refused(driver+": Delete", s.Delete(t.Context(), driver))
		refused(driver+": Touch", s.Touch(t.Context(), []apitoken.Use{use(driver, today)}))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		refused(driver+": Watch", s.Watch(ctx, newFeed(time.Hour)))
		encoding("utf8")
		if version(t, s, driver) != 1 || version(t, s, "müller") != 0 {
			t.Errorf("%s: the store is not as it was", driver)
		}
	}
}

func TestAReadOnlySessionOfTheApplicationIsEnded(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		url := testserver.PostgresDatabase(t)
		psql := operator(t, url)
		name := settings(t, psql, `SELECT current_database()`)
		mustCreate(t, mustOpen(t, url), record("token"))
		db := handle(t, driver, url)
		db.SetMaxOpenConns(1)
		s := mustUse(t, db)
		change := map[string]func() error{
			"Touch": func() error { return s.Touch(t.Context(), []apitoken.Use{use("token", today)}) },
			"Replace": func() error {
				rec := record("token")
				rec.Version = 2
				return s.Replace(t.Context(), rec)
			},
		}
		for doing, do := range change {
			mustExec(t, psql, `ALTER DATABASE `+name+` SET default_transaction_read_only = on`)
			mustExec(t, psql, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()`, name)
			if version(t, s, "token") != 1 { // by a session that begins now
				t.Errorf("%s: the token is not there", driver)
			}
			if err := do(); err == nil || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("%s: the error of %s is %v", driver, doing, err)
			}
			mustExec(t, psql, `ALTER DATABASE `+name+` RESET default_transaction_read_only`)
			if err := do(); err != nil {
				t.Errorf("%s: once the database can be written again, the error of %s is %v", driver, doing, err)
			}
			mustExec(t, psql, `UPDATE apitoken_tokens SET version = 1`)
		}
	}
}

func TestReadsGoPastConnectionsOfTheApplicationThatTheServerEnded(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	for _, driver := range drivers {
		const most = 6
		db := handle(t, driver, url+"&application_name="+driver)
		db.SetMaxOpenConns(most)
		db.SetMaxIdleConns(most)
		s := mustUse(t, db)
		mustCreate(t, s, record(driver))
		end := func() {
			t.Helper()
			var conns []*sql.Conn
			for range most {
				conn, err := db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				conn.Close()
			}
			if got := settings(t, psql, `SELECT count(pg_terminate_backend(pid, 10000))::text FROM pg_stat_activity WHERE application_name = $1`, driver); got != fmt.Sprint(most) {
				t.Fatalf("%s connections were ended", got)
			}
		}
		calls := map[string]func() error{
			"Get": func() error { _, err := s.Get(t.Context(), driver); return err },
			"List": func() error {
				page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
				if err == nil && (page.Count == 0 || len(page.Records) != page.Count) {
					t.Errorf("the list is %+v", page)
				}
				return err
			},
			"KeysInUse": func() error { _, _, err := s.KeysInUse(t.Context()); return err },
			// It has not begun when it meets the connection.
			"Touch": func() error { return s.Touch(t.Context(), []apitoken.Use{use(driver, today)}) },
		}
		for name, call := range calls {
			end()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if err := call(); err != nil {
						t.Errorf("%s, %s: %v", driver, name, err)
					}
				})
			}
			all.Wait()
		}
	}
}

// Not every driver heeds the context of a statement while the server does not answer.
func TestAHaltedServerOfTheApplicationIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	for _, driver := range drivers {
		s := mustUse(t, handle(t, driver, server.URL("postgres")))
		s.patience = minPatience
		mustCreate(t, s, record(driver))
		feed := newFeed(100 * time.Millisecond)
		watched := watch(t, s, feed)
		feed.waitFor(t, "reset")
		server.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := make(chan error)
		go func() { _, err := s.Get(ctx, driver); ended <- err }()
		go func() { ended <- <-watched }()
		for range 2 {
			select {
			case err := <-ended:
				isUnknown(t, driver, err)
			case <-time.After(3 * time.Minute):
				t.Errorf("%s: the server is still waited for", driver)
			}
		}
		server.Continue()
		if version(t, s, driver) != 1 {
			t.Errorf("%s: the token is not there", driver)
		}
	}
}

// The nodes share few connections to the server. A statement that takes two steps must not be that of another one in the second.
func TestNodesWithAnyDriverShareAPooler(t *testing.T) {
	t.Parallel()
	direct := testserver.PostgresDatabase(t)
	mustOpen(t, direct).Close()
	through := strings.TrimSuffix(pooled(t, direct), "&default_query_exec_mode=exec")
	for _, driver := range drivers {
		var all sync.WaitGroup
		for n := range 8 {
			db := handle(t, driver, through)
			s := mustUse(t, db)
			own := fmt.Sprint(driver, " ", n)
			mustCreate(t, s, record(own))
			all.Go(func() {
				for i := range 15 {
					if rec, err := s.Get(t.Context(), own); err != nil || rec.ID != own {
						t.Errorf("the token %q is %q (%v)", own, rec.ID, err)
					}
					passing := fmt.Sprint(own, " ", i)
					if err := s.Create(t.Context(), record(passing)); err != nil {
						t.Errorf("Create of %q: %v", passing, err)
					}
					if err := s.Delete(t.Context(), passing); err != nil {
						t.Errorf("Delete of %q: %v", passing, err)
					}
				}
			})
		}
		all.Wait()
	}
}

func TestADatabaseOfTheApplicationBehindAPoolerIsAStore(t *testing.T) {
	testserver.LongVariant(t)
	t.Parallel()
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		db := handle(t, "postgres", strings.TrimSuffix(pooled(t, testserver.PostgresDatabase(t)), "&default_query_exec_mode=exec"))
		return closing{mustUse(t, db), db}
	})
}

func TestARoleThatMayNotMakeTablesUsesThoseOfTheOwner(t *testing.T) {
	for _, driver := range drivers {
		direct := testserver.PostgresDatabase(t)
		psql := operator(t, direct)
		role, url := asRole(t, psql, direct)
		mustExec(t, psql, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
		mustExec(t, psql, `BEGIN`)
		mustExec(t, psql, Schema())
		mustExec(t, psql, `COMMIT`)
		db := handle(t, driver, url)
		_, err := Use(t.Context(), db)
		if err == nil {
			t.Fatalf("%s: a role without rights is accepted", driver)
		}
		_, run, found := strings.Cut(err.Error(), "has to run: ")
		if !found || !strings.Contains(run, role) {
			t.Fatalf("%s: the error is %v", driver, err)
		}
		mustExec(t, psql, run)
		s := mustUse(t, db)
		mustCreate(t, s, record("token"))
		w, f := poller(t, s)
		if err := s.Delete(t.Context(), "token"); err != nil {
			t.Error(err)
		}
		if told := toldOf(t, w, f); len(told) != 1 || told[0] != "token" {
			t.Errorf("%s: the feed was told %q", driver, told)
		}
	}
}

// A quick driver connects to nothing, so that many connections can be made.
type quick struct{}

func (quick) Connect(context.Context) (driver.Conn, error) { return quickConn{}, nil }
func (quick) Driver() driver.Driver                        { return nil }

type quickConn struct{ driver.Conn }

func (quickConn) Close() error { return nil }
func (quickConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(0), nil
}

// A call whose context ends before it has begun goes on behind who has left, while the
// connection is given back. What fails then is database/sql, whatever the driver.
func TestACallThatBeginsLateMeetsNoConnectionThatIsBeingClosed(t *testing.T) {
	db := sql.OpenDB(quick{})
	defer db.Close()
	db.SetMaxOpenConns(20)
	h := &sqlDB{DB: db}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 1000 {
				c, err := h.acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				c.exec(ctx, `SELECT 1`)
				c.release()
			}
		})
	}
	all.Wait()
}
