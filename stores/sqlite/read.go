package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/apitoken-go/apitoken"
)

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := s.enter(ctx); err != nil {
		return apitoken.Record{}, err
	}
	defer s.leave()
	rec, err := scan(s.get.QueryRowContext(s.patient(ctx), id))
	if errors.Is(err, sql.ErrNoRows) {
		err = apitoken.ErrNotFound
	}
	return rec, wrap(err)
}

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	rows, err := s.readers.QueryContext(ctx,
		`SELECT `+selected+` FROM apitoken_tokens t WHERE t.id > ? ORDER BY t.id LIMIT ?`, after, limit)
	recs, err := all(rows, err)
	return recs, wrap(err)
}

// KeysInUse implements [apitoken.KeyLister].
func (s *Store) KeysInUse(ctx context.Context) (seals, secrets map[string]int, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer s.leave()
	rows, err := s.readers.QueryContext(ctx, `
		SELECT 0, seal_key, count(*) FROM apitoken_tokens WHERE seal_key <> '' GROUP BY seal_key
		UNION ALL SELECT 1, sealed_key, count(*) FROM apitoken_tokens WHERE sealed_key <> '' GROUP BY sealed_key
		UNION ALL SELECT 1, old_sealed_key, count(*) FROM apitoken_tokens WHERE old_sealed_key <> '' GROUP BY old_sealed_key`)
	if err != nil {
		return nil, nil, wrap(err)
	}
	defer rows.Close()
	seals, secrets = make(map[string]int), make(map[string]int)
	for rows.Next() {
		var which, n int
		var key string
		if err := rows.Scan(&which, &key, &n); err != nil {
			return nil, nil, wrap(err)
		}
		[]map[string]int{seals, secrets}[which][key] += n
	}
	return seals, secrets, wrap(rows.Err())
}

// all reads the records of rows, and closes them.
func all(rows *sql.Rows, err error) ([]apitoken.Record, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var recs []apitoken.Record
	for rows.Next() {
		rec, err := scan(rows)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, rows.Err()
}

// enter waits until there are fewer than maxReading reads; leave ends one.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	select {
	case s.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return wrap(ctx.Err())
	}
}

func (s *Store) leave() { <-s.reading }
