package mysql

import (
	"context"
	"database/sql"
	"errors"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

var selected = sqlkit.Selected("t.")

// check refuses what the columns cannot hold.
func check(rec *apitoken.Record) error { return sqlkit.Check(rec, utf8.ValidString, "valid UTF-8") }

// Cancelable makes the promise that [apitoken.Store] describes.
func (s *Store) Cancelable() {}

// Get implements [apitoken.Store]. To look for a record that does not exist takes a second statement.
func (s *Store) Get(ctx context.Context, id string) (rec apitoken.Record, err error) {
	if !utf8.ValidString(id) {
		return rec, wrap(apitoken.ErrNotFound)
	}
	for range maxTries {
		if rec, err = sqlkit.Scan(trusted{s.get.QueryRowContext(ctx, id)}); errors.Is(err, sql.ErrNoRows) {
			rec, err = sqlkit.Scan(guarded{s.look.QueryRowContext(ctx, id)})
		}
		if !isTransient(err) || ctx.Err() != nil {
			break
		}
	}
	return rec, wrap(ended(ctx, err))
}

// trusted is a row that begins with whether it can be trusted.
type trusted struct{ row *sql.Row }

func (t trusted) Scan(dest ...any) error {
	var can bool
	err := t.row.Scan(append([]any{&can}, dest...)...)
	if err == nil && !can {
		return sql.ErrNoRows
	}
	return err
}

// guarded is a row that begins with what is wrong with the session, and whether there is a record.
type guarded struct{ row *sql.Row }

func (g guarded) Scan(dest ...any) error {
	var wrong string
	there := true
	err := g.row.Scan(append([]any{&wrong, &there}, dest...)...)
	switch {
	case wrong != "":
		return sessionError(wrong)
	case !there: // or else NULL could not be scanned
		return apitoken.ErrNotFound
	}
	return err
}

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) (recs []apitoken.Record, err error) {
	if !utf8.ValidString(after) {
		return nil, errText
	}
	err = s.read(ctx, func(c *sql.Conn) (err error) {
		recs, err = sqlkit.All(c.QueryContext(ctx, `SELECT `+selected+` FROM apitoken_tokens t WHERE t.id > ? ORDER BY t.id LIMIT ?`, after, limit))
		return err
	})
	return recs, wrap(err)
}

// KeysInUse implements [apitoken.Scanner]. It goes from each key in an index to the next one, and counts up to 1,000 of
// each: to count all would take the longer the more tokens there are, and a node asks when it starts.
func (s *Store) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	err = s.read(ctx, func(c *sql.Conn) error {
		macs, secrets = make(map[string]int), make(map[string]int)
		for column, keys := range map[string]map[string]int{"mac_key_id": macs, "encryption_key_id": secrets, "old_encryption_key_id": secrets} {
			for key := ""; ; {
				var next sql.NullString
				err := c.QueryRowContext(ctx, `SELECT min(`+column+`) FROM apitoken_tokens WHERE `+column+` > ?`, key).Scan(&next)
				if err != nil {
					return err
				}
				if !next.Valid {
					break
				}
				key = next.String
				var n int
				err = c.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM apitoken_tokens WHERE `+column+` = ? LIMIT ?) d`, key, sqlkit.MaxCount).Scan(&n)
				if err != nil {
					return err
				}
				keys[key] += n
			}
		}
		return nil
	})
	return macs, secrets, wrap(err)
}
