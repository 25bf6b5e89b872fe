package memory

import (
	"context"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A watch is what a call of Watch has yet to pass on. Store.mu guards it.
type watch struct {
	ids  []string
	lost bool          // there were more
	wake chan struct{} // has room for one
}

// maxWaiting bounds how many changes wait to be passed on.
const maxWaiting = 10_000

// Watch implements [apitoken.Watcher]. If a feed is too slow, it gets a Reset instead of
// 10,000 changes.
func (s *Store) Watch(ctx context.Context, feed apitoken.Feed) error {
	w := &watch{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	if s.watches == nil {
		s.watches = make(map[*watch]struct{})
	}
	s.watches[w] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watches, w)
		s.mu.Unlock()
	}()

	feed.Reset()
	for ctx.Err() == nil {
		s.mu.Lock()
		now := time.Now() // what is acknowledged earlier is in w already
		ids, lost := w.ids, w.lost
		w.ids, w.lost = nil, false
		s.mu.Unlock()
		if lost {
			feed.Reset()
		}
		if len(ids) > 0 {
			feed.Changed(ids...)
		}
		feed.CaughtUp(now)
		select {
		case <-w.wake:
		case <-time.After(feed.Interval() / 2):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// changed tells everyone who watches. It is called with s.mu held.
func (s *Store) changed(id string) {
	for w := range s.watches {
		if len(w.ids) == maxWaiting {
			w.ids, w.lost = nil, true
		}
		w.ids = append(w.ids, id)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
