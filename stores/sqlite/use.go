package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	modernc "modernc.org/sqlite"
)

// Use keeps the tokens in a database of the application, in tables whose names
// begin with "apitoken_". It never closes db; call Close before you do.
//
// The database must be in WAL mode (PRAGMA journal_mode = WAL, once), be a file
// and have the encoding UTF-8. Use makes db open one more connection, which it keeps
// to write with settings of its own, and reads by the others. Where db allows only one
// connection (SetMaxOpenConns), Use opens the file itself, as [Open] does.
//
// Use changes no setting of the connections that the application gets. As db opens more
// of them than before, Use refuses settings that a statement made on one of them: they belong
// into the DSN, which is for all. It also refuses connections with synchronous = OFF.
// It sees those that are idle, so call it before others use db.
//
// It works with the drivers modernc.org/sqlite and github.com/mattn/go-sqlite3. With the latter, db has to
// allow for two connections. A program with github.com/glebarez/go-sqlite cannot import this package, as both
// drivers register the name "sqlite".
func Use(ctx context.Context, db *sql.DB) (*Store, error) {
	s, err := use(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return s, nil
}

func use(ctx context.Context, db *sql.DB) (_ *Store, err error) {
	single := db.Stats().MaxOpenConnections == 1
	if _, ok := db.Driver().(*modernc.Driver); single && !ok {
		// Two copies of the engine in a process end each other's locks.
		return nil, errors.New("the database allows one connection (SetMaxOpenConns), and does not use the driver modernc.org/sqlite, with which the file could be opened once more; allow for two")
	}
	s := newStore()
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.writer.conn, err = newConn(ctx, db); err != nil {
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
	if single {
		if err := s.writer.conn.Close(); err != nil { // as it was
			return nil, err
		}
		return open(ctx, path)
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

// newConn has db open one more connection, as far as it allows for that. It refuses a
// database of which an idle connection has other settings than this one: the application
// made them with a statement, and would get connections without them from now on.
func newConn(ctx context.Context, db *sql.DB) (fresh *sql.Conn, err error) {
	var idle []*sql.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	before := db.Stats().OpenConnections
	for {
		if fresh, err = db.Conn(ctx); err != nil {
			return nil, err
		}
		now := db.Stats()
		if now.OpenConnections > before || len(idle) >= before || now.OpenConnections == now.MaxOpenConnections && now.Idle == 0 {
			break
		}
		idle = append(idle, fresh)
	}
	for _, c := range idle {
		if err := sameSettings(ctx, c, fresh); err != nil {
			fresh.Close()
			return nil, err
		}
	}
	return fresh, nil
}

// settings are the pragmas that hold for a connection, and can matter to an application.
var settings = []string{
	"foreign_keys", "recursive_triggers", "synchronous", "busy_timeout", "cache_size", "temp_store", "mmap_size", "query_only",
	"read_uncommitted", "secure_delete", "trusted_schema", "wal_autocheckpoint", "ignore_check_constraints", "legacy_alter_table",
	"reverse_unordered_selects", "locking_mode", "fullfsync", "checkpoint_fullfsync", "automatic_index", "cell_size_check",
}

// sameSettings returns an error if a connection has something that a new one has not.
func sameSettings(ctx context.Context, old, fresh *sql.Conn) error {
	for _, name := range settings {
		was, err1 := one(ctx, old, `PRAGMA `+name)
		is, err2 := one(ctx, fresh, `PRAGMA `+name)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		switch {
		case name == "synchronous" && was == "0":
			return errSynchronousOff
		case was != is:
			return fmt.Errorf("a connection of the database has PRAGMA %s = %s, which others do not have; set it in the DSN (_pragma=%[1]s(%[2]s), or as your driver wants it), so that all have it", name, was)
		}
	}
	for query, what := range map[string]string{
		`SELECT count(*) FROM pragma_database_list WHERE name NOT IN ('main', 'temp')`: "a database that it was told to ATTACH",
		`SELECT count(*) FROM sqlite_temp_schema`:                                      "a temporary table",
	} {
		n, err := one(ctx, old, query)
		if err != nil {
			return err
		}
		if n != "0" {
			return fmt.Errorf("a connection of the database has %s, which others do not have; use a database handle of its own for that", what)
		}
	}
	return nil
}

// one returns the one value that a query selects; some pragmas have none.
func one(ctx context.Context, c *sql.Conn, query string) (value string, err error) {
	err = c.QueryRowContext(ctx, query).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return value, err
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
	// A connection that moves the log into the file does so with its own setting.
	var synchronous int
	if err := c.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous); err != nil {
		return err
	}
	if synchronous == 0 {
		return errSynchronousOff
	}
	return nil
}

var errSynchronousOff = errors.New("connections of the database have synchronous = OFF, so that a crash could undo acknowledged changes or damage the file; set it to NORMAL or FULL")
