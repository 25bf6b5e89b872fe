package limit_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A cluster is nodes that share a counter.
type cluster struct {
	t        *testing.T
	start    time.Time
	random   *rand.Rand
	counter  func(context.Context, map[string]time.Duration) (map[string]time.Duration, error)
	away     *atomic.Bool
	limit    limit.Limit
	nodes    []*limit.Limiter
	born     int
	admitted []time.Duration
}

func newCluster(t *testing.T, seed uint64, l limit.Limit, nodes int) *cluster {
	c := &cluster{t: t, start: time.Now(), random: rand.New(rand.NewPCG(seed, 2)), counter: memory.New().Count, away: new(atomic.Bool), limit: l}
	for range nodes {
		c.join()
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.Close()
		}
	})
	return c
}

type counterFunc func(context.Context, map[string]time.Duration) (map[string]time.Duration, error)

func (f counterFunc) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	return f(ctx, add)
}

var errAway = errors.New("the store is away")

func (c *cluster) join() {
	// The clock of a node begins anywhere.
	began := c.start.Add(-time.Duration(c.random.Int64N(int64(time.Hour))))
	c.born++
	random := rand.New(rand.NewPCG(c.random.Uint64(), 3))
	c.nodes = append(c.nodes, limit.New(func() time.Duration { return time.Since(began) }, counterFunc(func(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
		time.Sleep(time.Duration(random.Int64N(int64(limit.Interval / 16))))
		if c.away.Load() {
			return nil, errAway
		}
		sums, err := c.counter(ctx, add)
		time.Sleep(time.Duration(random.Int64N(int64(limit.Interval / 16))))
		return sums, err
	}), time.Minute))
}

// die ends a node without a word to the others.
func (c *cluster) die(i int) { c.nodes = slices.Delete(c.nodes, i, i+1) }

// try makes a request to a node.
func (c *cluster) try(i int) bool {
	ok := c.nodes[i].Admits(c.nodes[i].Now(), demand("one", c.limit))
	if ok {
		c.admitted = append(c.admitted, time.Since(c.start))
	}
	return ok
}

// worst returns by how many requests the fullest window is over rate·t, of all windows in
// which something was admitted, and how many windows there are.
func (c *cluster) worst() (over float64, windows int) {
	slices.SortFunc(c.admitted, cmp.Compare)
	every := c.limit.Per.Seconds() / float64(c.limit.Requests)
	var ahead float64 // of the fullest window that ends here
	for i, at := range c.admitted {
		if i > 0 {
			ahead = max(0, ahead-(at-c.admitted[i-1]).Seconds()/every)
		}
		ahead++
		over = max(over, ahead)
	}
	return over, len(c.admitted) * (len(c.admitted) + 1) / 2
}

func (c *cluster) rate() float64 { return float64(c.limit.Requests) / c.limit.Per.Seconds() }

// exchanging returns by how many requests a window may be over rate·t while n nodes
// exchange, and apart how many while they cannot in a window of length t.
func (c *cluster) exchanging(n int) float64 {
	b := float64(c.limit.Burst)
	return b + float64(n-1)*(b+c.rate()*limit.Interval.Seconds())
}

// crowd has requests come in crowds and pauses, to all nodes.
func (c *cluster) crowd(rounds int, between func(round int)) {
	for round := range rounds {
		if between != nil {
			between(round)
		}
		for range 1 + c.random.IntN(3*c.limit.Burst) {
			c.try(c.random.IntN(len(c.nodes)))
		}
		if c.random.IntN(30) == 0 { // until everything is back, to begin with full bursts everywhere
			time.Sleep(time.Duration(float64(c.born*c.limit.Burst) / c.rate() * float64(time.Second)))
			continue
		}
		time.Sleep(time.Duration(c.random.Int64N(int64(300 * time.Millisecond))))
	}
}

