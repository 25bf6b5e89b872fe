package memory

import (
	"context"
	"time"
)

// A sum is how far ahead of the clock a key was when something was added last.
type sum struct {
	ahead time.Duration
	at    time.Time
}

// left returns how far ahead a sum still is. A clock that was set back takes nothing away.
func (s sum) left(now time.Time) time.Duration {
	return max(0, s.ahead-max(0, now.Sub(s.at)))
}

// Count implements [apitoken.Counter].
func (s *Store) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.sums) > 2*s.swept+1000 { // remove ended ones, once there are twice as many as the last time
		busy := make(map[string]sum)
		for k, old := range s.sums {
			if old.left(now) > 0 {
				busy[k] = old
			}
		}
		s.sums, s.swept = busy, len(busy)
	}
	if s.sums == nil {
		s.sums = make(map[string]sum)
	}
	sums := make(map[string]time.Duration, len(add))
	for k, d := range add {
		sums[k] = s.sums[k].left(now) + d
		s.sums[k] = sum{sums[k], now}
	}
	return sums, nil
}
