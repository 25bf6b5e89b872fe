// Package ownstore is an apitoken.Store in plain SQL: what it takes to keep tokens in an engine
// that the library has no store for. Copy it, and change what your engine needs.
//
// It goes through database/sql and uses ? as placeholder, as SQLite and MySQL do. Each change is one
// statement. It has no feed, so another node notices a change after Config.MaxStaleness. A list
// reads tokens of its environment until its page is full and it has counted a thousand.
package ownstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apitoken-go/apitoken"
)

// Schema makes the table. A record is stored in its own encoding; the columns that lists are ordered
// by are copies. Texts are stored as bytes, because they must be compared byte by byte. MySQL wants
// VARBINARY(1024) for a BLOB in a key or an index, and LONGBLOB for the others.
const Schema = `
CREATE TABLE tokens (
	version      BIGINT NOT NULL,
	environment  BLOB NOT NULL,
	record       BLOB NOT NULL,   -- Record.MarshalBinary, which leaves out mac and uses
	mac          BLOB,
	by_name      BLOB NOT NULL,
	by_created   BIGINT NOT NULL, -- microseconds since 1970
	by_expires   BIGINT NOT NULL,
	id           BLOB NOT NULL PRIMARY KEY,
	uses         BLOB NOT NULL,   -- in JSON
	by_last_used BIGINT NOT NULL
);
CREATE INDEX tokens_by_name ON tokens (environment, by_name, id);
CREATE INDEX tokens_by_created ON tokens (environment, by_created, id);
CREATE INDEX tokens_by_expires ON tokens (environment, by_expires, id);
CREATE INDEX tokens_by_last_used ON tokens (environment, by_last_used, id);`

// A Store keeps tokens in the table of Schema.
type Store struct{ DB *sql.DB }

// Create implements [apitoken.Store].
func (s Store) Create(ctx context.Context, rec apitoken.Record) error {
	values, err1 := columns(rec)
	uses, err2 := encodeUses(rec.Uses)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	err := s.change(ctx, `INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(values, []byte(rec.ID), uses, key(rec.Position(apitoken.ByLastUsed), apitoken.ByLastUsed))...)
	if err != nil { // engines differ in how they report that the ID exists
		if _, e := s.Get(ctx, rec.ID); e == nil {
			return apitoken.ErrExists
		}
	}
	return err
}

// Get implements [apitoken.Store].
func (s Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	rec, found := apitoken.Record{}, false
	err := s.each(ctx, func(r apitoken.Record) bool { rec, found = r, true; return true }, `id = ?`, []byte(id))
	if err == nil && !found {
		err = apitoken.ErrNotFound
	}
	return rec, err
}

// Replace implements [apitoken.Store].
func (s Store) Replace(ctx context.Context, rec apitoken.Record) error {
	values, err := columns(rec)
	if err != nil {
		return err
	}
	err = s.change(ctx, `UPDATE tokens SET version = ?, environment = ?, record = ?, mac = ?, by_name = ?, by_created = ?, by_expires = ?
		WHERE id = ? AND version = ?`, append(values, []byte(rec.ID), rec.Version-1)...)
	if err == apitoken.ErrNotFound {
		if _, err = s.Get(ctx, rec.ID); err == nil {
			err = apitoken.ErrConflict
		}
	}
	return err
}

// Delete implements [apitoken.Store].
func (s Store) Delete(ctx context.Context, id string) error {
	return s.change(ctx, `DELETE FROM tokens WHERE id = ?`, []byte(id))
}

// List implements [apitoken.Store].
func (s Store) List(ctx context.Context, q apitoken.Query) (page apitoken.Page, err error) {
	if !slices.Contains([]apitoken.Order{apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed}, q.Order) {
		return page, fmt.Errorf("ownstore: no order %.40q", q.Order)
	}
	where, args := `environment = ?`, []any{[]byte(q.Environment)}
	counted := s.each(ctx, func(rec apitoken.Record) (more bool) {
		if q.Match(&rec) {
			page.Count++
		}
		return page.Count <= 1000
	}, where, args...)
	page.Count, page.More = min(page.Count, 1000), page.Count > 1000
	column, after, direction := `by_`+string(q.Order), `>`, ``
	if q.Descending {
		after, direction = `<`, ` DESC`
	}
	if q.After != nil {
		where += ` AND (` + column + `, id) ` + after + ` (?, ?)`
		args = append(args, key(*q.After, q.Order), []byte(q.After.ID))
	}
	listed := s.each(ctx, func(rec apitoken.Record) (more bool) {
		switch {
		case !q.Match(&rec):
		case len(page.Records) < q.Limit:
			page.Records = append(page.Records, rec)
		default:
			page.Next = new(page.Records[q.Limit-1].Position(q.Order))
		}
		return page.Next == nil
	}, where+` ORDER BY `+column+direction+`, id`+direction, args...)
	return page, errors.Join(counted, listed)
}

// columns returns what Replace writes.
func columns(rec apitoken.Record) ([]any, error) {
	record, err := rec.MarshalBinary()
	return []any{rec.Version, []byte(rec.Environment), record, rec.MAC, key(rec.Position(apitoken.ByName), apitoken.ByName),
		key(rec.Position(apitoken.ByCreated), apitoken.ByCreated), key(rec.Position(apitoken.ByExpires), apitoken.ByExpires)}, err
}

// key returns the value of the column that an order goes by.
func key(p apitoken.Position, by apitoken.Order) any {
	switch {
	case by == apitoken.ByName:
		return []byte(p.Name)
	case by == apitoken.ByExpires && p.Time.IsZero():
		return int64(math.MaxInt64) // what never expires comes last
	}
	return p.Time.UnixMicro()
}

// change makes a change to one row, or returns ErrNotFound.
func (s Store) change(ctx context.Context, statement string, args ...any) error {
	res, err := s.DB.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return apitoken.ErrNotFound
}

// each calls f with the records of the rows, until it returns false.
func (s Store) each(ctx context.Context, f func(apitoken.Record) bool, where string, args ...any) error {
	rows, err := s.DB.QueryContext(ctx, `SELECT record, mac, uses FROM tokens WHERE `+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var rec apitoken.Record
		var record, uses []byte
		if err := rows.Scan(&record, &rec.MAC, &uses); err != nil {
			return err
		}
		if err := errors.Join(rec.UnmarshalBinary(record), json.Unmarshal(uses, &rec.Uses)); err != nil {
			return err
		}
		if !f(rec) {
			return nil
		}
	}
	return rows.Err()
}