func TestNodesThatExchangeAdmitNoMoreThanTheBoundInAnyWindow(t *testing.T) {
	windows := 0
	for _, c := range []struct {
		name  string
		limit limit.Limit
		nodes int
	}{
		{"3 nodes", limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, 3},
		{"3 nodes, a small burst", limit.Limit{Requests: 50, Per: time.Second, Burst: 2}, 3},
		{"3 nodes, a large burst", limit.Limit{Requests: 2, Per: time.Second, Burst: 60}, 3},
		{"10 nodes", limit.Limit{Requests: 10, Per: time.Second, Burst: 5}, 10},
		{"2 nodes", limit.Limit{Requests: 100, Per: time.Second, Burst: 10}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newCluster(t, 1, c.limit, c.nodes)
				x.crowd(400, nil)
				over, n := x.worst()
				windows += n
				t.Logf("%.1f over rate·t at most, of %.1f that may be; a burst is %d; %d admitted", over, x.exchanging(c.nodes), c.limit.Burst, len(x.admitted))
				assert.LessOrEqual(t, over, x.exchanging(c.nodes))
				assert.Greater(t, over, float64(c.limit.Burst), "nodes that do not wait for each other admit more than one")
			})
		})
	}
	assert.Greater(t, windows, 1_000_000)
}

func TestNodesThatExchangeShareTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, 3)
		for range 600 { // a minute, with 5 times as many requests
			for range 10 {
				c.try(c.random.IntN(3))
			}
			time.Sleep(100 * time.Millisecond)
		}
		assert.InDelta(t, 60*20, len(c.admitted), c.exchanging(3), "in a minute")
		c.die(0)
		c.die(0)
		before := len(c.admitted)
		for range 600 {
			c.try(0)
			c.try(0)
			c.try(0)
			time.Sleep(100 * time.Millisecond)
		}
		assert.GreaterOrEqual(t, len(c.admitted)-before, 60*20-2*20, "the one that is left has it for itself")
	})
}

func TestNodesThatComeAndDieStayWithinTheBoundOfAllOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, 3)
		c.crowd(600, func(round int) {
			if round%100 == 99 { // right after a crowd, so that what it has admitted is lost
				c.join()
				c.die(0)
			}
		})
		over, n := c.worst()
		t.Logf("%.1f over rate·t at most, of %.1f that may be; %d windows", over, c.exchanging(c.born), n)
		assert.LessOrEqual(t, over, c.exchanging(c.born))
	})
}

func TestOneNodeIsExactAlsoWithACounter(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			l := limit.Limit{Requests: 20, Per: time.Second, Burst: 1 + int(seed)*10}
			c := newCluster(t, seed, l, 1)
			m := model{every: l.Per / time.Duration(l.Requests), burst: l.Burst}
			for i := range 3000 {
				c.away.Store(i%1000 > 800) // exact then, too, and when it is back
				want := m.allows(time.Since(c.start))
				require.Equal(t, want, c.try(0), "request %d", i)
				if want {
					m.admit(time.Since(c.start))
				}
				if i%200 > 150 {
					continue // many at one moment
				}
				time.Sleep(time.Duration(c.random.Int64N(int64(90 * time.Millisecond))))
			}
		})
	}
}

func TestACounterThatIsAwayLeavesEachNodeItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes = 3
		c := newCluster(t, 1, limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, nodes)
		c.crowd(50, nil)
		c.away.Store(true)
		c.admitted = nil
		began := time.Now()
		for range 600 {
			for i := range 3 * nodes {
				c.try(i % nodes)
			}
			time.Sleep(100 * time.Millisecond)
		}
		elapsed := time.Since(began).Seconds()
		assert.LessOrEqual(t, float64(len(c.admitted)), nodes*(20+20*elapsed), "not without a limit")
		assert.GreaterOrEqual(t, float64(len(c.admitted)), nodes*20*(elapsed-10), "nor refusing more than their own limits do, but for what they have heard before")

		c.away.Store(false)
		time.Sleep(limit.Interval)
		c.admitted = nil
		back := time.Now()
		for range 100 {
			for i := range nodes {
				c.try(i)
			}
			time.Sleep(100 * time.Millisecond)
		}
		over, _ := c.worst()
		assert.LessOrEqual(t, over, c.exchanging(nodes), "together again")
		owed := nodes * (20/c.rate() + limit.Interval.Seconds()) // what they have to make up for, at most
		assert.GreaterOrEqual(t, float64(len(c.admitted)), 20*(time.Since(back).Seconds()-owed), "and soon serve again")
	})
}

