// Package mysql keeps tokens in a MySQL or MariaDB database of the application, in tables
// whose names begin with "apitoken_". It needs MySQL 8.0.16 or MariaDB 10.11, or a later
// version, and the driver github.com/go-sql-driver/mysql.
//
//	db, err := sql.Open("mysql", "user:password@tcp(host)/database")
//	if err != nil {
//		...
//	}
//	store, err := mysql.Use(ctx, db)
//	if err != nil {
//		...
//	}
//	defer store.Close() // does not close db
//
// InnoDB has committed an acknowledged change. The store never reads replicas. Changes by
// any node, and manual edits, reach all nodes: triggers write a log of them.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A Store keeps tokens in a MySQL or MariaDB database. It implements [apitoken.Store]
// and all its companions. Every record must be valid UTF-8.
type Store struct {
	db       *sql.DB
	get      *sql.Stmt // finds a record where committed holds
	look     *sql.Stmt // finds a record, or why there is none
	guard    string    // an expression: what of the session or the server cannot be used, "" for nothing
	outside  string    // the same where no transaction may be open
	trusted  string    // an expression: committed, and no transaction is open
	server   string    // an expression: which server it is
	warnings []string
	patience time.Duration // for a poll, at least; the tests have more

	swept atomic.Int64 // when sums that are over were removed, in nanoseconds since 1970

	life context.Context // until Close
	end  context.CancelFunc
}

var (
	_ apitoken.Store        = (*Store)(nil)
	_ apitoken.BatchCreator = (*Store)(nil)
	_ apitoken.Toucher      = (*Store)(nil)
	_ apitoken.Scanner      = (*Store)(nil)
	_ apitoken.Watcher      = (*Store)(nil)
)

// Use keeps the tokens in a database of the application; the DSN must name one. It never
// closes db. If the tables do not exist, Use creates them; see also [Schema].
//
// It refuses replicas and read-only servers, old versions, tables that this version of the
// package does not know, users who lack a right, and sessions whose settings could alter a
// text or a change (see the README). It changes no setting of a connection.
// [Store.Warnings] reports doubtful settings that it accepts.
//
// Each call takes a connection of db: inside a transaction that holds the last one
// (SetMaxOpenConns) it waits until its context ends. Watch polls, each time with such a
// connection. If the application uses all of them for seconds, nodes read each token again.
func Use(ctx context.Context, db *sql.DB) (*Store, error) {
	s := &Store{db: db, patience: minPatience}
	s.life, s.end = context.WithCancel(context.Background())
	for _, step := range []func(context.Context) error{s.inspect, s.checkRights, s.migrate, s.prepare} {
		if err := step(ctx); err != nil {
			s.Close()
			return nil, wrap(err)
		}
	}
	return s, nil
}

// Close ends every Watch. It does not close the database.
func (s *Store) Close() error {
	s.end()
	var errs []error
	for _, stmt := range []*sql.Stmt{s.get, s.look} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return wrap(errors.Join(errs...))
}

// Warnings returns the problems of the setup, as sentences for an operator: possible losses
// of the server, and ways in which tokens can change unnoticed. The store checks the setup
// when it starts.
func (s *Store) Warnings() []string { return s.warnings }

func (s *Store) warn(sentence string) { s.warnings = append(s.warnings, sentence) }

