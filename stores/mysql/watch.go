package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A transaction that changes a token holds the row of apitoken_counter until it ends. So the numbers of the log are
// in the order of the commits, without gaps: a poll reads what follows the last line that it has read, and notices if that is
// another one. To read an AUTO_INCREMENT column would miss what commits after a later number does.

// Limits of Watch.
const (
	minPatience = 3 * time.Second // for a poll
	keepChanges = 10_000          // in the log
	trimEvery   = 1_000           // changes
)

var errClosed = errors.New("the store is closed")

// Watch implements [apitoken.Watcher]. It polls, each time with a connection of the database.
func (s *Store) Watch(ctx context.Context, feed apitoken.Feed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errClosed) })()
	w := watcher{store: s, feed: feed}
	for {
		asked, err := w.poll(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return wrap(err)
		}
		feed.CaughtUp(asked)
		select {
		case <-time.After(feed.Interval()/2 - time.Since(asked)):
		case <-ctx.Done():
		}
	}
}

// A watcher is a Watch that runs.
type watcher struct {
	store *Store
	feed  apitoken.Feed

	shape   string // of the tables and the triggers; "" before the first poll
	server  string
	first   string // the least ID of a token
	last    line
	trimmed int64
}

// A line is one of the log; the zero one comes before the first.
type line struct {
	change int64
	id     string
	mark   int64
}

// poll asks what is new, passes it on, and returns the moment before it asked.
func (w *watcher) poll(ctx context.Context) (asked time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(4*w.feed.Interval(), w.store.patience))
	defer cancel()
	asked = time.Now() // what is acknowledged earlier will be read
	var now watcher
	var ids []string
	var lost bool
	err = w.store.read(ctx, func(c *sql.Conn) error {
		now, ids, lost = watcher{last: w.last}, nil, false
		if now.shape, err = shape(ctx, c); err != nil {
			return err
		}
		if now.shape != w.shape {
			there, err := checkSchema(ctx, c)
			if err == nil && !there {
				err = errNoTables
			}
			if err == nil {
				err = checkCascades(ctx, c)
			}
			if err != nil {
				return err
			}
		}
		var there bool
		if err := c.QueryRowContext(ctx, `SELECT `+w.store.server+`, ifnull((SELECT min(id) FROM apitoken_tokens), ''), EXISTS (SELECT 1 FROM apitoken_tokens WHERE id = ?)`, w.first).Scan(&now.server, &now.first, &there); err != nil {
			return err
		}
		if ids, lost, err = follow(ctx, c, &now.last); err != nil {
			return err
		}
		// Without a line about it, the first token can only go by TRUNCATE and the like.
		gone := w.first != "" && !there && !slices.Contains(ids, w.first)
		if lost = lost || gone || now.shape != w.shape || now.server != w.server; lost {
			now.last = line{}
			err := c.QueryRowContext(ctx, `SELECT `+"`change`"+`, id, mark FROM apitoken_changes ORDER BY `+"`change`"+` DESC LIMIT 1`).Scan(&now.last.change, &now.last.id, &now.last.mark)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return asked, err
	}
	w.shape, w.server, w.first, w.last = now.shape, now.server, now.first, now.last
	switch {
	case lost:
		w.feed.Reset()
	case len(ids) > 0:
		w.feed.Changed(ids...)
	}
	w.trim(ctx)
	return asked, nil
}

var errNoTables = errors.New("the tables of the tokens are gone")

// follow reads the IDs that follow *last, and moves that on. Lines are lost if they do not join up with it.
func follow(ctx context.Context, c *sql.Conn, last *line) (ids []string, lost bool, err error) {
	rows, err := c.QueryContext(ctx, "SELECT `change`, id, mark FROM apitoken_changes WHERE `change` >= ? ORDER BY `change`", last.change)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	joined := last.change == 0 // or else the line *last is the first again
	for rows.Next() {
		var l line
		if err := rows.Scan(&l.change, &l.id, &l.mark); err != nil {
			return nil, false, err
		}
		switch {
		case !joined && l == *last:
			joined = true
		case joined && l.change == last.change+1:
			ids, *last = append(ids, l.id), l
		default:
			return nil, true, nil
		}
	}
	return ids, !joined, rows.Err()
}

// shape returns a text that is another one after tables, triggers or foreign keys were made anew.
func shape(ctx context.Context, c *sql.Conn) (string, error) {
	rows, err := c.QueryContext(ctx, `
		SELECT CAST(concat('table ', t.table_name, ' ', ifnull(t.create_time, ''), ' ', t.engine) AS BINARY) AS line FROM information_schema.tables t WHERE t.table_schema = DATABASE() AND t.table_name IN (`+tables+`)
		UNION ALL SELECT CAST(concat('trigger ', g.trigger_name, ' ', g.created) AS BINARY) FROM information_schema.triggers g
			WHERE g.event_object_schema = DATABASE() AND g.event_object_table IN (`+tables+`)
		UNION ALL `+cascades+`
		ORDER BY line`)
	if err != nil {
		return "", err
	}
	return texts(rows)
}

// cascades selects foreign keys by which rows of apitoken_tokens change. Triggers do not fire then.
const cascades = `SELECT CAST(concat('foreign key ', k.constraint_name) AS BINARY) AS line FROM information_schema.referential_constraints k
	WHERE k.constraint_schema = DATABASE() AND k.table_name = 'apitoken_tokens' AND (k.delete_rule IN ('CASCADE', 'SET NULL') OR k.update_rule IN ('CASCADE', 'SET NULL'))`

// checkCascades refuses such foreign keys.
func checkCascades(ctx context.Context, c *sql.Conn) error {
	rows, err := c.QueryContext(ctx, cascades)
	if err != nil {
		return err
	}
	found, err := texts(rows)
	if err == nil && found != "" {
		err = fmt.Errorf("%w: %s", errCascades, strings.ReplaceAll(strings.TrimSpace(found), "\n", ", "))
	}
	return err
}

var errCascades = errors.New("not all changes of tokens are noticed, as no trigger fires where a foreign key of apitoken_tokens deletes or changes rows")

// texts reads the texts that a query has found, a line each.
func texts(rows *sql.Rows) (string, error) {
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return "", err
		}
		b.WriteString(text + "\n")
	}
	return b.String(), rows.Err()
}

// trim removes from the log what all watchers have read long ago. One that has not notices. If the server does not do it,
// that is no reason not to watch: the log is complete.
func (w *watcher) trim(ctx context.Context) {
	if w.last.change-w.trimmed < trimEvery {
		return
	}
	w.trimmed = w.last.change
	w.store.db.ExecContext(ctx, "DELETE FROM apitoken_changes WHERE `change` <= ?", w.last.change-keepChanges)
}
