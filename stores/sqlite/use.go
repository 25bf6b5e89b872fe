package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
)

// Use keeps the tokens in a database of the application, in tables whose names begin with
// "apitoken_". It never closes db.
//
// The database must be in WAL mode (PRAGMA journal_mode = WAL, once), be a file and have
// the encoding UTF-8. Use opens that file with its own connections, with the driver of db,
// as Open does. It takes a connection of db only while it checks the setup of the database:
// the limit of SetMaxOpenConns and the settings of connections stay unchanged, and reads of
// tokens do not wait for connections that the application uses. Use refuses a database
// whose connections have synchronous = OFF.
//
// It works with the drivers modernc.org/sqlite and github.com/mattn/go-sqlite3, also under
// another name. The path must be enough to open the file: a database with a key does not
// work. A program with github.com/glebarez/go-sqlite cannot import this package, because
// both drivers register the name "sqlite".
func Use(ctx context.Context, db *sql.DB) (*Store, error) {
	path, err := lookAt(ctx, db)
	var s *Store
	if err == nil {
		s, err = open(ctx, path, db.Driver())
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return s, nil
}

// lookAt returns the path of a database of the application. It refuses one that cannot be used.
func lookAt(ctx context.Context, db *sql.DB) (path string, err error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := checkDatabase(ctx, c); err != nil {
		return "", err
	}
	if err := checkShared(ctx, c); err != nil {
		return "", err
	}
	return mainPath(ctx, c)
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

// pool returns connections to the file at path, each with these settings: statements, as drivers write
// them in a DSN in different ways. The driver must be that of the application: two copies of the engine in a process
// end each other's locks.
func pool(d driver.Driver, path, settings string) *sql.DB {
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	return sql.OpenDB(&connector{d, name.String(), settings})
}

// A connector makes the connections of a pool.
type connector struct {
	driver         driver.Driver
	name, settings string
}

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return c.driver }

// Connect implements [driver.Connector].
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	err = errors.New("the driver of the database cannot be used: its connections have no ExecContext")
	if e, ok := conn.(driver.ExecerContext); ok {
		_, err = e.ExecContext(ctx, c.settings, nil)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
