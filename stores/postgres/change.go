package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// Each change of one record is one statement, and so one transaction and one round trip. What
// follows from it the trigger does, in the same transaction. See schema.sql.

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := check(&rec); err != nil {
		return wrap(err)
	}
	n, err := s.exec(ctx, update, values(rec)[:len(replaced)]...)
	if err != nil || n > 0 {
		return wrap(err)
	}
	// It had another version, or was not there. Find out now which of them: an
	// earlier query could have seen a record that was deleted meanwhile.
	var there bool
	err = s.read(ctx, "", func(db querier) error {
		return queryRow(ctx, db, `SELECT EXISTS (SELECT FROM apitoken_tokens WHERE id = $1::text) AND `+onPrimary, rec.ID).Scan(&there)
	})
	switch {
	case err != nil:
		return wrap(err)
	case there:
		return wrap(apitoken.ErrConflict)
	}
	return wrap(apitoken.ErrNotFound)
}

var update = func() string {
	var set []string
	var id, version string
	for i, c := range replaced {
		switch p := placeholder(i+1, c.kind); c.name {
		case "id":
			id = p
		case "version":
			version = p
			fallthrough
		default:
			set = append(set, c.name+" = "+p)
		}
	}
	return logged(`UPDATE apitoken_tokens SET ` + strings.Join(set, ", ") + ` WHERE id = ` + id + ` AND version = ` + version + ` - 1 AND ` + durable)
}()

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	if !valid(id) {
		return wrap(apitoken.ErrNotFound)
	}
	n, err := s.exec(ctx, remove, id)
	if err == nil && n == 0 {
		err = apitoken.ErrNotFound
	}
	return wrap(err)
}

var remove = logged(`DELETE FROM apitoken_tokens WHERE id = $1::text AND ` + durable)

// logged returns a statement that changes tokens and writes that into the log.
func logged(change string) string {
	return `WITH changed AS (` + change + ` RETURNING id) INSERT INTO apitoken_changes (id) SELECT id FROM changed`
}

func (s *Store) exec(ctx context.Context, query string, args ...any) (rows int64, err error) {
	err = s.change(ctx, "", func(db querier) (err error) {
		rows, err = db.exec(ctx, query, args...)
		return err
	})
	return rows, err
}

// Touch implements [apitoken.Toucher]. It does not wait for the disk: a crash of the server
// can undo the writes of the last second.
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	var keep []apitoken.Use
	for _, u := range uses {
		if valid(u.ID) && valid(string(u.Source)) {
			keep = append(keep, u)
		}
	}
	byToken := sqlkit.ByToken(keep)
	if len(byToken) == 0 {
		return wrap(ctx.Err())
	}
	return wrap(s.change(ctx, beginTouch, func(tx querier) error { return s.touch(ctx, tx, byToken) }))
}

// beginTouch says, besides, that the trigger has nothing to do, as only uses are
// written. It says so with the number of the transaction, so that no setting of a session or a role can say it.
// Someone who changes many tokens by hand may hold what Touch waits for,
// and the other way round; it is not their change that shall fail, which is what the
// server may do after a second (deadlock_timeout).
const beginTouch = `BEGIN ISOLATION LEVEL READ COMMITTED;
	SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = 500; SELECT set_config('apitoken.touch', pg_current_xact_id()::text, true)`

func (s *Store) touch(ctx context.Context, tx querier, uses map[string][]apitoken.Use) error {
	// In the order of their IDs, so that nodes do not wait for each other.
	recs, err := s.records(ctx, tx, `SELECT `+selected+` FROM apitoken_tokens t
		WHERE t.id = ANY($1::text[]) AND `+inUTF8+` ORDER BY t.id FOR NO KEY UPDATE`, slices.Sorted(maps.Keys(uses)))
	if err != nil {
		return err
	}
	var ids, lists []string
	var last []pgtype.Timestamptz
	for _, rec := range recs {
		newer := false
		for _, u := range uses[rec.ID] {
			newer = rec.AddUse(u) || newer
		}
		if newer {
			ids, lists, last = append(ids, rec.ID), append(lists, sqlkit.UsesJSON(rec.Uses)), append(last, lastUsed(rec.LastUsed()))
		}
	}
	if ids == nil {
		return nil
	}
	_, err = tx.exec(ctx, `WITH new AS (SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]) n (id, uses, at)),
		ordered AS (UPDATE apitoken_last_used l SET last_used_at = new.at FROM new WHERE l.id = new.id)
		UPDATE apitoken_tokens t SET uses = new.uses::jsonb FROM new WHERE t.id = new.id`, ids, lists, last)
	return err
}
