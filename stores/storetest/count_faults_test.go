package storetest

import (
	"context"
	"strings"
	"sync"
	"time"
)

// counted breaks Count: f gets the keys, and what Count is.
func counted(f func(count func(map[string]time.Duration) map[string]time.Duration, add map[string]time.Duration) map[string]time.Duration) func(*faulty) {
	return func(s *faulty) {
		s.count = func(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			return f(func(add map[string]time.Duration) map[string]time.Duration {
				sums, _ := s.Store.Count(ctx, add)
				return sums
			}, add), nil
		}
	}
}

// countFaults are about a Counter.
var countFaults = []fault{
	{"returns what was added", counted(func(_ func(map[string]time.Duration) map[string]time.Duration, add map[string]time.Duration) map[string]time.Duration {
		return add
	}), []string{"CountAddsUpByKey", "CountLosesNothingOfManyAtOnce"}},
	{"counts keys in lower case", counted(func(count func(map[string]time.Duration) map[string]time.Duration, add map[string]time.Duration) map[string]time.Duration {
		lower := make(map[string]time.Duration)
		for key, d := range add {
			lower[strings.ToLower(key)] += d
		}
		sums := count(lower)
		for key := range add {
			sums[key] = sums[strings.ToLower(key)]
		}
		return sums
	}), []string{"CountAddsUpByKey"}},
	{"leaves out keys to which nothing is added", counted(func(count func(map[string]time.Duration) map[string]time.Duration, add map[string]time.Duration) map[string]time.Duration {
		sums := count(add)
		for key, d := range add {
			if d == 0 {
				delete(sums, key)
			}
		}
		return sums
	}), []string{"CountAddsUpByKey"}},
	{"reads and writes apart", func(s *faulty) {
		var mu sync.Mutex
		sums := make(map[string]time.Duration)
		s.count = func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			found := make(map[string]time.Duration)
			mu.Lock()
			for key := range add {
				found[key] = sums[key]
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			for key, d := range add {
				found[key] += d
				sums[key] = found[key]
			}
			return found, nil
		}
	}, []string{"CountLosesNothingOfManyAtOnce"}},
	{"takes a minute away at once", counted(func(count func(map[string]time.Duration) map[string]time.Duration, add map[string]time.Duration) map[string]time.Duration {
		sums := count(add)
		for key := range sums {
			sums[key] = max(0, sums[key]-time.Minute)
		}
		return sums
	}), []string{"CountAddsUpByKey", "CountTakesAwayWhatHasPassed"}},
}
