package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// onPrimary is true on a server that takes writes, and an error on a replica,
// which may not know of a change that was acknowledged. It is part of every
// statement that reads, as a pool, a pooler or a name can lead to another server
// at any time. As a subquery it is computed once, before the first row is looked
// for.
const onPrimary = `(SELECT (CASE WHEN pg_is_in_recovery() THEN '` + replica + `' ELSE 'true' END)::boolean AND ` + inUTF8 + `)`

const replica = "the server is a replica (in recovery)"

// inUTF8 is true in a session whose client_encoding is UTF8, and an error in others: the server would convert what it is
// sent, and so store or find other texts. It is part of every statement about tokens, as a hook of a pool,
// ALTER ROLE or any statement of the application may change it at any time.
const inUTF8 = `(SELECT (CASE current_setting('client_encoding') WHEN 'UTF8' THEN 'true' ELSE 'client_encoding is ' || current_setting('client_encoding') END)::boolean)`

var getQuery = `SELECT ` + selected + ` FROM apitoken_tokens t WHERE t.id = $1::text AND ` + onPrimary

// Cancelable makes the promise that [apitoken.Store] describes.
func (s *Store) Cancelable() {}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if !valid(id) {
		return apitoken.Record{}, wrap(apitoken.ErrNotFound)
	}
	recs, err := s.readRecords(ctx, getQuery, id)
	if err != nil {
		return apitoken.Record{}, wrap(err)
	}
	if len(recs) == 0 {
		return apitoken.Record{}, wrap(apitoken.ErrNotFound)
	}
	return recs[0], nil
}

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	if !valid(after) {
		return nil, errText
	}
	recs, err := s.readRecords(ctx, `SELECT `+selected+` FROM apitoken_tokens t
		WHERE t.id > $1::text AND `+onPrimary+` ORDER BY t.id LIMIT $2::int`, after, limit)
	return recs, wrap(err)
}

var keysQuery = sqlkit.KeysQuery(onPrimary)

// KeysInUse implements [apitoken.Scanner]. It counts up to 1,000 of each kind, because a
// full count takes longer the more tokens there are, and a node calls it when it starts.
func (s *Store) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	err = s.read(ctx, "", func(db querier) error {
		rows, err := db.query(ctx, keysQuery)
		if err != nil {
			return err
		}
		defer rows.Close()
		macs, secrets, err = sqlkit.Keys(rows)
		return err
	})
	return macs, secrets, wrap(err)
}

// readRecords returns the records that a query finds, on a connection of its own.
func (s *Store) readRecords(ctx context.Context, query string, args ...any) (recs []apitoken.Record, err error) {
	err = s.read(ctx, "", func(db querier) (err error) {
		recs, err = s.records(ctx, db, query, args...)
		return err
	})
	return recs, err
}

// records returns the records that a query finds.
func (s *Store) records(ctx context.Context, db querier, query string, args ...any) ([]apitoken.Record, error) {
	rows, err := db.query(ctx, query, append(s.inBinary, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var recs []apitoken.Record
	for rows.Next() {
		rec, err := scan(rows.RawValues())
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, rows.Err()
}

// inBinary returns what asks for rows in binary form: options in front of the
// arguments of a query. Two modes, for poolers, have text only; where they are the default,
// the mode is another one that poolers stand.
func inBinary(config *pgx.ConnConfig) []any {
	options := []any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}
	switch config.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		mode := pgx.QueryExecModeDescribeExec // takes one more round trip
		if config.DescriptionCacheCapacity > 0 {
			mode = pgx.QueryExecModeCacheDescribe
		}
		options = append(options, mode)
	}
	return slices.Clip(options) // it is appended to, from many goroutines
}
