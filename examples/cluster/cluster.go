//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

// A server is a database server, and how a node opens its store there.
type server struct {
	name, addr string
	open       func(ctx context.Context, addr string) (store, error) // as seen at an address
}

// A store is one that reports changes.
type store interface {
	apitoken.Store
	apitoken.Watcher
	io.Closer
}

func startPostgres(t testing.TB) server {
	s := testserver.Postgres(t)
	return server{"PostgreSQL", s.Addr(), func(ctx context.Context, addr string) (store, error) {
		u, err := url.Parse(s.URL("postgres"))
		if err != nil {
			return nil, err
		}
		u.Host = addr
		return postgres.Open(ctx, u.String())
	}}
}

func startRedis(t testing.TB) server {
	s := testserver.Redis(t)
	return server{"Redis", s.Addr(), func(ctx context.Context, addr string) (store, error) {
		return valkey.Open(ctx, "redis://"+addr)
	}}
}

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See the devices")
	ada         = apitoken.Actor{User: "ada", Environment: "demo", Grants: []apitoken.Permission{readDevices}}
)

// A cluster is three nodes on one database server.
type cluster struct {
	database     string
	maxStaleness time.Duration
	feeds        *killSwitch
	nodes        [3]node
	began        time.Time

	requests atomic.Int64
	found    findings
}

// A node is what each of the processes of a service would be.
type node struct {
	auth *apitoken.Authority
	url  string
}

// A nodeStore watches by another connection than it reads and writes, so that
// there can be a kill switch for the feed alone.
type nodeStore struct {
	store
	feed apitoken.Watcher
}

func (s nodeStore) Watch(ctx context.Context, feed apitoken.Feed) error {
	return s.feed.Watch(ctx, feed)
}

func newCluster(t testing.TB, server server, feeds *killSwitch, maxStaleness time.Duration) *cluster {
	c := &cluster{database: server.name, maxStaleness: maxStaleness, feeds: feeds, began: time.Now()}
	open := func(addr string) store {
		s, err := server.open(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	for i := range c.nodes {
		auth, err := apitoken.New(apitoken.Config{
			Prefix: "demo", Permissions: &catalog, MaxStaleness: maxStaleness,
			Store: nodeStore{open(server.addr), open(feeds.proxy.Addr())},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { auth.Close() })

		mux := http.NewServeMux()
		auth.Routes(mux).Handle("GET /devices", "List the devices", apitoken.All(readDevices),
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]\n") }))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: mux}
		go server.Serve(listener)
		t.Cleanup(func() { server.Close() })
		c.nodes[i] = node{auth, "http://" + listener.Addr().String()}
	}
	return c
}
