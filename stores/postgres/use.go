package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Use keeps the tokens in a database of the application, as New does with a pgx pool, and
// refuses the same. It never closes db. The driver is pgx/stdlib, lib/pq, or another driver
// for PostgreSQL whose errors have a method SQLState.
//
// Watch polls for the changes of other nodes, each time with a connection of db. If the
// application uses all connections for seconds, nodes read each token again. A call of the
// store takes a connection, too: inside a transaction that holds the last one
// (SetMaxOpenConns) it waits until its context ends.
//
// With another driver than pgx/stdlib each statement runs in a transaction, which takes two
// more round trips. Such drivers prepare a statement in one step and execute it in the
// next, and a pooler may send the second step to another session, which has prepared
// something else.
func Use(ctx context.Context, db *sql.DB) (*Store, error) {
	h := &sqlDB{DB: db}
	s := newStore(h)
	return s.open(ctx, func(ctx context.Context) error {
		c, err := h.acquire(ctx)
		if err != nil {
			return err
		}
		defer c.release()
		return c.(*sqlConn).Raw(func(c any) error {
			if _, ok := c.(interface{ Conn() *pgx.Conn }); ok {
				h.options = []any{pgx.QueryExecModeExec} // one step, in which nothing is prepared
			} else {
				s.begin = `BEGIN`
			}
			return nil
		})
	})
}

// A sqlDB is a database of the application.
type sqlDB struct {
	*sql.DB
	options []any // for the driver, in front of the arguments of a statement
}

func (h *sqlDB) Close() {} // it is the application's

func (h *sqlDB) size() int { return h.Stats().OpenConnections }

// acquire waits for a connection until ctx ends. Not every driver obeys ctx while it connects.
func (h *sqlDB) acquire(ctx context.Context) (conn, error) {
	c, err := await(ctx, func() (*sql.Conn, error) { return h.Conn(ctx) }, func(c *sql.Conn) { c.Close() })
	if err != nil {
		return nil, err
	}
	return &sqlConn{Conn: c, options: h.options}, nil
}

// A sqlConn is a connection of database/sql.
type sqlConn struct {
	*sql.Conn
	options []any
	broken  bool
	running sync.WaitGroup // all calls, including abandoned ones
}

func (c *sqlConn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return call(ctx, c, args, func(args []any) (int64, error) {
		done, err := c.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return done.RowsAffected()
	})
}

// query has the server send each row in binary form, as pgx has it without more, in one text. So it is read
// in the same way, and no driver has to know the types of its columns.
func (c *sqlConn) query(ctx context.Context, query string, args ...any) (rows, error) {
	return call(ctx, c, args, func(args []any) (rows, error) {
		found, err := c.QueryContext(ctx, `WITH r AS (`+query+`) SELECT encode(record_send(r), 'hex') FROM r`, args...)
		if err != nil {
			return nil, err
		}
		defer found.Close()
		all := &packed{types: pgtype.NewMap()}
		for found.Next() {
			var text string
			if err := found.Scan(&text); err != nil {
				return nil, err
			}
			row, err := hex.DecodeString(text)
			if err != nil {
				return nil, err
			}
			all.rows = append(all.rows, row)
		}
		return all, found.Err()
	})
}

// call calls f with arguments in the form of c, and waits for it until ctx ends.
func call[T any](ctx context.Context, c *sqlConn, args []any, f func(args []any) (T, error)) (done T, err error) {
	if c.broken {
		return done, driver.ErrBadConn
	}
	if args, err = plain(c.options, args); err != nil {
		return done, err
	}
	c.running.Add(1)
	done, err = await(ctx, func() (T, error) {
		defer c.running.Done()
		return f(args)
	}, func(T) {})
	c.broken = c.broken || ctx.Err() != nil
	return done, err
}

// await returns what f returns. Not every driver obeys its context: if ctx ends first, f continues, and late gets
// its result.
func await[T any](ctx context.Context, f func() (T, error), late func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				late(r.value)
			}
		}()
		var none T
		return none, ctx.Err()
	}
}

// plain returns arguments as every driver takes them, after the options: what is not of a type of database/sql is a text.
func plain(options, args []any) ([]any, error) {
	types := pgtype.NewMap()
	all := slices.Clone(options)
	for _, arg := range args {
		var oid uint32
		switch arg.(type) {
		case time.Time, pgtype.Timestamptz:
			oid = pgtype.TimestamptzOID
		case []pgtype.Timestamptz:
			oid = pgtype.TimestamptzArrayOID
		case []string:
			oid = pgtype.TextArrayOID
		case []netip.Prefix:
			oid = pgtype.InetArrayOID
		}
		if oid != 0 {
			text, err := types.Encode(oid, pgtype.TextFormatCode, arg, nil)
			if err != nil {
				return nil, err
			}
			if arg = nil; text != nil { // nil is NULL
				arg = string(text)
			}
		}
		all = append(all, arg)
	}
	return all, nil
}

// dead reports whether the connection is of no more use: the server has not answered, or has said that it ends the session.
func (c *sqlConn) dead(err error) bool {
	state := sqlState(err)
	return state == "" || strings.HasPrefix(state, "08") || strings.HasPrefix(state, "57P") // connection_exception, operator_intervention
}

func (c *sqlConn) drop(context.Context) { c.broken = true }

func (c *sqlConn) release() {
	if !c.broken {
		c.Close()
		return
	}
	go func() {
		c.running.Wait() // to begin on a Conn while it is being closed panics
		c.Raw(func(any) error { return driver.ErrBadConn })
	}()
}
