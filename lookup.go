package apitoken

import (
	"context"
	"errors"
	"fmt"
)

// lookup reads a token from the store and checks what came back. The error is
// ErrNotFound or a cause of ErrUnavailable.
//
// At most Config.MaxLookups store calls run at once, also if the store ignores
// its context and hangs.
func (a *Authority) lookup(ctx context.Context, id string) (*entry, error) {
	wait, cancel := context.WithTimeout(ctx, a.config.StoreTimeout)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
	case <-wait.Done():
		return nil, fmt.Errorf("apitoken: %d look-ups are running: %w", cap(a.slots), wait.Err())
	}
	return within(wait, func(ctx context.Context) (*entry, error) {
		defer func() { <-a.slots }()
		return a.read(ctx, id)
	})
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
	wait, cancel := context.WithTimeout(ctx, a.config.StoreTimeout)
	defer cancel()
	return within(wait, f)
}

// within runs f and returns what it returns, or an error when it panics or wait
// ends before it. f gets a context with the deadline of wait, but is not
// cancelled with it: a client that goes away must not break off a write, or
// cost a database its connection.
func within[T any](wait context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	deadline, _ := wait.Deadline()
	go func() {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(wait), deadline)
		defer cancel()
		r := result{err: errors.New("apitoken: the store did not return")} // runtime.Goexit
		defer func() { done <- r }()
		defer recovered("the store", &r.err)
		r.value, r.err = f(ctx)
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.Done():
		return *new(T), fmt.Errorf("apitoken: no answer from the store: %w", wait.Err())
	}
}

// recovered, when deferred, turns a panic of what is called into an error.
func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("apitoken: %s panicked: %v", what, p)
	}
}
