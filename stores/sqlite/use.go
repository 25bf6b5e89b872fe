package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Use keeps the tokens in a database of the application, in tables whose names
// begin with "apitoken_". It never closes db; call Close before you do.
//
// The database must be in WAL mode (PRAGMA journal_mode = WAL, once), be a file
// and have the encoding UTF-8. Use takes a connection of db for itself, to write
// with settings of its own; db must allow for more than that one. It is meant
// for the driver modernc.org/sqlite.
func Use(ctx context.Context, db *sql.DB) (*Store, error) {
	s, err := use(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return s, nil
}

func use(ctx context.Context, db *sql.DB) (_ *Store, err error) {
	if db.Stats().MaxOpenConnections == 1 {
		return nil, errors.New("the database allows one connection (SetMaxOpenConns); one is needed for writing and at least one for reading")
	}
	s := newStore()
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.writer.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	if err := checkDatabase(ctx, s.writer.conn); err != nil {
		return nil, err
	}
	if err := checkShared(ctx, s.writer.conn); err != nil {
		return nil, err
	}
	path, err := mainPath(ctx, s.writer.conn)
	if err != nil {
		return nil, err
	}
	if s.file, err = newFile(path); err != nil {
		return nil, err
	}
	if _, err := s.writer.conn.ExecContext(ctx, `PRAGMA busy_timeout = 5000; PRAGMA query_only = OFF`); err != nil {
		return nil, err
	}
	if err := s.prepareWriter(ctx); err != nil {
		return nil, err
	}
	s.readers = db
	s.patient = func(ctx context.Context) context.Context { return ctx }
	return s, s.prepareReaders(ctx)
}

// checkShared refuses a database of the application in a mode in which
// acknowledged changes could be lost, or reads would wait for writes.
func checkShared(ctx context.Context, c *sql.Conn) error {
	var mode string
	if err := c.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the database has journal_mode = %s; it must be WAL (PRAGMA journal_mode = WAL, once)", mode)
	}
	// Whoever moves the log into the file does so with his own setting.
	var synchronous int
	if err := c.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous); err != nil {
		return err
	}
	if synchronous == 0 {
		return errors.New("connections of the database have synchronous = OFF, so that a crash could undo acknowledged changes or damage the file")
	}
	return nil
}
