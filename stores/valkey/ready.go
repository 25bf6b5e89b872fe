package valkey

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// Cancelable makes the promise that [apitoken.Store] describes.
func (s *Store) Cancelable() {}

// Get implements [apitoken.Store].
//
// The client lets one caller open a connection, and others wait for it without looking at
// their contexts. So while a connection is being opened, Get reads on a goroutine of its
// own, which it leaves behind when its context ends. Otherwise it reads directly, which
// takes less time, and does not repeat the command if the connection ends.
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if s.connections.ready() {
		rec, err := s.find(ctx, false, id)
		if err == nil || errors.Is(err, apitoken.ErrNotFound) || ctx.Err() != nil {
			return rec, err
		}
	}
	rec, err := bulkhead.Call(ctx, abandoned, "", func(ctx context.Context) (apitoken.Record, error) { return s.find(ctx, true, id) })
	if s.connections != nil && (err == nil || errors.Is(err, apitoken.ErrNotFound)) {
		s.connections.proven.Store(true)
	}
	return rec, wrap(err)
}

// abandoned bounds calls that were left behind.
var abandoned = bulkhead.New("the server", time.Minute, 0)

func (s *Store) find(ctx context.Context, repeat bool, id string) (apitoken.Record, error) {
	found, err := s.readAs(ctx, repeat, id)
	switch {
	case err != nil:
		return apitoken.Record{}, err
	case !found[0].exists():
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	return found[0].rec, nil
}

// connections are those of a client of Open to one server; nil of other clients, of which
// we know nothing.
type connections struct {
	opening atomic.Int32
	proven  atomic.Bool // a Get has succeeded since the last one was opened
}

// ready reports whether no connection is being opened, nor will be in a moment.
func (c *connections) ready() bool { return c != nil && c.opening.Load() == 0 && c.proven.Load() }

// watch makes a client count.
func (c *connections) watch(option *client.ClientOption) {
	option.AlwaysPipelining = true // then a call ends with its context, and not only with the deadline of that
	dial := option.DialCtxFn       // for a socket
	if dial == nil {
		dial = dialTCP
	}
	option.DialCtxFn = func(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		c.opening.Add(1)
		c.proven.Store(false)
		conn, err := dial(ctx, address, d, config)
		if err != nil {
			c.opening.Add(-1)
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // or the client would wait for the first answer
		return &connection{conn, sync.OnceFunc(func() {
			stop()
			c.opening.Add(-1)
		})}, nil
	}
}

func dialTCP(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	if config != nil {
		return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, "tcp", address)
}

// A connection is open when the server has answered, or it has ended.
type connection struct {
	net.Conn
	opened func()
}

func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.opened()
	return n, err
}

func (c *connection) Close() error {
	c.opened()
	return c.Conn.Close()
}
