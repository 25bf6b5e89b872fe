package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Connections are those of the application, which can have any setting, by the DSN or by a statement. So each call
// asks whether its session is one in which texts stay what they are, reads are of what is committed, and changes are
// committed. It refuses others, and sets nothing.

// A condition must hold in a session.
type condition struct{ name, holds, remedy string }

var conditions = []condition{
	{"read_only", `@@read_only = 0 AND @@innodb_read_only = 0`, "the server is read-only, as replicas are; connect to the primary, or if this is the new one, run SET GLOBAL read_only = 0"},
	{"autocommit", `@@autocommit = 1`, "reads would be of the past; do not turn autocommit off in the DSN or by a statement; SET autocommit = 1 turns it on"},
	{"completion_type", `@@completion_type IN ('NO_CHAIN', '0')`, "each COMMIT would begin a transaction; run SET completion_type = 'NO_CHAIN'"},
	{"sql_mode", `@@sql_mode LIKE '%STRICT%' AND @@sql_mode NOT LIKE '%EMPTY_STRING%'`,
		"texts could become others; have STRICT_TRANS_TABLES and not EMPTY_STRING_IS_NULL: add sql_mode=%27STRICT_TRANS_TABLES%27 to the DSN"},
	{"character_set", `@@character_set_client = 'utf8mb4' AND @@character_set_connection = 'utf8mb4' AND ifnull(@@character_set_results, 'utf8mb4') = 'utf8mb4'`,
		"texts would be converted; leave charset and collation out of the DSN, or set charset=utf8mb4; SET NAMES utf8mb4 undoes a statement"},
	{"sql_select_limit", `@@sql_select_limit > 1000000000`, "lists would be cut; leave it out of the DSN, or run SET sql_select_limit = DEFAULT"},
	{"tx_isolation", `@@tx_isolation <> 'READ-UNCOMMITTED'`, "reads would be of changes that are not committed, perhaps never; take another isolation level than READ UNCOMMITTED: SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"},
	{"database", `hex(DATABASE()) = 'PLACE'`, "a statement of the application, USE, has selected another database; name it in the DSN"},
	{"transaction", `@@in_transaction = 0`, "reads would be of the past; a statement of the application has left a transaction open"}, // the last
}

// guardOf returns an expression: the names of those of the conditions that do not hold.
func guardOf(conditions []condition, maria bool, place string) string {
	var parts []string
	for _, c := range conditions {
		parts = append(parts, `CASE WHEN `+c.holds+` THEN NULL ELSE '`+c.name+`' END`)
	}
	return expression(`concat_ws(' ', `+strings.Join(parts, ", ")+`)`, maria, place)
}

// expression returns a condition for a server and a database.
func expression(condition string, maria bool, place string) string {
	if !maria {
		condition = strings.ReplaceAll(condition, "@@tx_isolation", "@@transaction_isolation")
	}
	return strings.ReplaceAll(condition, "PLACE", place)
}

// committed is true in a session whose rows are committed, and arrive as they are stored. A setting that it leaves out can
// only hide a row from Get, because IDs are ASCII. Each variable takes the server 1 to 6 µs.
const committed = `@@read_only = 0 AND @@innodb_read_only = 0 AND @@autocommit = 1 AND ifnull(@@character_set_results, 'utf8mb4') = 'utf8mb4'
	AND @@tx_isolation <> 'READ-UNCOMMITTED' AND hex(DATABASE()) = 'PLACE'`

// sessionError returns an error for what a guard has found.
func sessionError(wrong string) error {
	if wrong == "" {
		return nil
	}
	var b strings.Builder
	for _, c := range conditions {
		if strings.Contains(" "+wrong+" ", " "+c.name+" ") {
			fmt.Fprintf(&b, "; %s: %s", c.name, c.remedy)
		}
	}
	return fmt.Errorf("the session or the server cannot be used%s", b.String())
}

// check refuses a session.
func (s *Store) check(ctx context.Context, c *sql.Conn) error {
	var wrong string
	if err := c.QueryRowContext(ctx, `SELECT `+s.guard).Scan(&wrong); err != nil {
		return err
	}
	return sessionError(wrong)
}

// lend calls f with a connection, and again if that turns out to be dead.
func (s *Store) lend(ctx context.Context, f func(*sql.Conn) error) (err error) {
	for range maxTries {
		var c *sql.Conn
		if c, err = s.db.Conn(ctx); err != nil {
			return err
		}
		err = f(c)
		c.Close()
		if !isTransient(err) || ctx.Err() != nil {
			break
		}
	}
	return ended(ctx, err)
}

// ended returns the error of a context that has ended, in place of what the driver says of the connection that it then closed.
func ended(ctx context.Context, err error) error {
	if isTransient(err) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// How transactions begin, whatever the session has as its default. Each ends what somebody has left open. Reads have one
// snapshot at the isolation level that is the default.
const (
	toRead   = `START TRANSACTION READ ONLY`
	toChange = `START TRANSACTION READ WRITE`
)

// maxTries bounds how often a change gives way to others that hold what it needs, or a call meets dead connections.
const maxTries = 10

// read calls f, which only reads, in a transaction.
func (s *Store) read(ctx context.Context, f func(*sql.Conn) error) error {
	return s.repeat(ctx, toRead, f)
}

// change calls f in a transaction, and again if the server undid that in favor of another one, or the connection broke before
// COMMIT was sent. What that has begun is not repeated, as its outcome is unknown.
func (s *Store) change(ctx context.Context, f func(*sql.Conn) error) error {
	return s.repeat(ctx, toChange, f)
}

func (s *Store) repeat(ctx context.Context, begin string, f func(*sql.Conn) error) (err error) {
	for range maxTries {
		var again bool
		if again, err = s.transact(ctx, begin, f); !again || ctx.Err() != nil {
			break
		}
	}
	return ended(ctx, err)
}

// transact calls f in a transaction, and reports whether it can be tried again.
func (s *Store) transact(ctx context.Context, begin string, f func(*sql.Conn) error) (again bool, err error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close()
	if _, err = c.ExecContext(ctx, begin); err == nil {
		err = s.check(ctx, c)
	}
	if err == nil {
		err = f(c)
	}
	end, undone := `COMMIT`, err != nil
	if undone {
		end = `ROLLBACK`
	}
	if _, failed := c.ExecContext(ctx, end); failed != nil {
		c.Raw(func(any) error { return driver.ErrBadConn }) // which ends the session, and with it the transaction
		if !undone {
			return code(failed) == deadlock, failed
		}
	}
	return isTransient(err), err
}

// Errors of the server.
const (
	duplicate = 1062
	deadlock  = 1213
)

// isTransient reports whether an error is that of a transaction which can succeed when it is tried again: the server has
// undone it, or the connection was dead.
func isTransient(err error) bool {
	switch code(err) {
	case deadlock,
		1205,       // waited for a lock
		1020,       // changed since it was read
		1615,       // the tables of a prepared statement are others
		1053, 1927: // the server ends the session
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// code returns the number of an error of the server, 0 for others.
func code(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}
