package sqlite

import (
	"context"
	"time"

	"github.com/apitoken-go/apitoken"
)

var _ apitoken.Counter = (*Store)(nil)

const (
	countQuery = `
	INSERT INTO apitoken_limits AS l (key, sum, at) VALUES (?, ?, ?)
	ON CONFLICT (key) DO UPDATE SET at = excluded.at, sum = excluded.sum + max(0, l.sum - max(0, excluded.at - l.at))
	RETURNING sum`

	sweepQuery = `DELETE FROM apitoken_limits WHERE at + sum < ?` // sums that are over
	sweepEvery = 10 * time.Minute
)

// prepareCounter makes the connection for Count ready. Its commits do not wait for the disk:
// what was counted last may be lost with the power, and nothing else.
func (s *Store) prepareCounter(ctx context.Context) (err error) {
	if s.counter.conn, err = s.writers.Conn(ctx); err == nil {
		_, err = s.counter.conn.ExecContext(ctx, `PRAGMA synchronous = NORMAL; PRAGMA checkpoint_fullfsync = ON; PRAGMA temp_store = MEMORY`)
	}
	return err
}

// Count implements [apitoken.Counter], for the processes that have the file open.
func (s *Store) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	sums := make(map[string]time.Duration, len(add))
	err := s.writeBy(ctx, &s.counter, func(ctx context.Context, w *writer) error {
		now := time.Now()
		for key, d := range add {
			var sum int64
			if err := w.row(ctx, countQuery, key, (d + time.Microsecond - 1).Microseconds(), now.UnixMicro()).Scan(&sum); err != nil {
				return err
			}
			sums[key] = time.Duration(sum) * time.Microsecond
		}
		if now.Sub(s.swept) < sweepEvery {
			return nil
		}
		s.swept = now
		_, err := w.exec(ctx, sweepQuery, now.Add(-time.Minute).UnixMicro())
		return err
	})
	if err != nil {
		return nil, err
	}
	return sums, nil
}
