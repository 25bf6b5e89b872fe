package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

// soon runs f, and returns what waits for what it returns, but not for long.
func (x *watchTrial) soon(what string, f func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(x.patience):
			x.failf("%s has not returned after %v", what, x.patience)
			return nil
		}
	}
}

// briefly makes a change from within a feed, but does not wait for long: a
// Watcher may have locked what the change waits for.
func (x *watchTrial) briefly(f func() error) {
	made := make(chan struct{})
	go func() {
		defer close(made)
		if err := f(); err != nil {
			x.fault("a change made while a feed was called: %w", err)
		}
	}()
	select {
	case <-made:
	case <-time.After(time.Second):
	}
}

// meanwhile makes a change while a transaction is open. An engine may have only
// one that writes; then the change has to wait and is given up, maybe a little early.
func (x *watchTrial) meanwhile(store apitoken.Store, i int) {
	ctx, cancel := context.WithTimeout(x.ctx, time.Second)
	defer cancel()
	rec := plain(fmt.Sprint("meanwhile ", i))
	err := x.make("Create", rec.ID, func() error { return store.Create(ctx, rec) })
	if !errors.Is(err, context.DeadlineExceeded) {
		x.ok(err, "a change while another transaction is open")
	}
}

// writers begins to write, with pauses, and returns what ends that.
func (x *watchTrial) writers(store apitoken.Store) (stop func()) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(x.ctx)
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := x.makeCreate(store, plain(fmt.Sprintf("written %d %d", w, i))); err != nil {
					x.fault("a change on a connection that is not disturbed: %w", err)
					return
				}
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// count returns how many goroutines are in a profile.
func count(stacks string) (n int) {
	for _, m := range regexp.MustCompile(`(?m)^(\d+) @`).FindAllStringSubmatch(stacks, -1) {
		i, _ := strconv.Atoi(m[1])
		n += i
	}
	return n
}
