package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A connector lends connections: a pool of pgx, or of database/sql.
type connector interface {
	acquire(ctx context.Context) (conn, error)
	size() int // how many connections it may have
	Close()
}

// A conn is a connection of a pool. It must be released.
type conn interface {
	querier
	dead(err error) bool      // whether it cannot be used any more, after a call with this error
	drop(ctx context.Context) // so that release ends the session
	release()
}

// A querier runs statements.
type querier interface {
	exec(ctx context.Context, query string, args ...any) (rows int64, err error)
	query(ctx context.Context, query string, args ...any) (rows, error)
}

// rows are those of pgx.
type rows interface {
	Next() bool
	RawValues() [][]byte
	Scan(dest ...any) error
	Err() error
	Close()
}

// queryRow runs a query that finds one row.
func queryRow(ctx context.Context, db querier, query string, args ...any) row {
	rows, err := db.query(ctx, query, args...)
	return row{rows, err}
}

type row struct {
	rows rows
	err  error
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		return cmp.Or(r.rows.Err(), sql.ErrNoRows)
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// read calls f, which only reads, as with does. If the connection turns out to be dead, as after a restart of
// the server, it calls f once more with one that answers.
func (s *Store) read(ctx context.Context, begin string, f func(querier) error) error {
	return s.with(ctx, begin, true, f)
}

// change calls f, which may write, as with does. What has begun is not repeated, as its outcome is unknown.
func (s *Store) change(ctx context.Context, begin string, f func(querier) error) error {
	return s.with(ctx, begin, false, f)
}

// with calls f with a connection, in a transaction that the statement begin begins. Without one, f runs one statement.
// If the connection is dead, and f has not begun or only reads, it goes on with one that answers.
func (s *Store) with(ctx context.Context, begin string, reads bool, f func(querier) error) error {
	begin = cmp.Or(begin, s.begin)
	c, err := s.db.acquire(ctx)
	if err != nil {
		return err
	}
	begun, err := transact(ctx, c, begin, f)
	again := err != nil && ctx.Err() == nil && (reads || !begun) && c.dead(err)
	if again {
		c.drop(ctx)
	}
	c.release()
	if !again {
		return err
	}
	if c, err = s.alive(ctx); err != nil {
		return err
	}
	defer c.release()
	_, err = transact(ctx, c, begin, f)
	return err
}

// transact calls f in a transaction, or without one if begin is empty.
func transact(ctx context.Context, c conn, begin string, f func(querier) error) (begun bool, err error) {
	if begin != "" {
		_, err = c.exec(ctx, begin)
	}
	if begun = err == nil; begun {
		err = f(c)
	}
	if begin != "" {
		end := `COMMIT`
		if err != nil {
			end = `ROLLBACK`
		}
		if _, failed := c.exec(ctx, end); failed != nil {
			c.drop(ctx)
			err = cmp.Or(err, failed)
		}
	}
	// A session keeps the default_transaction_read_only that its database had when it began: in a pool for an hour,
	// after the database can be written again.
	if sqlState(err) == "25006" {
		c.drop(ctx)
	}
	return begun, err
}

// alive is acquire, but of a connection that answers. Others may be as dead as the first.
func (s *Store) alive(ctx context.Context) (c conn, err error) {
	for range s.db.size() + 1 {
		if c, err = s.db.acquire(ctx); err != nil {
			return nil, err
		}
		if _, err = c.exec(ctx, `SELECT 1`); err == nil {
			return c, nil
		}
		c.drop(ctx)
		c.release()
	}
	return nil, err
}

// sqlState returns the code of an error of the server, "" for others. The errors of drivers have it.
func sqlState(err error) string {
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return e.SQLState()
	}
	return ""
}

// A pgxPool is the pool of the application, or that of Open.
type pgxPool struct{ *pgxpool.Pool }

func (p pgxPool) acquire(ctx context.Context) (conn, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return pgxPoolConn{c}, nil
}

func (p pgxPool) size() int { return int(p.Stat().MaxConns()) }

type pgxPoolConn struct{ *pgxpool.Conn }

func (c pgxPoolConn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return pgxConn{c.Conn.Conn()}.exec(ctx, query, args...)
}

func (c pgxPoolConn) query(ctx context.Context, query string, args ...any) (rows, error) {
	return pgxConn{c.Conn.Conn()}.query(ctx, query, args...)
}

func (c pgxPoolConn) dead(error) bool          { return c.Conn.Conn().IsClosed() }
func (c pgxPoolConn) drop(ctx context.Context) { c.Conn.Conn().Close(ctx) }
func (c pgxPoolConn) release()                 { c.Release() }

// A pgxConn is a connection of pgx.
type pgxConn struct{ *pgx.Conn }

func (c pgxConn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := c.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (c pgxConn) query(ctx context.Context, query string, args ...any) (rows, error) {
	return c.Query(ctx, query, args...)
}
