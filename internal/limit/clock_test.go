package limit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/internal/limit"
)

// A jumpingCounter adds up as stores do, by a clock that can be set.
type jumpingCounter struct {
	mu     sync.Mutex
	offset time.Duration
	sums   map[string]time.Duration
	at     map[string]time.Time
}

func (c *jumpingCounter) Count(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Add(c.offset).Round(0) // without the monotonic clock
	sums := make(map[string]time.Duration)
	for key, d := range add {
		passed := time.Duration(0)
		if at, ok := c.at[key]; ok {
			passed = max(0, now.Sub(at))
		}
		sums[key] = max(0, c.sums[key]-passed) + d
		c.sums[key], c.at[key] = sums[key], now
	}
	return sums, nil
}

func (c *jumpingCounter) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

func TestAClockOfTheStoreThatJumpsNeitherLiftsLimitsNorRefusesEverything(t *testing.T) {
	for name, jump := range map[string]func(round int) time.Duration{
		"back":          func(int) time.Duration { return -time.Hour },
		"forward":       func(int) time.Duration { return time.Hour },
		"to and fro":    func(round int) time.Duration { return []time.Duration{time.Hour, -time.Hour}[round%2] },
		"a little back": func(int) time.Duration { return -100 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const nodes = 3
				const step = 10 * time.Millisecond
				c := newCluster(t, 1, limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, nodes)
				counter := &jumpingCounter{sums: make(map[string]time.Duration), at: make(map[string]time.Time)}
				c.counter = counter.Count
				var jumped, behind time.Duration // by how long at most what was admitted since a jump is behind the rate
				since, jumps := 0, 0.0
				for i := range 6000 { // a minute, with 5 times as many requests as the limit allows
					now := time.Since(c.start)
					if i > 1000 && i%500 == 0 { // every 5 s
						counter.jump(jump(i / 500))
						jumped, since, jumps = now, len(c.admitted), jumps+1
					}
					c.try(i % nodes)
					allowed := time.Duration(float64(len(c.admitted)-since) / c.rate() * float64(time.Second))
					behind = max(behind, now-jumped-allowed)
					time.Sleep(step)
				}
				t.Logf("%d admitted, %s behind the rate at most", len(c.admitted), behind)
				assert.LessOrEqual(t, behind, time.Second, "not all is refused")
				// After a jump forward each node has a burst, and what comes back until they have heard of each other.
				assert.LessOrEqual(t, float64(len(c.admitted)), c.rate()*time.Since(c.start).Seconds()+(1+jumps)*c.exchanging(nodes), "not without a limit")
				all := *c
				all.limit.Requests *= nodes
				over, _ := all.worst()
				assert.LessOrEqual(t, over, float64(nodes*c.limit.Burst), "each node keeps its own limit")
			})
		})
	}
}
