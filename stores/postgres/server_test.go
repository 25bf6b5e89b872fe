package postgres

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestWhatWasAcknowledgedSurvivesACrash(t *testing.T) {
	t.Parallel()
	// Without more, this server writes what is committed to the disk ten seconds later.
	server := testserver.Postgres(t, "synchronous_commit=off", "wal_writer_delay=10000")
	url := server.URL("postgres")
	s := mustOpen(t, url)
	mustExec(t, operator(t, url), `CREATE TABLE control (n int)`)
	mustCreate(t, s, record("replaced"), record("deleted"))

	lost := false
	for i := range int64(5) {
		rec := record("replaced")
		rec.Version = 2 + i
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := s.Delete(t.Context(), "deleted"); err != nil {
				t.Fatal(err)
			}
		}
		mustExec(t, operator(t, url), `INSERT INTO control SELECT $1::int`, i)
		server.Kill()
		_, err := s.Get(t.Context(), "replaced")
		isUnknown(t, "Get without a server", err)
		server.Restart(t)
		if got := version(t, s, "replaced"); got != rec.Version {
			t.Fatalf("version %d was acknowledged, and after a crash there is %d", rec.Version, got)
		}
		if version(t, s, "deleted") != 0 {
			t.Fatal("after a crash a deleted token is back")
		}
		// The test is one only if something is lost that another has written.
		if settings(t, operator(t, url), `SELECT n::text FROM control WHERE n = $1`, i) == "" {
			lost = true
		}
	}
	if !lost {
		t.Error("the server has lost nothing in five crashes; this test shows nothing")
	}
}

func TestAReplicaIsNeverAsked(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	url := server.URL("postgres")
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := New(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	db := handle(t, "postgres", url)
	used := mustUse(t, db)
	mustCreate(t, s, record("token"))
	server.Kill()
	server.RestartAsReplica(t)

	// The pool, which is of the application, takes any server: the one behind the
	// name has changed.
	for range 100 {
		if pool.Ping(t.Context()) == nil { // all connections of before are gone
			break
		}
	}
	for way, s := range map[string]*Store{"pool": s, "database/sql": used} {
		calls := map[string]func() error{
			"Get":                      func() error { _, err := s.Get(t.Context(), "token"); return err },
			"Get of what is not there": func() error { _, err := s.Get(t.Context(), "nothing"); return err },
			"List": func() error {
				_, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
				return err
			},
			"List by last use": func() error {
				_, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByLastUsed, Limit: 10})
				return err
			},
			"List of what is not there": func() error {
				_, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Owner: "nobody", Order: apitoken.ByName, Limit: 10})
				return err
			},
			"Scan":      func() error { _, err := s.Scan(t.Context(), "", 10); return err },
			"KeysInUse": func() error { _, _, err := s.KeysInUse(t.Context()); return err },
			"Watch":     func() error { return s.Watch(t.Context(), newFeed(time.Hour)) },
			"Create":    func() error { return s.Create(t.Context(), record("new")) },
			"Delete":    func() error { return s.Delete(t.Context(), "token") },
			"Replace": func() error {
				rec := record("token")
				rec.Version = 2
				return s.Replace(t.Context(), rec)
			},
			"Touch": func() error { return s.Touch(t.Context(), []apitoken.Use{use("token", today)}) },
			"Open":  func() error { _, err := Open(t.Context(), url); return err },
			"New":   func() error { _, err := New(t.Context(), pool); return err },
			"Use":   func() error { _, err := Use(t.Context(), db); return err },
		}
		for name, call := range calls {
			err := call()
			isUnknown(t, way+": "+name+" on a replica", err)
			if err != nil && !strings.Contains(err.Error(), "replica") && !strings.Contains(err.Error(), "read-only") && name != "Open" && name != "Touch" {
				t.Errorf("%s, %s: the error is %v", way, name, err)
			}
		}
	}
	mustExec(t, operator(t, url), `SELECT pg_promote()`)
	if version(t, s, "token") != 1 {
		t.Error("after its promotion the server has no token")
	}
	mustCreate(t, s, record("new"))
}

func TestOfSeveralServersThePrimaryIsTaken(t *testing.T) {
	t.Parallel()
	primary, replica := testserver.Postgres(t), testserver.Postgres(t)
	replica.Kill()
	replica.RestartAsReplica(t)
	s := mustOpen(t, strings.Replace(primary.URL("postgres"), "@", "@"+replica.Addr()+",", 1))
	mustCreate(t, s, record("token"))
}

func TestAServerThatCanLoseDataIsSaid(t *testing.T) {
	server := testserver.Postgres(t, "fsync=off", "default_transaction_isolation=serializable")
	s := mustOpen(t, server.URL("postgres"))
	for _, about := range []string{"fsync", "default_transaction_isolation"} {
		if !slices.ContainsFunc(s.Warnings(), func(w string) bool { return strings.Contains(w, about) }) {
			t.Errorf("of %s nothing is said in %q", about, s.Warnings())
		}
	}
}

func TestOtherEncodingsAreRefused(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		name := strings.ToLower(encoding) + "_" + settings(t, psql, `SELECT current_database()`)
		mustExec(t, psql, `CREATE DATABASE `+name+` ENCODING '`+encoding+`' LOCALE 'C' TEMPLATE template0`)
		t.Cleanup(func() { psql.Exec(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`) })
		_, err := Open(t.Context(), url+"&dbname="+name)
		if err == nil || !strings.Contains(err.Error(), "has the encoding "+encoding) || !strings.Contains(err.Error(), "ENCODING 'UTF8'") {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestAHaltedServerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	s := mustOpen(t, server.URL("postgres"))
	s.patience = minPatience
	mustCreate(t, s, record("token"))
	feed := newFeed(100 * time.Millisecond)
	watched := watch(t, s, feed)
	feed.waitFor(t, "reset")
	server.Stop()
	defer server.Continue()
	ended := make(chan error)
	go func() { ended <- <-watched }()
	select {
	case err := <-ended:
		isUnknown(t, "Watch", err)
	case <-time.After(3 * time.Minute):
		t.Error("Watch still waits for the server")
	}
}
