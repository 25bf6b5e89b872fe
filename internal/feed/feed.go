// Package feed passes the changes that a store reports to a cache.
package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
)

// A Follower passes the reports of a store to a cache, from Follow to Close.
type Follower[V, P any] struct {
	Cache *cache.Cache[V, P]
	Now   func() time.Time

	// Watch is called with one Feed after another, as each of them breaks.
	Watch func(context.Context, *Feed[V, P]) error

	// Lost is called when a Feed was lost, with the reason.
	Lost func(context.Context, error)

	stop context.CancelFunc
	done chan struct{} // closed when nothing of it runs any more
}

// Pauses before a feed is started again: the first, and the longest.
const (
	pause    = 50 * time.Millisecond
	maxPause = time.Second
)

// Follow starts the Follower.
func (f *Follower[V, P]) Follow() {
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	f.done = make(chan struct{})
	go f.run(ctx)
}

// run watches until ctx is done.
func (f *Follower[V, P]) run(ctx context.Context) {
	defer close(f.done)
	for wait := pause; ; wait = min(2*wait, maxPause) {
		stood, err := f.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		f.Lost(ctx, err)
		if stood {
			wait = pause
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// watch calls Watch once, and reports whether its feed ever stood.
func (f *Follower[V, P]) watch(ctx context.Context) (stood bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := &Feed[V, P]{cache: f.Cache, now: f.Now}
	returned := make(chan error, 1)
	go func() {
		err := errors.New("apitoken: the store's Watch did not return") // but called runtime.Goexit
		defer func() { returned <- err }()
		defer bulkhead.Recover("the store's Watch", &err)
		if err = bulkhead.ForceError(f.Watch(ctx, feed)); err == nil {
			err = errors.New("apitoken: the store's Watch returned without an error")
		}
	}()
	err = <-returned
	return feed.end(), fmt.Errorf("apitoken: the feed of changes was lost: %w", err)
}

// Close ends the Follower, and waits for its Watch, but at most for limit.
func (f *Follower[V, P]) Close(limit time.Duration) error {
	f.stop()
	select {
	case <-f.done:
		return nil
	case <-time.After(limit):
		return errors.New("apitoken: the store's Watch does not end")
	}
}

// A Feed receives the reports of one call of Watch. Reports before its first Reset, or
// after Watch has returned, do not count.
type Feed[V, P any] struct {
	cache *cache.Cache[V, P]
	now   func() time.Time

	mu    sync.Mutex
	stood bool
	ended bool
}

// Reset starts the feed, and marks all entries of the cache as stale.
func (f *Feed[V, P]) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.cache.Reset()
		f.stood = true
	}
}

// Changed reports changed records. It counts at any time: dropping an entry is harmless.
func (f *Feed[V, P]) Changed(ids ...string) {
	f.cache.Invalidate(ids...)
}

// CaughtUp reports that all changes up to t were reported. It ignores a moment that lies
// ahead, or cannot be compared on both clocks: entries would be valid for too long.
func (f *Feed[V, P]) CaughtUp(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.ended || !f.stood || t.After(now) || monotonic(now) && !monotonic(t) {
		return
	}
	f.cache.CaughtUp(f.cache.Instant(t))
}

// monotonic reports whether a time has a monotonic reading. (There is none in
// virtual time.)
func monotonic(t time.Time) bool { return t != t.Round(0) }

// minInterval bounds the polls of stores if MaxStaleness is tiny. Entries may then run out
// in between.
const minInterval = 10 * time.Millisecond

// Interval returns the longest time between two calls of CaughtUp.
func (f *Feed[V, P]) Interval() time.Duration { return max(f.cache.MaxStaleness/4, minInterval) }

func (f *Feed[V, P]) end() (stood bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return f.stood
}
