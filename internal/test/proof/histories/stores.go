package histories

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

// unwatched hides the companions of a store: no feed tells the node what changed.
type unwatched struct{ apitoken.Store }

// liar is a store whose Watch reports no change, and that all is well.
type liar struct{ apitoken.Store }

func (liar) Watch(ctx context.Context, feed apitoken.Feed) error {
	feed.Reset()
	for {
		feed.CaughtUp(time.Now())
		select {
		case <-time.After(feed.Interval()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// slow is a store whose answers are on their way for a while. That gives changes
// the time to come between.
type slow struct {
	apitoken.Store
	delay time.Duration // at most
}

func (s slow) Get(ctx context.Context, id string) (apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if rand.IntN(4) == 0 {
		time.Sleep(rand.N(s.delay))
	}
	return rec, err
}

// naive is a store with a cache as one writes it first, the control that has to be
// found wrong: what is not in the map is loaded and put there; a change takes it
// out. A load that is overtaken by a change puts the old record back.
type naive struct {
	apitoken.Store
	mu    sync.Mutex
	cache map[string]apitoken.Record
}

func (s *naive) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.mu.Lock()
	rec, ok := s.cache[id]
	s.mu.Unlock()
	if ok {
		return rec, nil
	}
	rec, err := s.Store.Get(ctx, id)
	if err == nil {
		s.mu.Lock()
		s.cache[id] = rec
		s.mu.Unlock()
	}
	return rec, err
}

// invalidating is the store of who changes tokens: it tells the naive cache.
type invalidating struct {
	apitoken.Store
	cache *naive
}

func (s invalidating) forget(id string) {
	s.cache.mu.Lock()
	delete(s.cache.cache, id)
	s.cache.mu.Unlock()
}

func (s invalidating) Replace(ctx context.Context, rec apitoken.Record) error {
	defer s.forget(rec.ID)
	return s.Store.Replace(ctx, rec)
}

func (s invalidating) Delete(ctx context.Context, id string) error {
	defer s.forget(id)
	return s.Store.Delete(ctx, id)
}

// faulty is a store that fails one call in so many: before it does anything, or
// after it did, or it hangs for longer than anybody waits, and does it then or
// has done it before.
type faulty struct {
	apitoken.Store
	one    int
	hang   time.Duration
	failed *atomic.Int64 // how many calls have failed
}

var errFault = errors.New("connection reset by peer")

func fault[T any](s faulty, f func() (T, error)) (T, error) {
	if rand.IntN(s.one) > 0 {
		return f()
	}
	s.failed.Add(1)
	switch rand.IntN(5) {
	case 0:
		return *new(T), errFault
	case 1:
		_, _ = f()
		return *new(T), errFault
	case 2:
		time.Sleep(s.hang)
		return f()
	case 3:
		v, err := f()
		time.Sleep(s.hang)
		return v, err
	}
	panic("fault")
}

func (s faulty) Get(ctx context.Context, id string) (apitoken.Record, error) {
	return fault(s, func() (apitoken.Record, error) { return s.Store.Get(context.WithoutCancel(ctx), id) })
}

func (s faulty) Create(ctx context.Context, rec apitoken.Record) error {
	_, err := fault(s, func() (struct{}, error) { return struct{}{}, s.Store.Create(context.WithoutCancel(ctx), rec) })
	return err
}

func (s faulty) Replace(ctx context.Context, rec apitoken.Record) error {
	_, err := fault(s, func() (struct{}, error) { return struct{}{}, s.Store.Replace(context.WithoutCancel(ctx), rec) })
	return err
}

func (s faulty) Delete(ctx context.Context, id string) error {
	_, err := fault(s, func() (struct{}, error) { return struct{}{}, s.Store.Delete(context.WithoutCancel(ctx), id) })
	return err
}
