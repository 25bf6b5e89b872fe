//go:build unix

package main

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/netfault"
)

// A fault is something that happens to the feeds of all nodes. The store itself
// stays in reach.
type fault struct {
	name string

	// between puts something between the feeds and the address of the server.
	between func(t testing.TB, addr string) (via string, begin, end func())

	lying *atomic.Bool // while the feeds report no change; nil if they never do
}

func network(name string, begin func(*netfault.Proxy)) fault {
	return fault{name: name, between: func(t testing.TB, addr string) (string, func(), func()) {
		p := netfault.New(t, addr)
		return p.Addr(), func() { begin(p) }, p.Heal
	}}
}

func hints(name string, what treatment) fault {
	return fault{name: name, between: func(t testing.TB, addr string) (string, func(), func()) {
		p := newHintProxy(t, addr)
		return p.addr(), func() { p.treat(what) }, func() { p.treat(pass) }
	}}
}

func lie(name string) fault {
	lying := new(atomic.Bool)
	return fault{name, func(_ testing.TB, addr string) (string, func(), func()) {
		return addr, func() { lying.Store(true) }, func() { lying.Store(false) }
	}, lying}
}

// A liar swallows the changes that a feed reports, and lets it say that all is well.
type liar struct {
	nodeStore
	lying *atomic.Bool
}

func (s liar) Watch(ctx context.Context, feed apitoken.Feed) error {
	return s.nodeStore.Watch(ctx, swallower{feed, s.lying})
}

type swallower struct {
	apitoken.Feed
	lying *atomic.Bool
}

func (f swallower) Changed(ids ...string) {
	if !f.lying.Load() {
		f.Feed.Changed(ids...)
	}
}

// faultsOf returns what can happen to the feed of an engine. Redis sends changes
// and answers on one connection, where TCP keeps their order.
func faultsOf(e *engine) []fault {
	faults := []fault{
		network("none", func(*netfault.Proxy) {}),
		network("cut: connections are reset", (*netfault.Proxy).Cut),
		network("frozen: half-open, no reset", (*netfault.Proxy).Freeze),
		network("delayed by 10 s", func(p *netfault.Proxy) { p.Delay(10 * time.Second) }),
		network("delayed by 0.3 s", func(p *netfault.Proxy) { p.Delay(300 * time.Millisecond) }),
		lie("reports no change, and looks healthy"),
	}
	if e.dsn != "" {
		faults = append(faults,
			hints("hints are sent twice, and again later", duplicate),
			hints("hints are reordered", reorder),
			hints("hints are lost", lose))
	}
	return faults
}

// lieAge is MaxCacheAge where the feeds lie, as a multiple of MaxStaleness.
const lieAge = 3

// A faulty feed is what underFault found.
type faulty struct {
	verdict
	requests int64
}

// underFault deactivates a token every pause for a time d, beginning with the
// fault, and asks all nodes about each token until well after MaxStaleness, or after
// MaxCacheAge where the feeds lie. Then the fault ends.
func underFault(t testing.TB, e *engine, x fault, maxStaleness, d, pause time.Duration) faulty {
	via, begin, end := x.between(t, e.addr)
	bound := maxStaleness
	if x.lying != nil {
		bound = lieAge * maxStaleness
	}
	f := newFleet(t, e, via, maxStaleness, 5*time.Second, func(c *apitoken.Config) {
		if x.lying != nil {
			c.MaxCacheAge, c.Store = bound, liar{c.Store.(nodeStore), x.lying}
		}
	})
	f.bound = bound
	f.awaitFeeds(t)
	f.mustGenerate(t, int(d/pause)+1)
	begin()
	var group sync.WaitGroup
	for i, tok := range f.tokens {
		group.Go(func() {
			time.Sleep(time.Duration(i) * pause)
			var fire sync.WaitGroup
			for n := range nodes {
				fire.Go(func() {
					f.hammer(n, tok, time.Millisecond, func(int) bool {
						acked := tok.acked.Load()
						return acked > 0 && f.now()-acked > int64(bound*3/2) || t.Context().Err() != nil
					})
				})
			}
			time.Sleep(10 * time.Millisecond) // until all have it in memory
			for f.deactivate(t.Context(), i%nodes, tok) != nil && t.Context().Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			fire.Wait()
		})
	}
	group.Wait()
	end()
	v := faulty{f.judge(), f.requests.Load()}
	v.wrong = append(v.wrong, f.settled(t.Context())...)
	return v
}
