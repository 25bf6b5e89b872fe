package apitoken

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A gate is where requests wait for something outside of the core: it bounds
// how long they wait and how many calls run at once.
type gate struct {
	what  string
	limit time.Duration
	slots chan struct{} // one for each call that runs; nil: any number
}

func newGate(what string, limit time.Duration, slots int) *gate {
	g := &gate{what: what, limit: limit}
	if slots > 0 {
		g.slots = make(chan struct{}, slots)
	}
	return g
}

// through runs f behind a gate. It returns what f returns, or an error when f
// panics, the limit has passed, or ctx ends.
//
// f runs on a goroutine of its own, so that it is left behind if it hangs, and
// keeps its slot until it returns. Its context has the deadline of the gate, but
// is not cancelled with ctx: a client that goes away must not break off a write,
// or cost a database its connection.
func through[T any](ctx context.Context, g *gate, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	wait, cancel := context.WithTimeout(ctx, g.limit)
	defer cancel()
	if err := wait.Err(); err != nil {
		return *new(T), err
	}
	if g.slots != nil {
		select {
		case g.slots <- struct{}{}:
		case <-wait.Done():
			return *new(T), fmt.Errorf("apitoken: %d calls of %s are running: %w", cap(g.slots), g.what, wait.Err())
		}
	}
	done := make(chan result, 1)
	deadline, _ := wait.Deadline()
	go func() {
		r := result{err: errors.New("apitoken: " + g.what + " did not return")} // but called runtime.Goexit
		defer func() {
			if g.slots != nil {
				<-g.slots
			}
			done <- r
		}()
		defer recovered(g.what, &r.err)
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		r.value, r.err = f(ctx)
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.Done():
		return *new(T), fmt.Errorf("apitoken: no answer from %s: %w", g.what, wait.Err())
	}
}

// recovered, when deferred, turns a panic of what is called into an error.
func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("apitoken: %s panicked: %v", what, p)
	}
}

// lookup reads a token for a request. The error is ErrNotFound or a cause of
// ErrUnavailable.
func (a *Authority) lookup(ctx context.Context, id string) (*entry, error) {
	return through(ctx, a.lookups, func(ctx context.Context) (*entry, error) { return a.read(ctx, id) })
}

// read reads a token from the store, on the caller's goroutine.
func (a *Authority) read(ctx context.Context, id string) (*entry, error) {
	rec, err := a.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return a.compile(id, rec)
}

// storeCall runs f, which calls the store on behalf of a Manager.
func storeCall[T any](ctx context.Context, a *Authority, f func(context.Context) (T, error)) (T, error) {
	return through(ctx, a.storeGate, f)
}
