//go:build unix

package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"
)

// pace is the pause between two requests of one who hammers.
const pace = 100 * time.Microsecond

// revokers is how many deactivations run at once.
const revokers = 2

// A revocation is what measureRevocations found.
type revocation struct {
	verdict
	calls times // of Deactivate
	bare  times // of the engine's own notification, in the same run
}

// measureRevocations deactivates n tokens, one node after the other, while all
// nodes are asked again and again.
func measureRevocations(t testing.TB, e *engine, n int, maxStaleness time.Duration) revocation {
	f := newFleet(t, e, e.addr, maxStaleness, 5*time.Second)
	f.awaitFeeds(t)
	f.mustGenerate(t, n)
	var ping func() (time.Duration, error)
	if e.bare != nil {
		ping = e.bare(t)
	}

	var r revocation
	var bareErr error
	done := make(chan struct{})
	var pings, group sync.WaitGroup
	pings.Go(func() {
		for ping != nil && bareErr == nil {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var d time.Duration
			if d, bareErr = ping(); bareErr == nil {
				r.bare = append(r.bare, d)
			}
		}
	})
	errs := make([]error, revokers)
	for w := range revokers {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += revokers {
				errs[w] = f.revokeUnderFire(t.Context(), f.tokens[i], i%nodes)
			}
		})
	}
	group.Wait()
	close(done)
	pings.Wait()
	if err := errors.Join(append(errs, bareErr)...); err != nil {
		t.Fatal(err)
	}
	// A node that has refused once goes on refusing.
	for _, tok := range f.tokens {
		for on := range nodes {
			f.request(on, tok)
		}
	}
	r.verdict = f.judge()
	for _, tok := range f.tokens {
		r.calls = append(r.calls, time.Duration(tok.acked.Load()-tok.called.Load()))
	}
	if len(r.other) != n*(nodes-1) {
		r.wrong = append(r.wrong, "a node has not refused a token at all")
	}
	return r
}

// revokeUnderFire deactivates a token on a node while all of them, which have it
// in memory, are asked about it until they refuse.
func (f *fleet) revokeUnderFire(ctx context.Context, tok *token, on int) error {
	for n := range nodes {
		if status, _ := f.request(n, tok); status != http.StatusOK {
			return errors.New("a good token was refused with " + http.StatusText(status))
		}
	}
	var fire sync.WaitGroup
	for n := range nodes {
		fire.Go(func() {
			f.hammer(n, tok, pace, func(status int) bool {
				acked := tok.acked.Load()
				return acked > 0 && (status != http.StatusOK || f.now()-acked > 5*int64(f.bound)) || ctx.Err() != nil
			})
		})
	}
	time.Sleep(time.Millisecond) // until they are at it
	for {
		err := f.deactivate(ctx, on, tok)
		if err == nil {
			fire.Wait()
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
}