func TestACounterThatComesAndGoesNeverLeavesMoreThanTheLimitsOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes = 3
		c := newCluster(t, 1, limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, nodes)
		c.crowd(800, func(int) {
			if c.random.IntN(10) == 0 {
				c.away.Store(!c.away.Load())
			}
		})
		slices.Sort(c.admitted)
		// N·(burst + rate·t) in every window: over N times the rate, by N bursts at most.
		all := *c
		all.limit.Requests *= nodes
		over, n := all.worst()
		t.Logf("%.1f, %d windows", over, n)
		assert.LessOrEqual(t, over, float64(nodes*20))
	})
}

func TestACounterThatForgetsLeavesEachNodeItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes = 3
		c := newCluster(t, 1, limit.Limit{Requests: 20, Per: time.Second, Burst: 20}, nodes)
		c.counter = func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			return add, nil
		}
		c.crowd(300, nil)
		all := *c
		all.limit.Requests *= nodes
		over, _ := all.worst()
		assert.LessOrEqual(t, over, float64(nodes*20))
	})
}

func TestACounterThatFailsForAWhileIsAskedAgainWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		var calls atomic.Int32
		start := time.Now()
		l := limit.New(func() time.Duration { return time.Since(start) }, counterFunc(func(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			if calls.Add(1) < 3 {
				return nil, errAway
			}
			return store.Count(ctx, add)
		}), time.Minute)
		defer l.Close()
		many := limit.Limit{Requests: 1, Per: time.Second, Burst: 10}
		for range 5 {
			require.True(t, l.Admits(0, demand("one", many)))
		}
		time.Sleep(time.Second)
		assert.EqualValues(t, 3, calls.Load())
		sums, err := store.Count(t.Context(), map[string]time.Duration{"one": 0})
		require.NoError(t, err)
		assert.InDelta(t, 5-time.Since(start).Seconds(), sums["one"].Seconds(), 1)
		time.Sleep(time.Hour)
		assert.EqualValues(t, 3, calls.Load(), "there is nothing to exchange")
	})
}

func TestManyKeysAreExchangedInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sizes []int // of the batches since the last look
		var away atomic.Bool
		batches := func() []int {
			mu.Lock()
			defer mu.Unlock()
			defer func() { sizes = nil }()
			return sizes
		}
		start := time.Now()
		l := limit.New(func() time.Duration { return time.Since(start) }, counterFunc(func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, len(add))
			if away.Load() {
				return nil, errAway
			}
			return add, nil
		}), time.Minute)
		defer l.Close()
		use := func() {
			for i := range 1200 {
				l.Admits(l.Now(), demand(string(binary(i)), limit.Limit{Requests: 1, Per: time.Minute, Burst: 9}))
			}
		}
		use()
		time.Sleep(limit.Interval)
		assert.Equal(t, []int{500, 500, 200}, batches())
		away.Store(true)
		use()
		time.Sleep(300 * time.Millisecond)
		assert.Equal(t, []int{500}, batches(), "a counter that is away is not asked for each batch")
		away.Store(false)
		time.Sleep(300 * time.Millisecond)
		assert.Equal(t, []int{500, 500, 200}, batches())
	})
}

func TestAfterCloseNothingIsExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := limit.New(func() time.Duration { return 0 }, counterFunc(func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			calls++
			return add, nil
		}), time.Minute)
		many := limit.Limit{Requests: 1, Per: time.Minute, Burst: 9}
		require.True(t, l.Admits(0, demand("one", many)))
		l.Close()
		assert.Equal(t, 1, calls, "others still learn of what was admitted")
		require.True(t, l.Admits(0, demand("one", many)))
		l.Close()
		time.Sleep(time.Minute)
		assert.Equal(t, 1, calls)
	})
}