var release = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)`)

// inspect looks at the server, and at how its sessions are set up.
func (s *Store) inspect(ctx context.Context) error {
	return s.lend(ctx, func(c *sql.Conn) error { return s.inspectWith(ctx, c) })
}

func (s *Store) inspectWith(ctx context.Context, c *sql.Conn) error {
	var version, place string
	if err := c.QueryRowContext(ctx, `SELECT version(), ifnull(hex(DATABASE()), '')`).Scan(&version, &place); err != nil {
		return err
	}
	if place == "" {
		return errors.New("no database is selected; name one in the DSN: user@tcp(host)/database")
	}
	maria := strings.Contains(version, "MariaDB")
	oldest, number := "8.0.16", 8_00_16
	if maria {
		oldest, number = "10.11", 10_11_00
	}
	if n := versionNumber(version); n < number {
		return fmt.Errorf("the server has version %s; %s is the first that can be used", version, oldest)
	}
	s.guard, s.server = guardOf(conditions[:len(conditions)-1], maria, place), `concat_ws(' ', @@server_id, @@hostname, @@port, @@datadir)`
	s.outside, s.trusted = guardOf(conditions, maria, place), expression(committed+` AND @@in_transaction = 0`, maria, place)
	if !maria { // it does not say whether there is a transaction
		s.outside, s.trusted = s.guard, expression(committed, maria, place)
		s.server = `concat_ws(' ', @@server_uuid, @@hostname, @@port, @@datadir)`
	}
	if err := s.check(ctx, c); err != nil {
		return err
	}
	return s.checkServer(ctx, c)
}

// versionNumber returns 10_11_06 for "10.11.6-MariaDB".
func versionNumber(version string) (n int) {
	version = strings.TrimPrefix(version, "5.5.5-") // which MariaDB said for the sake of old replicas
	for _, part := range append(release.FindStringSubmatch(version), "0", "0", "0", "0")[1:4] {
		i, _ := strconv.Atoi(part)
		n = 100*n + i
	}
	return n
}

// checkServer refuses a server that cannot hold records, and warns of one that may lose changes.
func (s *Store) checkServer(ctx context.Context, c *sql.Conn) error {
	var flush, sync, binlog, packet int64
	var doublewrite string
	err := c.QueryRowContext(ctx, `SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@log_bin, @@max_allowed_packet, @@innodb_doublewrite`).Scan(
		&flush, &sync, &binlog, &packet, &doublewrite)
	switch {
	case err != nil:
		return err
	case packet < leastPacket:
		return fmt.Errorf("max_allowed_packet is %d bytes; it must be %d at least; an administrator has to run: SET GLOBAL max_allowed_packet = %[2]d", packet, leastPacket)
	case flush != 1:
		s.warn(fmt.Sprintf("innodb_flush_log_at_trx_commit is %d and not 1: a crash can undo acknowledged changes, also deactivations", flush))
	}
	if binlog != 0 && sync != 1 {
		s.warn(fmt.Sprintf("sync_binlog is %d and not 1: a crash of the machine can undo acknowledged changes, also deactivations, here or on replicas", sync))
	}
	if doublewrite == "0" || strings.EqualFold(doublewrite, "OFF") {
		s.warn("innodb_doublewrite is off: a crash of the machine can damage the database")
	}
	var name, galera string
	err = c.QueryRowContext(ctx, `SHOW VARIABLES LIKE 'wsrep_on'`).Scan(&name, &galera)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if galera == "ON" {
		s.warn("the server is one of a Galera cluster: with connections to several of them, one may answer from before an acknowledged change, also a deactivation; connect to one at a time")
	}
	return nil
}

// leastPacket is enough for a statement of CreateAll, and for each record that a Manager writes.
const leastPacket = 4 << 20

// prepare is the last step. It warns of what can change tokens unnoticed.
func (s *Store) prepare(ctx context.Context) (err error) {
	if err := s.lend(ctx, func(c *sql.Conn) error { return checkCascades(ctx, c) }); err != nil {
		if !errors.Is(err, errCascades) {
			return err
		}
		s.warn(err.Error() + "; Watch does not go on, and nodes read each token anew after Config.MaxStaleness")
	}
	s.get, err = s.db.PrepareContext(ctx, `SELECT (`+s.trusted+`) IS TRUE, `+selected+` FROM apitoken_tokens t WHERE t.id = ?`)
	if err != nil {
		return err
	}
	s.look, err = s.db.PrepareContext(ctx, `SELECT g.wrong, t.id IS NOT NULL, `+selected+` FROM (SELECT `+s.outside+` AS wrong) g LEFT JOIN apitoken_tokens t ON t.id = ?`)
	return err
}

// wrap marks the errors of the engine as such.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mysql: %w", err)
}
