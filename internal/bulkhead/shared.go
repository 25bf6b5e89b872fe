package bulkhead

import (
	"context"
	"sync"
	"sync/atomic"
)

// Shared makes calls that have the same answer for everyone with the same question. A
// caller with the question of a call that waits for a slot joins that call. Callers do not
// join a running call: it may have read outdated data.
type Shared[T any] struct {
	*Bulkhead
	waiting Waiting[sharedCall[T]]
}

type sharedCall[T any] struct {
	done    chan struct{} // closed when the others are set
	entered atomic.Bool   // it has a slot
	value   T
	err     error
}

// NewShared returns a Shared on a Bulkhead.
func NewShared[T any](b *Bulkhead) *Shared[T] { return &Shared[T]{Bulkhead: b} }

// Call runs f, or waits for the call of another caller with the same question for the same
// holder. The context of f has the values of one of the waiting callers, and the whole time
// of the Bulkhead from the start of f.
func (s *Shared[T]) Call(ctx context.Context, holder string, f func(context.Context) (T, error)) (T, error) {
	wait, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	entered := false
	for wait.Err() == nil {
		c, mine := s.waiting.Join(holder, func() *sharedCall[T] { return &sharedCall[T]{done: make(chan struct{})} })
		if mine {
			go s.run(context.WithoutCancel(ctx), holder, c, f)
		}
		select {
		case <-c.done:
			if c.entered.Load() {
				return c.value, c.err
			} // else the time of who was first is over
		case <-wait.Done():
			entered = c.entered.Load()
		}
	}
	return *new(T), s.Late(entered, wait.Err())
}

func (s *Shared[T]) run(ctx context.Context, holder string, c *sharedCall[T], f func(context.Context) (T, error)) {
	wait, cancel := context.WithTimeout(ctx, s.limit)
	slot, err := s.Enter(wait, holder, nil)
	cancel()
	s.waiting.Begin(holder)
	defer close(c.done)
	if err != nil {
		return
	}
	defer slot.Leave()
	c.entered.Store(true)
	ctx, cancel = context.WithTimeout(ctx, s.limit)
	defer cancel()
	s.Run(&c.err, func() (err error) {
		c.value, err = f(ctx)
		return err
	})
}

// Waiting has the calls that wait for a slot, by their questions. The zero Waiting is ready
// for use.
type Waiting[C any] struct {
	mu    sync.Mutex
	calls map[string]*C
}

// Join returns the waiting call of a key, or a new one, which the caller must make.
func (w *Waiting[C]) Join(key string, create func() *C) (c *C, mine bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.calls[key]; c != nil {
		return c, false
	}
	if w.calls == nil {
		w.calls = make(map[string]*C)
	}
	c = create()
	w.calls[key] = c
	return c, true
}

// Begin marks the call of a key as running, so that nobody joins it any more.
func (w *Waiting[C]) Begin(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.calls, key)
}

// EachGroup calls f for the groups of a list, n concurrently, and returns when all calls
// have returned. It skips items with the key "".
func EachGroup[T any](n int, list []T, key func(T) string, f func(key string, group []T)) {
	groups := make(map[string][]T)
	for _, x := range list {
		if k := key(x); k != "" {
			groups[k] = append(groups[k], x)
		}
	}
	slots := make(chan struct{}, n)
	var calls sync.WaitGroup
	for k, group := range groups {
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			f(k, group)
		})
	}
	calls.Wait()
}
