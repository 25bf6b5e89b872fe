package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// acquire takes a connection from the pool, which must be given back.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkEncoding(conn.Conn()); err != nil {
		conn.Release()
		return nil, err
	}
	return conn, nil
}

// checkEncoding refuses a session in another encoding than UTF-8. The server would convert
// what it is sent from that, and so store other texts. It tells the client of each change, so
// that to look at every use costs nothing, and a hook of the pool or ALTER ROLE may change it at any time.
func checkEncoding(conn *pgx.Conn) error {
	switch encoding := conn.PgConn().ParameterStatus("client_encoding"); encoding {
	case "UTF8", "UNICODE": // which are the same
		return nil
	default:
		return fmt.Errorf("the session has client_encoding %q; it must be UTF8: add client_encoding=UTF8 to the URL, or to config.ConnConfig.RuntimeParams,"+
			" and set no other in a hook of the pool", encoding)
	}
}

// read calls f, which only reads, with a connection of the pool. If that one turns out to be dead,
// as after a restart of the server, it calls f once more with one that answers.
func (s *Store) read(ctx context.Context, f func(*pgxpool.Conn) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	err = f(conn)
	dead := err != nil && conn.Conn().IsClosed() && ctx.Err() == nil
	conn.Release() // which takes a dead one out of the pool
	if !dead {
		return err
	}
	if conn, err = s.alive(ctx); err != nil {
		return err
	}
	defer conn.Release()
	return f(conn)
}

// alive is acquire, but of a connection that answers. Others may be as dead as the first.
func (s *Store) alive(ctx context.Context) (conn *pgxpool.Conn, err error) {
	for range s.pool.Stat().MaxConns() + 1 {
		if conn, err = s.acquire(ctx); err != nil {
			return nil, err
		}
		if err = conn.Ping(ctx); err == nil {
			return conn, nil
		}
		conn.Release()
	}
	return nil, err
}

// endReadOnly ends a session in which a change failed because it is read-only. A session keeps
// the default_transaction_read_only that its database had when it began: in a pool for an hour,
// after the database can be written again. Release takes it out of the pool.
func endReadOnly(ctx context.Context, conn *pgxpool.Conn, err error) {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "25006" {
		conn.Conn().Close(ctx)
	}
}
