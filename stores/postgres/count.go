package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/apitoken-go/apitoken"
)

var _ apitoken.Counter = (*Store)(nil)

// countQuery adds to sums, in the order of their keys, so that nodes do not wait for each other.
const countQuery = `
	INSERT INTO apitoken_limits AS l (key, sum, at)
		SELECT n.key, n.sum, clock_timestamp() FROM unnest($1::text[], $2::text[]::bigint[]) n (key, sum) ORDER BY n.key
	ON CONFLICT (key) DO UPDATE SET at = clock_timestamp(), sum = excluded.sum
		+ greatest(0, l.sum - greatest(0, (extract(epoch FROM clock_timestamp() - l.at) * 1000000)::bigint))
	RETURNING key, sum`

// sweepQuery removes sums that are over. It takes no row that another node holds.
const sweepQuery = `
	DELETE FROM apitoken_limits WHERE key IN (
		SELECT key FROM apitoken_limits WHERE at + sum * interval '1 microsecond' < clock_timestamp() - interval '1 minute' FOR UPDATE SKIP LOCKED)`

// sweepEvery is how often a Store removes sums that are over.
const sweepEvery = 10 * time.Minute

// Count implements [apitoken.Counter]. A crash of the server loses all sums, because their
// table is unlogged.
func (s *Store) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	keys := slices.Sorted(maps.Keys(add))
	var micros []string
	for _, key := range keys {
		micros = append(micros, strconv.FormatInt(int64((add[key]+time.Microsecond-1)/time.Microsecond), 10))
	}
	sums := make(map[string]time.Duration, len(add))
	err := s.change(ctx, "", func(db querier) error {
		if len(keys) == 0 {
			return ctx.Err()
		}
		rows, err := db.query(ctx, countQuery, keys, micros)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			var sum int64
			if err := rows.Scan(&key, &sum); err != nil {
				return err
			}
			sums[key] = time.Duration(sum) * time.Microsecond
		}
		return rows.Err()
	})
	if err != nil {
		return nil, wrap(err)
	}
	if last := s.swept.Load(); time.Since(time.Unix(0, last)) > sweepEvery && s.swept.CompareAndSwap(last, time.Now().UnixNano()) {
		_, _ = s.exec(ctx, sweepQuery) // if it fails, a later one makes up for it
	}
	return sums, nil
}
