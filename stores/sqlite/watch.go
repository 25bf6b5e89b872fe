package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A watch is a Watch that runs.
type watch struct {
	wake   chan struct{} // has room for one
	cancel context.CancelCauseFunc
}

// maxPause is the longest time between two looks into the log of changes, and
// so what it takes until a change made by another process is noticed.
const maxPause = 50 * time.Millisecond

// Watch implements [apitoken.Watcher]. It learns of changes by s itself at once, and looks
// for changes by others, including manual edits, every 50 ms. It only reads, so that no
// writer waits for it. It ends when s is closed.
func (s *Store) Watch(ctx context.Context, feed apitoken.Feed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{make(chan struct{}, 1), cancel}
	if !s.addWatch(w) {
		return errClosed
	}
	defer s.removeWatch(w)
	err := s.follow(ctx, feed, w.wake)
	if context.Cause(ctx) == errClosed {
		return errClosed
	}
	return wrap(err)
}

// logged selects the log from an entry on, which is the last that was read.
const logged = `SELECT change, id, mark FROM apitoken_changes WHERE change >= ? ORDER BY change`

// shape selects a text that differs after a change of tables or triggers: the count of such
// changes, which a manual edit of sqlite_schema does not raise, and the triggers.
const shape = `SELECT schema_version || ' ' || coalesce((SELECT group_concat(name || sql) FROM sqlite_schema
	WHERE type = 'trigger' AND tbl_name LIKE 'apitoken\_%' ESCAPE '\'), '') FROM pragma_schema_version`

// follow passes on what is added to the log of changes.
func (s *Store) follow(ctx context.Context, feed apitoken.Feed, wake <-chan struct{}) error {
	log, err := s.readers.PrepareContext(whole(ctx), logged)
	if err != nil {
		return err
	}
	defer log.Close()
	shape, err := s.readers.PrepareContext(whole(ctx), shape)
	if err != nil {
		return err
	}
	defer shape.Close()
	lost := true
	var known string
	var last logEntry
	for ctx.Err() == nil {
		asked := time.Now() // what is acknowledged earlier will be read
		if err := s.file.check(); err != nil {
			return err
		}
		var found string
		if err := shape.QueryRowContext(whole(ctx)).Scan(&found); err != nil {
			return err
		}
		if found != known {
			there, err := checkSchema(whole(ctx), s.readers)
			if err == nil && !there {
				err = errNoTables
			}
			if err != nil {
				return err
			}
			known, lost = found, true
		}
		if lost {
			row := s.readers.QueryRowContext(whole(ctx), `SELECT change, id, mark FROM apitoken_changes ORDER BY change DESC LIMIT 1`)
			last = logEntry{}
			if err := row.Scan(&last.change, &last.id, &last.mark); err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			feed.Reset()
		}
		var ids []string
		if ids, lost, err = read(whole(ctx), log, &last); err != nil {
			return err
		}
		if lost {
			continue
		}
		if len(ids) > 0 {
			feed.Changed(ids...)
		}
		feed.CaughtUp(asked)
		select {
		case <-wake:
		case <-time.After(min(feed.Interval()/2, maxPause)):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

var errNoTables = errors.New("the tables of the tokens are gone")

// A logEntry is one entry of the log of changes; the zero one comes before the first.
type logEntry struct {
	change int64
	id     string
	mark   int64 // random
}

// read reads the IDs that follow *last, and moves that on. Entries are lost if
// they do not join up with it: also where the number is there with another mark, as
// after a backup was restored into the file.
func read(ctx context.Context, log *sql.Stmt, last *logEntry) (ids []string, lost bool, err error) {
	rows, err := log.QueryContext(ctx, last.change)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	joined := last.change == 0 // or else the entry *last is the first again
	for rows.Next() {
		var e logEntry
		if err := rows.Scan(&e.change, &e.id, &e.mark); err != nil {
			return nil, false, err
		}
		switch {
		case !joined && e == *last:
			joined = true
		case joined && e.change == last.change+1:
			ids, *last = append(ids, e.id), e
		default:
			return nil, true, nil
		}
	}
	return ids, !joined, rows.Err()
}

// addWatch reports whether s is open.
func (s *Store) addWatch(w *watch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.watches[w] = struct{}{}
	s.watching.Add(1)
	return true
}

func (s *Store) removeWatch(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watches, w)
	s.watching.Done()
}

// wake has all who watch look for changes.
func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watches {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// endWatches ends all that run, and lets none begin.
func (s *Store) endWatches() {
	s.mu.Lock()
	s.closed = true
	for w := range s.watches {
		w.cancel(errClosed)
	}
	s.mu.Unlock()
	s.watching.Wait()
}
