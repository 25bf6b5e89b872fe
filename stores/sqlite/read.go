package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// Cancelable makes the promise that [apitoken.Store] describes. A read that has begun is
// not interrupted: it takes no longer than its disk.
func (s *Store) Cancelable() {}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := s.enter(ctx); err != nil {
		return apitoken.Record{}, err
	}
	defer s.leave()
	rec, err := sqlkit.Scan(s.get.QueryRowContext(whole(ctx), id))
	if errors.Is(err, sql.ErrNoRows) {
		err = apitoken.ErrNotFound
	}
	return rec, wrap(err)
}

// whole returns the context of a read that takes no time: to watch a context costs more than the read.
func whole(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	rows, err := s.readers.QueryContext(ctx,
		`SELECT `+selected+` FROM apitoken_tokens t WHERE t.id > ? ORDER BY t.id LIMIT ?`, after, limit)
	recs, err := sqlkit.All(rows, err)
	return recs, wrap(err)
}

var keysQuery = sqlkit.KeysQuery("TRUE")

// KeysInUse implements [apitoken.Scanner]. It counts up to 1,000 of each kind, because a
// full count takes longer the more tokens there are, and a node calls it when it starts.
func (s *Store) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer s.leave()
	rows, err := s.readers.QueryContext(ctx, keysQuery)
	if err != nil {
		return nil, nil, wrap(err)
	}
	defer rows.Close()
	macs, secrets, err = sqlkit.Keys(rows)
	return macs, secrets, wrap(err)
}

// enter waits until there are fewer than maxReading reads; leave ends one. It refuses
// to read a file that was replaced.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	if err := s.file.checkForRead(); err != nil {
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
