package mysql

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
)

var _ apitoken.Counter = (*Store)(nil)

// now is the time of the statement, in microseconds since 1970. It does not depend on the time zone of the session.
const now = `timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6))`

// sweepEvery is how often a Store removes sums that are over.
const sweepEvery = 10 * time.Minute

// Count implements [apitoken.Counter].
func (s *Store) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	if len(add) == 0 {
		return nil, wrap(ctx.Err())
	}
	var names, rows [][]any
	for _, name := range slices.Sorted(maps.Keys(add)) { // in the order of the names, so that nodes do not wait for each other
		names = append(names, []any{name})
		rows = append(rows, []any{name, int64((add[name] + time.Microsecond - 1) / time.Microsecond)})
	}
	var sums map[string]time.Duration
	err := s.change(ctx, func(c *sql.Conn) error {
		sums = make(map[string]time.Duration, len(add))
		// The first statement locks the rows. The second one begins when that is done, and so its time is right.
		if err := insert(ctx, c, `INSERT INTO apitoken_limits (name)`, names, ` ON DUPLICATE KEY UPDATE used = used`); err != nil {
			return err
		}
		err := insert(ctx, c, `INSERT INTO apitoken_limits (name, used)`, rows,
			` ON DUPLICATE KEY UPDATE used = VALUES(used) + greatest(0, used - greatest(0, `+now+` - at)), at = `+now)
		if err != nil {
			return err
		}
		found, err := c.QueryContext(ctx, `SELECT name, used FROM apitoken_limits WHERE name IN `+places(len(names)), slices.Concat(names...)...)
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			var name string
			var micros int64
			if err := found.Scan(&name, &micros); err != nil {
				return err
			}
			sums[name] = time.Duration(micros) * time.Microsecond
		}
		return found.Err()
	})
	if err != nil {
		return nil, wrap(err)
	}
	if last := s.swept.Load(); time.Since(time.Unix(0, last)) > sweepEvery && s.swept.CompareAndSwap(last, time.Now().UnixNano()) {
		// If it fails, a later one makes up for it.
		s.db.ExecContext(ctx, `DELETE FROM apitoken_limits WHERE at + used < `+now+` - 60000000 LIMIT 10000`)
	}
	return sums, nil
}
