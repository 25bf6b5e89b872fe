//go:build unix

package main

import (
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/netfault"
)

// A fault is something that happens to the feeds of all nodes. The store itself
// stays in reach.
type fault struct {
	name string

	// between puts something between the feeds and the address of the server.
	between func(t testing.TB, addr string) (via string, begin, end func())
}

func network(name string, begin func(*netfault.Proxy)) fault {
	return fault{name, func(t testing.TB, addr string) (string, func(), func()) {
		p := netfault.New(t, addr)
		return p.Addr(), func() { begin(p) }, p.Heal
	}}
}

func hints(name string, what treatment) fault {
	return fault{name, func(t testing.TB, addr string) (string, func(), func()) {
		p := newHintProxy(t, addr)
		return p.addr(), func() { p.treat(what) }, func() { p.treat(pass) }
	}}
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
	}
	if e.dsn != "" {
		faults = append(faults,
			hints("hints are sent twice, and again later", duplicate),
			hints("hints are reordered", reorder),
			hints("hints are lost", lose))
	}
	return faults
}

// A faulty feed is what underFault found.
type faulty struct {
	verdict
	requests int64
}

// underFault deactivates a token every pause for a time d, beginning with the
// fault, and asks all nodes about each token until well after MaxStaleness. Then the
// fault ends.
func underFault(t testing.TB, e *engine, x fault, maxStaleness, d, pause time.Duration) faulty {
	via, begin, end := x.between(t, e.addr)
	f := newFleet(t, e, via, maxStaleness, 5*time.Second)
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
						return acked > 0 && f.now()-acked > int64(maxStaleness*3/2) || t.Context().Err() != nil
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
