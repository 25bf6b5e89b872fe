package apitoken

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
)

// A follower keeps the cache told of what a [Watcher] reports, from New to Close.
type follower struct {
	cache   *cache.Cache[entry]
	watcher Watcher
	observe func(context.Context, *Event) error
	now     func() time.Time

	stop context.CancelFunc
	done chan struct{} // closed when nothing of it runs any more
}

// Pauses before a feed is begun again: the first, and the longest.
const (
	feedPause    = 50 * time.Millisecond
	maxFeedPause = time.Second
)

func follow(w Watcher, c *cache.Cache[entry], observe func(context.Context, *Event) error, now func() time.Time) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{cache: c, watcher: w, observe: observe, now: now, stop: cancel, done: make(chan struct{})}
	go f.run(ctx)
	return f
}

// run watches until ctx is done. The observer is told when a feed was lost.
func (f *follower) run(ctx context.Context) {
	defer close(f.done)
	for pause := feedPause; ; pause = min(2*pause, maxFeedPause) {
		stood, err := f.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		_ = f.observe(ctx, &Event{Time: f.now(), Action: actionWatch, Reason: ErrUnavailable, Err: err})
		if stood {
			pause = feedPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// watch runs the Watcher once, and reports whether its feed ever stood.
func (f *follower) watch(ctx context.Context) (stood bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := &feed{cache: f.cache, now: f.now}
	returned := make(chan error, 1)
	go func() {
		err := errors.New("apitoken: the store's Watch did not return") // but called runtime.Goexit
		defer func() { returned <- err }()
		defer bulkhead.Recover("the store's Watch", &err)
		if err = bulkhead.ForceError(f.watcher.Watch(ctx, feed)); err == nil {
			err = errors.New("apitoken: the store's Watch returned without an error")
		}
	}()
	err = <-returned
	return feed.end(), fmt.Errorf("apitoken: the feed of changes was lost: %w", err)
}

// close ends the follower, and waits for its Watcher, but not for one that hangs.
func (f *follower) close(limit time.Duration) error {
	f.stop()
	select {
	case <-f.done:
		return nil
	case <-time.After(limit):
		return errors.New("apitoken: the store's Watch does not end")
	}
}

// A feed is the Feed of one call of Watch. What is said before the Reset that
// begins it, or after Watch has returned, does not count.
type feed struct {
	cache *cache.Cache[entry]
	now   func() time.Time

	mu    sync.Mutex
	stood bool
	ended bool
}

// Reset implements [Feed].
func (f *feed) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.cache.Reset()
		f.stood = true
	}
}

// Changed implements [Feed]. It counts at any time: forgetting is harmless.
func (f *feed) Changed(ids ...string) {
	for _, id := range ids {
		f.cache.Invalidate(id)
	}
}

// CaughtUp implements [Feed]. A moment that lies ahead, or cannot be compared on
// both clocks, would be good for too long.
func (f *feed) CaughtUp(t time.Time) {
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

// minInterval keeps a MaxStaleness that is hardly more than nothing from having
// Watchers ask without a pause. What is in memory may then run out in between.
const minInterval = 10 * time.Millisecond

// Interval implements [Feed].
func (f *feed) Interval() time.Duration { return max(f.cache.MaxStaleness/4, minInterval) }

func (f *feed) end() (stood bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return f.stood
}
