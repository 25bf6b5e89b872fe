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

	"github.com/apitoken-go/apitoken"
)

// Schema makes the table. A record is stored in its own encoding; the columns that lists are ordered
// by are copies. Texts are stored as bytes, because they must be compared byte by byte. MySQL wants
// VARBINARY(1024) for a BLOB in a key or an index, and LONGBLOB for the others.
const Schema = `
CREATE TABLE tokens (
	id          BLOB NOT NULL PRIMARY KEY,
	version     BIGINT NOT NULL,
	environment BLOB NOT NULL,
	record      BLOB NOT NULL, -- Record.MarshalBinary, which leaves out the next two
	mac         BLOB,
	uses        BLOB NOT NULL,   -- in JSON
	by_name     BLOB NOT NULL,
	by_created  BIGINT NOT NULL, -- microseconds since 1970
	by_expires  BIGINT NOT NULL,
	by_last_use BIGINT NOT NULL
);
CREATE INDEX tokens_by_name ON tokens (environment, by_name, id);
CREATE INDEX tokens_by_created ON tokens (environment, by_created, id);
CREATE INDEX tokens_by_expires ON tokens (environment, by_expires, id);
CREATE INDEX tokens_by_last_use ON tokens (environment, by_last_use, id);`

// columns are what lists are ordered by.
var columns = map[apitoken.Order]string{
	apitoken.ByName: "by_name", apitoken.ByCreated: "by_created", apitoken.ByExpires: "by_expires", apitoken.ByLastUsed: "by_last_use",
}

// A Store keeps tokens in the table of Schema.
type Store struct{ DB *sql.DB }

// Create implements [apitoken.Store].
func (s Store) Create(ctx context.Context, rec apitoken.Record) error {
	record, err1 := rec.MarshalBinary()
	uses, err2 := json.Marshal(rec.Uses)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	err := s.change(ctx, `INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		[]byte(rec.ID), rec.Version, []byte(rec.Environment), record, rec.MAC, uses,
		key(rec, apitoken.ByName), key(rec, apitoken.ByCreated), key(rec, apitoken.ByExpires), key(rec, apitoken.ByLastUsed))
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
	record, err := rec.MarshalBinary()
	if err != nil {
		return err
	}
	err = s.change(ctx, `UPDATE tokens SET version = ?, environment = ?, record = ?, mac = ?, by_name = ?, by_created = ?, by_expires = ? WHERE id = ? AND version = ?`,
		rec.Version, []byte(rec.Environment), record, rec.MAC,
		key(rec, apitoken.ByName), key(rec, apitoken.ByCreated), key(rec, apitoken.ByExpires), []byte(rec.ID), rec.Version-1)
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
	column, ok := columns[q.Order]
	if !ok {
		return page, fmt.Errorf("ownstore: no order %.40q", q.Order)
	}
	where, args := `environment = ?`, []any{[]byte(q.Environment)}
	err = s.each(ctx, func(rec apitoken.Record) (more bool) {
		if q.Match(&rec) {
			page.Count++
		}
		return page.Count <= 1000
	}, where, args...)
	if err != nil {
		return page, err
	}
	page.Count, page.More = min(page.Count, 1000), page.Count > 1000
	after, direction := `>`, ``
	if q.Descending {
		after, direction = `<`, ` DESC`
	}
	if q.After != nil {
		where += ` AND (` + column + `, id) ` + after + ` (?, ?)`
		args = append(args, value(*q.After, q.Order), []byte(q.After.ID))
	}
	err = s.each(ctx, func(rec apitoken.Record) (more bool) {
		switch {
		case !q.Match(&rec):
		case len(page.Records) < q.Limit:
			page.Records = append(page.Records, rec)
		default:
			page.Next = new(page.Records[q.Limit-1].Position(q.Order))
		}
		return page.Next == nil
	}, where+` ORDER BY `+column+direction+`, id`+direction, args...)
	return page, err
}

// key returns the value of a column that lists are ordered by.
func key(rec apitoken.Record, by apitoken.Order) any { return value(rec.Position(by), by) }

func value(p apitoken.Position, by apitoken.Order) any {
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
