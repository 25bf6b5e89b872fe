//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

// A database is a handle of a store.
type database interface {
	apitoken.Store
	apitoken.Toucher
	apitoken.Scanner
	apitoken.Watcher
	io.Closer
}

// An engine is a server of ours that can be made to fail.
type engine struct {
	name, version string
	notification  string // the command for a bare one, "" if it has none

	addr    string
	open    func(ctx context.Context, addr string) (database, error) // as it is seen at an address
	stop    func()                                                   // SIGSTOP
	proceed func()                                                   // SIGCONT
	kill    func()                                                   // kill -9
	restart func(testing.TB)

	// bare returns a function that sends a notification of the engine's own, and
	// returns how long it took to arrive at another connection. It is nil without a notification.
	bare func(testing.TB) func() (time.Duration, error)

	dsn string // of PostgreSQL
}

func newPostgres(t testing.TB) *engine {
	server := testserver.Postgres(t)
	e := &engine{
		name: "PostgreSQL", notification: "NOTIFY", addr: server.Addr(),
		dsn:  server.Database(t),
		stop: server.Stop, proceed: server.Continue, kill: server.Kill, restart: server.Restart,
	}
	e.open = func(ctx context.Context, addr string) (database, error) {
		u, err := url.Parse(e.dsn)
		if err != nil {
			return nil, err
		}
		u.Host = addr
		return postgres.Open(ctx, u.String())
	}
	e.bare = func(t testing.TB) func() (time.Duration, error) {
		sender, listener := e.connect(t), e.connect(t)
		if _, err := listener.Exec(t.Context(), `LISTEN bare`); err != nil {
			t.Fatal(err)
		}
		heard := hear(t, func(ctx context.Context) error {
			_, err := listener.WaitForNotification(ctx)
			return err
		})
		return roundTrip(heard, func() error {
			_, err := sender.Exec(context.Background(), `NOTIFY bare`)
			return err
		})
	}
	if err := e.connect(t).QueryRow(t.Context(), `SHOW server_version`).Scan(&e.version); err != nil {
		t.Fatal(err)
	}
	e.version, _, _ = strings.Cut(e.version, " ")
	return e
}

// connect connects to PostgreSQL.
func (e *engine) connect(t testing.TB) *pgx.Conn {
	conn, err := pgx.Connect(t.Context(), e.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func newMariaDB(t testing.TB) *engine {
	server := testserver.MariaDB(t)
	dsn := server.Database(t)
	e := &engine{
		name: "MariaDB", addr: server.Addr(),
		stop: server.Stop, proceed: server.Continue, kill: server.Kill, restart: server.Restart,
	}
	e.open = func(ctx context.Context, addr string) (database, error) {
		db, err := sql.Open("mysql", strings.Replace(dsn, server.Addr(), addr, 1))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(20)
		db.SetMaxIdleConns(20)
		s, err := mysql.Use(ctx, db)
		return withDatabase{s, db}, err
	}
	version, err := server.Do("SELECT version()")
	if err != nil {
		t.Fatal(version)
	}
	e.version, _, _ = strings.Cut(version, "-")
	return e
}

// withDatabase is a store whose database Close closes, too.
type withDatabase struct {
	*mysql.Store
	db *sql.DB
}

func (s withDatabase) Close() error { return errors.Join(s.Store.Close(), s.db.Close()) }

func newRedis(t testing.TB) *engine {
	server := testserver.Redis(t)
	e := &engine{
		name: "Redis", notification: "PUBLISH", addr: server.Addr(),
		stop: server.Stop, proceed: server.Continue, kill: server.Kill, restart: server.Restart,
	}
	e.open = func(ctx context.Context, addr string) (database, error) { return valkey.Open(ctx, "redis://"+addr) }
	e.bare = func(t testing.TB) func() (time.Duration, error) {
		c, err := client.NewClient(client.ClientOption{InitAddress: []string{e.addr}, DisableCache: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		heard, subscribed := make(chan time.Time, 1), make(chan struct{})
		subscriber, release := c.Dedicate()
		t.Cleanup(release)
		subscriber.SetPubSubHooks(client.PubSubHooks{
			OnMessage:      func(client.PubSubMessage) { heard <- time.Now() },
			OnSubscription: func(client.PubSubSubscription) { close(subscribed) },
		})
		if err := subscriber.Do(t.Context(), subscriber.B().Subscribe().Channel("bare").Build()).Error(); err != nil {
			t.Fatal(err)
		}
		<-subscribed
		return roundTrip(heard, func() error {
			return c.Do(context.Background(), c.B().Publish().Channel("bare").Message("").Build()).Error()
		})
	}
	info, err := server.Do("INFO", "server")
	if err != nil {
		t.Fatal(err)
	}
	_, e.version, _ = strings.Cut(info, "redis_version:")
	e.version, _, _ = strings.Cut(e.version, "\r")
	return e
}

// hear returns when wait returned, again and again.
func hear(t testing.TB, wait func(context.Context) error) <-chan time.Time {
	ctx, cancel := context.WithCancel(context.Background())
	heard, ended := make(chan time.Time, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for wait(ctx) == nil {
			select {
			case heard <- time.Now():
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return heard
}

func roundTrip(heard <-chan time.Time, send func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		began := time.Now()
		if err := send(); err != nil {
			return 0, err
		}
		select {
		case at := <-heard:
			return at.Sub(began), nil
		case <-time.After(10 * time.Second):
			return 0, context.DeadlineExceeded
		}
	}
}
