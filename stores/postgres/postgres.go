// Package postgres keeps tokens in a PostgreSQL database, in tables whose names begin with
// "apitoken_". It needs PostgreSQL 13 or later, and uses pgx.
//
// In the pgx pool of an application:
//
//	store, err := postgres.New(ctx, pool)
//
// in its database/sql handle, with pgx/stdlib or lib/pq:
//
//	store, err := postgres.Use(ctx, db)
//
// or in a pool of its own:
//
//	store, err := postgres.Open(ctx, "postgres://user@host/database")
//	if err != nil {
//		...
//	}
//	defer store.Close()
//
// An acknowledged change is on the disk of the primary, with every value of
// synchronous_commit. The store never reads replicas. Changes by any node, and manual
// edits, reach all nodes.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/apitoken-go/apitoken"
)

// A Store keeps tokens in a PostgreSQL database. It implements [apitoken.Store] and all its
// optional interfaces. All texts of a record must be valid UTF-8 without NUL.
type Store struct {
	db       connector
	pool     *pgxpool.Pool // db, if it is one of pgx
	own      bool          // Close closes it
	begin    string        // what a single statement has to be in a transaction for, if anything
	inBinary []any
	place    string // the schema of the tables
	warnings []string
	patience time.Duration // for a poll, at least; the tests have more

	swept atomic.Int64 // when Count has removed sums that are over

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

// Times that a pool of Open allows for. To wait for an answer a request has
// Config.StoreTimeout.
const (
	connectTimeout   = 5 * time.Second
	statementTimeout = 30 * time.Second
)

// Open connects to a database with its own pool, and creates the tables if there are none.
// It parses the URL, or keyword/value string, with [pgxpool.ParseConfig]. The URL may name
// several servers; Open takes the primary.
//
// No error of Open contains the URL, because it may contain a password.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// What that error quotes is not worth the risk.
		return nil, errors.New("postgres: the URL is not valid (it is not shown, as it may contain a password); expected is postgres://user@host:5432/database")
	}
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > time.Minute {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	if _, said := config.ConnConfig.RuntimeParams["client_encoding"]; !said { // ALTER ROLE may have set another
		config.ConnConfig.RuntimeParams["client_encoding"] = "UTF8"
	}
	if _, said := config.ConnConfig.RuntimeParams["statement_timeout"]; !said {
		config.AfterConnect = limitStatements
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, wrap(err)
	}
	s, err := New(ctx, pool)
	if err != nil {
		pool.Close()
		return nil, err
	}
	s.own = true
	return s, nil
}

// New keeps the tokens in the database of a pool of the application. Close does not close
// the pool. If the tables do not exist, New creates them in the first schema of the search
// path; see also [Schema].
//
// It refuses replicas, servers before version 13, tables that this version of the package does not
// know, and roles that lack a right. It also refuses databases and sessions that do not use UTF-8
// and, behind a pooler, driver modes that prepare statements. [Store.Warnings] reports doubtful
// settings that it accepts.
func New(ctx context.Context, pool *pgxpool.Pool) (*Store, error) {
	s := newStore(pgxPool{pool})
	s.pool, s.inBinary = pool, inBinary(pool.Config().ConnConfig)
	return s.open(ctx, s.checkPooler)
}

func newStore(db connector) *Store {
	s := &Store{db: db, patience: minPatience}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// open makes the tables if there are none, after it has taken these steps and looked at the server.
func (s *Store) open(ctx context.Context, steps ...func(context.Context) error) (*Store, error) {
	for _, step := range append(steps, s.inspect, s.migrate, s.locate) {
		if err := step(ctx); err != nil {
			return nil, wrap(err)
		}
	}
	return s, nil
}

// Close ends every Watch, and closes the pool of [Open].
func (s *Store) Close() error {
	s.end()
	if s.own {
		s.db.Close()
	}
	return nil
}

// Warnings returns the problems of the setup, as sentences for an operator: possible losses
// of the server, and avoidable delays. The store checks the setup when it starts.
func (s *Store) Warnings() []string { return s.warnings }

// inspect looks at how the server is set up.
func (s *Store) inspect(ctx context.Context) error {
	var (
		recovery, fsync, fullPages, ordinary bool
		version                              int
		encoding, session                    string
	)
	err := s.read(ctx, "", func(db querier) error {
		return queryRow(ctx, db, `
			SELECT pg_is_in_recovery(), current_setting('server_version_num')::int, current_setting('server_encoding'), current_setting('client_encoding'),
				current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
				current_setting('default_transaction_isolation') = 'read committed'`,
		).Scan(&recovery, &version, &encoding, &session, &fsync, &fullPages, &ordinary)
	})
	switch {
	case err != nil:
		return err
	case recovery:
		return errors.New(replica)
	case version < 130000:
		return fmt.Errorf("the server has version %d; 13 is the first that can be used", version/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s; it must be UTF8: make another with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", encoding)
	case session != "UTF8":
		return encodingError(session)
	}
	if !fsync || !fullPages {
		s.warn("fsync or full_page_writes is off: a crash of the machine can undo acknowledged changes, also deactivations, and damage the database")
	}
	if !ordinary {
		s.warn("default_transaction_isolation is not read committed: changes of one token at the same time can fail as unavailable, where they would be refused as conflicts")
	}
	return s.checkDurable(ctx)
}

func (s *Store) warn(sentence string) { s.warnings = append(s.warnings, sentence) }

// durable is true, and makes the transaction wait at its end until what it wrote
// is on the disk, and on that of synchronous replicas if there are any. It is part of
// every statement that changes a token.
const durable = `(SELECT CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN TRUE
	ELSE set_config('synchronous_commit', 'on', true) = 'on' END AND ` + inUTF8 + `)`

// checkDurable refuses a server on which that has no effect.
func (s *Store) checkDurable(ctx context.Context) error {
	return s.read(ctx, `BEGIN`, func(tx querier) error {
		var done bool
		var setting string
		if err := queryRow(ctx, tx, `SELECT `+durable).Scan(&done); err != nil {
			return err
		}
		if err := queryRow(ctx, tx, `SELECT current_setting('synchronous_commit')`).Scan(&setting); err != nil {
			return err
		}
		if setting != "on" && setting != "remote_apply" {
			return fmt.Errorf("synchronous_commit stays at %q: a crash could undo acknowledged changes", setting)
		}
		return nil
	})
}

var errText = errors.New("postgres: the text is not valid UTF-8 without NUL")

var otherEncoding = regexp.MustCompile(`client_encoding is (\w+)`) // see inUTF8

func encodingError(encoding string) error {
	return fmt.Errorf("the session has client_encoding %q; it must be UTF8: add client_encoding=UTF8 to the URL or DSN, or to config.ConnConfig.RuntimeParams of a pool,"+
		" and set no other in a hook of the pool or by a statement", encoding)
}

// wrap marks the errors of the engine as such.
func wrap(err error) error {
	if sqlState(err) == "22P02" {
		if strings.Contains(err.Error(), replica) {
			err = errors.New(replica)
		} else if found := otherEncoding.FindStringSubmatch(err.Error()); found != nil {
			err = encodingError(found[1])
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("postgres: %w", err)
}
