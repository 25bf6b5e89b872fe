package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	added, err := s.CreateAll(ctx, []apitoken.Record{rec})
	if err == nil && !added[0] {
		err = wrap(apitoken.ErrExists)
	}
	return err
}

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := check(&rec); err != nil {
		return wrap(err)
	}
	return s.write(ctx, func(ctx context.Context, w *writer) error {
		old, token, err := current(ctx, w, rec.ID)
		switch {
		case err != nil:
			return err
		case old.Version != rec.Version-1:
			return apitoken.ErrConflict
		}
		// Only what differs, to leave the indexes of the rest alone.
		var set []string
		var args []any
		was, is := sqlkit.Values(old), sqlkit.Values(rec)
		for i, col := range sqlkit.Columns {
			if !col.Touch && !reflect.DeepEqual(was[i], is[i]) {
				set, args = append(set, col.Name+" = ?"), append(args, is[i])
			}
		}
		res, err := w.conn.ExecContext(ctx, `UPDATE apitoken_tokens SET `+strings.Join(set, ", ")+` WHERE token = ? AND version = ?`,
			append(args, token, old.Version)...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("%d rows were replaced: %w", n, err)
		}
		return index(ctx, w, token, &old, &rec)
	})
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	return s.write(ctx, func(ctx context.Context, w *writer) error {
		res, err := w.exec(ctx, `DELETE FROM apitoken_tokens WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, apitoken.ErrNotFound)
		}
		return nil
	})
}

// Touch implements [apitoken.Toucher].
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	if len(uses) == 0 {
		return wrap(ctx.Err())
	}
	return s.write(ctx, func(ctx context.Context, w *writer) error {
		for id, uses := range sqlkit.ByToken(uses) {
			rec, token, err := current(ctx, w, id)
			if errors.Is(err, apitoken.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			changed := false
			for _, u := range uses {
				changed = rec.AddUse(u) || changed
			}
			if !changed {
				continue
			}
			_, err = w.exec(ctx, `UPDATE apitoken_tokens SET uses = ?, last_used_at = ?, last_used_key = ? WHERE token = ?`,
				sqlkit.UsesJSON(rec.Uses), sqlkit.Micros(rec.LastUsed()), rec.LastUsed().UnixMicro(), token)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// current reads a record in the transaction that is to change it.
func current(ctx context.Context, w *writer, id string) (rec apitoken.Record, token int64, err error) {
	row := w.row(ctx, `SELECT `+selected+`, t.token FROM apitoken_tokens t WHERE t.id = ?`, id)
	rec, err = sqlkit.Scan(row, &token)
	if errors.Is(err, sql.ErrNoRows) {
		err = apitoken.ErrNotFound
	}
	return rec, token, err
}

// index makes the tables of permissions, terms and beginnings say of a token what
// they must when its record, which was old, is rec.
func index(ctx context.Context, w *writer, token int64, old, rec *apitoken.Record) error {
	for _, side := range []struct {
		insert, remove string
		was, is        []string
	}{
		{insertPermission, `DELETE FROM apitoken_permissions WHERE token = ? AND permission = ?`, old.Permissions, rec.Permissions},
		{insertTerm, `DELETE FROM apitoken_terms WHERE token = ? AND term = ?`, terms(old), terms(rec)},
	} {
		moved := sqlkit.Listed(old) != sqlkit.Listed(rec)
		for _, v := range side.was {
			if moved || !slices.Contains(side.is, v) {
				if _, err := w.exec(ctx, side.remove, token, v); err != nil {
					return err
				}
			}
		}
		for _, v := range side.is {
			if moved || !slices.Contains(side.was, v) {
				if _, err := w.exec(ctx, side.insert+` VALUES (?, ?, ?)`, token, v, sqlkit.Listed(rec)); err != nil {
					return err
				}
			}
		}
	}
	was, is := beginnings(old), beginnings(rec)
	for key := range was {
		if !is[key] {
			if _, err := w.exec(ctx, `DELETE FROM apitoken_beginnings WHERE environment = ? AND beginning = ? AND name_key = ? AND id = ?`, key[:]...); err != nil {
				return err
			}
		}
	}
	for key := range is {
		if !was[key] {
			if _, err := w.exec(ctx, insertBeginning+` VALUES (?, ?, ?, ?)`, key[:]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// beginnings returns the rows of apitoken_beginnings that belong to a record.
func beginnings(rec *apitoken.Record) map[[4]any]bool {
	rows := make(map[[4]any]bool)
	for _, t := range terms(rec) {
		if b := sqlkit.Beginning(t); b != "" {
			rows[[4]any{sqlkit.Listed(rec), b, rec.NameKey(), rec.ID}] = true
		}
	}
	return rows
}

// terms returns the terms of a record but for its name, which is indexed as it
// is. (Terms are cut, but not where a text to search for would notice.)
func terms(rec *apitoken.Record) []string {
	return slices.DeleteFunc(rec.Terms(), func(t string) bool { return strings.HasPrefix(rec.NameKey(), t) })
}

// A writer is a connection for writes, with the statements that it has
// prepared.
type writer struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func (w *writer) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	stmt, ok := w.stmts[query]
	if !ok {
		var err error
		if stmt, err = w.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		w.stmts[query] = stmt
	}
	return stmt, nil
}

func (w *writer) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (w *writer) row(ctx context.Context, query string, args ...any) sqlkit.Row {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return noRow{err}
	}
	return stmt.QueryRowContext(ctx, args...)
}

type noRow struct{ err error }

func (r noRow) Scan(...any) error { return r.err }

// write runs f in a transaction of the writer, and commits what it did unless
// it returns an error.
func (s *Store) write(ctx context.Context, f func(context.Context, *writer) error) error {
	err := s.writeBy(ctx, &s.writer, f)
	if err == nil {
		s.wake()
	}
	return err
}

// writeBy runs f in a transaction of w, when no other one of this process runs.
func (s *Store) writeBy(ctx context.Context, w *writer, f func(context.Context, *writer) error) error {
	wait, cancel := patience(ctx)
	defer cancel()
	select {
	case _, open := <-s.writing:
		if !open {
			return errClosed
		}
	case <-wait.Done():
		return wrap(locked(wait, wait.Err()))
	}
	defer func() { s.writing <- struct{}{} }()
	return wrap(transact(ctx, w.conn, func(ctx context.Context) error {
		if err := s.file.check(); err != nil {
			return err
		}
		return f(ctx, w)
	}))
}

var errClosed = errors.New("sqlite: the store is closed")

// patience returns a context that ends some time before ctx, so that the answer can
// say what was waited for. (The engine sleeps for up to 100 ms between two looks.)
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(time.Until(end)/8, 200*time.Millisecond)))
}

// locked returns the error of a call that waited for the lock in vain until its context
// ended. The text is the same with every driver: the engine's.
func locked(wait context.Context, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		if !strings.Contains(err.Error(), "database is locked") {
			return err
		}
		if end, ok := wait.Deadline(); ok && time.Until(end) < 100*time.Millisecond { // the engine was faster than the context
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
	}
	return fmt.Errorf("the database is locked (busy): another connection, perhaps of another process, has not ended a transaction that writes: %w", err)
}

// transact runs f in a transaction. It waits for the lock no longer than ctx;
// what follows takes no time to speak of, and is not broken off, so that the
// outcome is known.
func transact(ctx context.Context, c *sql.Conn, f func(context.Context) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	whole := context.WithoutCancel(ctx)
	done := false
	defer func() {
		// Also when f panics, and when ctx ends just as BEGIN has begun.
		if !done {
			c.ExecContext(whole, `ROLLBACK`)
		}
	}()
	wait, cancel := patience(ctx)
	defer cancel()
	busy := 5 * time.Second
	if end, ok := wait.Deadline(); ok {
		busy = max(min(busy, time.Until(end)), time.Millisecond)
	}
	// Of the context only modernc's driver takes notice while the engine waits for the lock.
	if _, err := c.ExecContext(wait, fmt.Sprintf(`PRAGMA busy_timeout = %d; BEGIN IMMEDIATE`, busy.Milliseconds())); err != nil {
		return locked(wait, err)
	}
	if err := f(whole); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := c.ExecContext(whole, `COMMIT`); err != nil {
		return err
	}
	done = true
	return nil
}
