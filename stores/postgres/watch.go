package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/apitoken-go/apitoken"
)

// A change is heard of in two ways. A notification comes within a millisecond,
// but proves nothing by its absence. That nothing was missed is seen from the
// log, apitoken_changes, which is polled.
//
// The log cannot be read in order, as transactions do not commit in the order in
// which they begin or write. But a line bears the number of its transaction, and
// a snapshot says of each transaction whether it can be seen, so that every poll
// reads exactly what the snapshot of the one before did not see. To wait for the
// oldest transaction that runs would be simpler, and would let any that is
// forgotten stop all nodes.

// Limits of Watch.
const (
	minPatience   = 3 * time.Second  // for a poll
	minPause      = time.Second / 50 // between two of them
	closePatience = time.Second / 10 // for a farewell
	trimInterval  = time.Minute
	keepChanges   = 10 // trimIntervals
	trimBatch     = 20_000
)

var errClosed = errors.New("the store is closed")

// Watch implements [apitoken.Watcher]. It has its own connection, outside the pool. Through
// a pooler, Watch only polls. With a database of [Use] it also polls, each time with a
// connection of that database.
func (s *Store) Watch(ctx context.Context, feed apitoken.Feed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errClosed) })()
	err := s.watch(ctx, feed)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return wrap(err)
}

func (s *Store) watch(ctx context.Context, feed apitoken.Feed) error {
	w := watcher{store: s, feed: feed}
	if s.pool != nil {
		var err error
		if w.conn, err = s.connect(ctx); err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
			defer cancel()
			w.conn.Close(ctx)
		}()
		if err := w.listen(ctx); err != nil {
			return err
		}
	}
	if err := w.forgetAncestor(ctx); err != nil {
		return err
	}
	for {
		asked, err := w.poll(ctx)
		if err != nil {
			return err
		}
		feed.CaughtUp(asked)
		if err := w.trim(ctx); err != nil {
			return err
		}
		if err := w.wait(ctx, asked, feed.Interval()/2); err != nil {
			return err
		}
	}
}

// connect makes a connection like those of the pool, hooks included, but that none of it waits
// for.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) {
	pool := s.pool.Config()
	config := pool.ConnConfig
	ctx, cancel := context.WithTimeout(ctx, max(connectTimeout, config.ConnectTimeout))
	defer cancel()
	config.OnNotification = nil
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, config); err != nil {
			return nil, err
		}
	}
	// The end of a wait for a notification must not cancel anything, whatever the
	// pool does when contexts end.
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, pool, conn); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// prepare does to a connection what the pool does before one of it is used.
func prepare(ctx context.Context, pool *pgxpool.Config, conn *pgx.Conn) error {
	if pool.AfterConnect != nil {
		if err := pool.AfterConnect(ctx, conn); err != nil {
			return err
		}
	}
	good := true
	var err error
	before := pool.BeforeAcquire //lint:ignore SA1019 the pool runs it, too, as long as it has it
	switch {
	case pool.PrepareConn != nil:
		good, err = pool.PrepareConn(ctx, conn)
	case before != nil:
		good = before(ctx, conn)
	}
	if err == nil && !good {
		err = errors.New("a hook of the pool, PrepareConn or BeforeAcquire, does not want the connection of Watch")
	}
	return err
}

// A watcher is a Watch that runs.
type watcher struct {
	store   *Store
	conn    *pgx.Conn // its own, if it has one
	feed    apitoken.Feed
	listens bool // it gets notifications

	server string // when it was started, and the database
	table  string // identity of the table of the tokens
	seen   snapshot

	trimmed time.Time
	marks   []uint64 // xmin of the snapshot at each of the last times of trimming
}

// listen asks for notifications.
func (w *watcher) listen(ctx context.Context) error {
	ctx, cancel := w.patience(ctx)
	defer cancel()
	direct, err := isDirect(ctx, w.conn)
	if err != nil || !direct {
		return err
	}
	if _, err := w.conn.Exec(ctx, `SET lock_timeout = 500`); err != nil { // see beginPoll
		return err
	}
	_, err = w.conn.Exec(ctx, `LISTEN apitoken_changes`)
	if sqlState(err) != "" {
		return nil
	}
	w.listens = err == nil
	return err
}

