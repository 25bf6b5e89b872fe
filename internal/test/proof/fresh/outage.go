//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An outage is a time without the server, under load.
type outage struct {
	name       string
	begin, end func()
}

func outagesOf(t testing.TB, e *engine) []outage {
	return []outage{
		{"stopped (SIGSTOP), continued", e.stop, e.proceed},
		{"killed (kill -9), started again", e.kill, func() { e.restart(t) }},
	}
}

// A survival is what underOutage found.
type survival struct {
	verdict
	requests    int64
	unavailable int64         // requests refused with 503
	slowest     time.Duration // of them
	timeout     time.Duration // their deadline

	after, afterGood int64         // requests from 2 s after the server was back, and those with the right answer
	until            time.Duration // from when the server was back to the last 503
}

// quota returns the share of good answers after the outage.
func (s survival) quota() float64 { return float64(s.afterGood) / float64(max(s.after, 1)) }

// grace is how long after the return of the server answers may still be missing.
const grace = 2 * time.Second

// underOutage runs a load of requests, generations and deactivations through an
// outage that lasts d, and for d and grace after it.
func underOutage(t testing.TB, e *engine, o outage, maxStaleness, d time.Duration) survival {
	const timeout = time.Second / 2
	f := newFleet(t, e, e.addr, maxStaleness, timeout)
	f.awaitFeeds(t)
	f.mustGenerate(t, 100)
	s := survival{timeout: timeout}
	var unavailable, slowest, back, after, afterGood, last atomic.Int64
	done := make(chan struct{})
	over := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for ; !over(); time.Sleep(time.Millisecond) {
				began := f.now()
				returned := back.Load()
				status, took := f.request(rand.IntN(nodes), f.anyToken())
				late := returned > 0 && began > returned+int64(grace)
				if late {
					after.Add(1)
				}
				switch {
				case status == http.StatusServiceUnavailable:
					unavailable.Add(1)
					raise(&slowest, int64(took))
					raise(&last, began)
				case late: // whether it is right is for judge to say
					afterGood.Add(1)
				}
			}
		})
	}
	for n := range nodes {
		group.Go(func() {
			for ; !over(); time.Sleep(20 * time.Millisecond) {
				tok, err := f.generate(t.Context(), n)
				if err == nil && rand.IntN(2) == 0 {
					time.Sleep(10 * time.Millisecond)
					f.deactivate(t.Context(), (n+1)%nodes, tok)
				}
			}
		})
	}
	time.Sleep(d / 2)
	o.begin()
	time.Sleep(d)
	o.end()
	back.Store(f.now())
	time.Sleep(grace + d)
	close(done)
	group.Wait()

	s.requests, s.unavailable, s.slowest = f.requests.Load(), unavailable.Load(), time.Duration(slowest.Load())
	s.after, s.afterGood = after.Load(), afterGood.Load()
	s.until = max(0, time.Duration(last.Load()-back.Load()))
	// Before the nodes are asked they have to be well; how soon they are, is above.
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		well := 0
		for n := range nodes {
			if status, _ := f.request(n, f.tokens[0]); status != http.StatusServiceUnavailable {
				well++
			}
		}
		if well == nodes {
			break
		}
	}
	lost := f.settled(t.Context())
	s.verdict = f.judge()
	s.wrong = append(s.wrong, lost...)
	if s.unavailable == 0 {
		s.wrong = append(s.wrong, "nothing was refused: there was no outage")
	}
	return s
}

// inTime says what is wrong with the time that refusals took, where the machine
// is quiet enough to ask for that.
func (s survival) inTime() (wrong []string) {
	if slack := time.Second / 4; s.slowest > s.timeout+slack {
		wrong = append(wrong, fmt.Sprintf("a request was refused after %v; its deadline is %v", s.slowest, s.timeout))
	}
	if s.quota() < 0.999 {
		wrong = append(wrong, fmt.Sprintf("of %d answers from %v after the server was back, %d were good", s.after, grace, s.afterGood))
	}
	return wrong
}