// beginPoll bounds how long a poll waits for a lock. A restore that drops tables, and then waits for a lock of a poll
// that waits for the restore, would otherwise fail after a second (deadlock_timeout).
const beginPoll = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 500`

// with calls f with the connection of the watcher, or with one of the application in a transaction.
func (w *watcher) with(ctx context.Context, f func(querier) error) error {
	if w.conn != nil {
		return f(pgxConn{w.conn})
	}
	return w.store.read(ctx, beginPoll, f)
}

// patience bounds how long an answer is waited for: not longer than it would be
// of use. The network may have gone without a word.
func (w *watcher) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(4*w.feed.Interval(), w.store.patience))
}

// A snapshot says which transactions could be seen at a moment: those before
// next that were not running.
type snapshot struct {
	oldest, next uint64
	running      string // an array in SQL
}

func parseSnapshot(s string) (snapshot, error) {
	parts := strings.Split(s, ":") // oldest:next:running,running,...
	if len(parts) != 3 {
		return snapshot{}, fmt.Errorf("%q is not a snapshot", s)
	}
	oldest, err1 := strconv.ParseUint(parts[0], 10, 64)
	next, err2 := strconv.ParseUint(parts[1], 10, 64)
	return snapshot{oldest, next, "{" + parts[2] + "}"}, errors.Join(err1, err2)
}

// One statement has one snapshot: the one that it returns is that in which it
// reads the log.
const pollQuery = `
	SELECT now::text, concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), (SELECT oid FROM pg_database WHERE datname = current_database()), current_database()),
		place, identity, firing, aside, trimmed.xid::text::bigint, log.xid IS NOT NULL, log.id
	FROM (SELECT pg_current_snapshot() AS now WHERE ` + onPrimary + `) s CROSS JOIN (` + tableQuery + `) t
	CROSS JOIN apitoken_trimmed trimmed LEFT JOIN (
		SELECT xid, id FROM apitoken_changes WHERE xid >= $1::text::xid8
		UNION ALL SELECT xid, id FROM apitoken_changes WHERE xid = ANY($2::text::xid8[])
	) log ON TRUE`

// poll asks what is new, passes it on, and returns the moment before it asked.
// The first time, nothing is known to be old.
func (w *watcher) poll(ctx context.Context) (asked time.Time, err error) {
	ctx, cancel := w.patience(ctx)
	defer cancel()
	first := w.server == ""
	next, running := strconv.FormatUint(w.seen.next, 10), w.seen.running
	if first {
		next, running = "18446744073709551615", "{}" // of nothing
	}
	asked = time.Now()
	var (
		now, server   string
		place, table  string
		firing, aside string
		trimmed       int64
		changed       bool
		id            *string
		ids           []string
		everything    bool
		answered      bool
	)
	err = w.with(ctx, func(db querier) error {
		rows, err := db.query(ctx, pollQuery, next, running)
		if err != nil {
			return err
		}
		defer rows.Close()
		for ids, everything = nil, false; rows.Next(); answered = true {
			if err := rows.Scan(&now, &server, &place, &table, &firing, &aside, &trimmed, &changed, &id); err != nil {
				return err
			}
			switch {
			case changed && id == nil:
				everything = true
			case changed:
				ids = append(ids, *id)
			}
		}
		return rows.Err()
	})
	switch {
	case err != nil:
		return asked, err
	case !answered:
		return asked, errors.New("apitoken_tokens is not there, or apitoken_trimmed is empty")
	case !first && server != w.server:
		// A pooler has hidden it. Numbers of transactions may begin at an earlier
		// one, after a failover.
		return asked, errors.New("the server or the database is another one, or the server was started again")
	case place != w.store.place:
		return asked, fmt.Errorf("Watch finds the tables in the schema %q, and New has found them in %q: all connections of the pool must have one search_path", place, w.store.place)
	case aside != "":
		return asked, fmt.Errorf("not all changes of tokens are noticed: %s", aside)
	}
	if err := checkFiring(firing); err != nil {
		return asked, err
	}
	seen, err := parseSnapshot(now)
	if err != nil {
		return asked, err
	}
	if first || everything || table != w.table || uint64(trimmed) > w.seen.oldest {
		w.feed.Reset()
	} else if ids != nil {
		w.feed.Changed(ids...)
	}
	w.server, w.table, w.seen = server, table, seen
	return asked, nil
}

// wait passes on what notifications name, until it is time for the next poll, or
// one does not name what changed.
func (w *watcher) wait(ctx context.Context, asked time.Time, pause time.Duration) error {
	ctx, cancel := context.WithDeadline(ctx, asked.Add(pause))
	defer cancel()
	if !w.listens {
		<-ctx.Done()
		return nil
	}
	for {
		n, err := w.conn.WaitForNotification(ctx)
		if ctx.Err() != nil && !w.conn.IsClosed() {
			err = nil
		}
		if err != nil || n == nil {
			return err
		}
		var ids []string
		if json.Unmarshal([]byte(n.Payload), &ids) != nil {
			time.Sleep(min(pause, minPause) - time.Since(asked)) // everybody can notify
			return nil
		}
		w.feed.Changed(ids...)
	}
}

// trim removes from the log what all watchers have read long ago. Now and then
// it notes the snapshot. Every Watch that has polled since can see all earlier
// transactions; one that has not learns from apitoken_trimmed that it has missed
// something.
func (w *watcher) trim(ctx context.Context) error {
	if time.Since(w.trimmed) < trimInterval {
		return nil
	}
	w.trimmed = time.Now()
	w.marks = append(w.marks, w.seen.oldest)
	if len(w.marks) <= keepChanges {
		return nil
	}
	mark := w.marks[0]
	w.marks = w.marks[1:]
	return w.trimTo(ctx, mark)
}

// forgetAncestor removes what a database that was dumped and restored has in its log
// from where it was before: numbers of transactions that are still to come here.
func (w *watcher) forgetAncestor(ctx context.Context) error {
	return w.tidy(ctx, `
		WITH gone AS (DELETE FROM apitoken_changes WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))
		UPDATE apitoken_trimmed SET xid = '0' WHERE xid > pg_snapshot_xmax(pg_current_snapshot())`)
}

func (w *watcher) trimTo(ctx context.Context, mark uint64) error {
	// Another node may be doing the same.
	return w.tidy(ctx, `
		WITH due AS (
			SELECT ctid FROM apitoken_changes WHERE xid < $1::text::xid8 LIMIT $2::bigint FOR UPDATE SKIP LOCKED
		), gone AS (
			DELETE FROM apitoken_changes c USING due WHERE c.ctid = due.ctid
		)
		UPDATE apitoken_trimmed SET xid = $1::text::xid8 WHERE xid < $1::text::xid8 AND EXISTS (SELECT FROM due)`,
		strconv.FormatUint(mark, 10), trimBatch)
}

// tidy does something to the log. If the server does not do it, that is no
// reason not to watch: the log is complete.
func (w *watcher) tidy(ctx context.Context, query string, args ...any) error {
	ctx, cancel := w.patience(ctx)
	defer cancel()
	err := w.with(ctx, func(db querier) error {
		_, err := db.exec(ctx, query, args...)
		return err
	})
	if w.conn == nil || !w.conn.IsClosed() {
		return nil
	}
	return err
}
