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

	absent error // of a call that ended its goroutine
}

func newGate(what string, limit time.Duration, slots int) *gate {
	g := &gate{what: what, limit: limit, absent: errors.New("apitoken: " + what + " did not return")}
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
	err := wait.Err()
	if err == nil {
		_, err = g.enter(wait, nil)
	}
	if err != nil {
		return *new(T), err
	}
	done := make(chan result, 1)
	deadline, _ := wait.Deadline()
	go func() {
		var r result
		defer func() {
			g.leave()
			done <- r
		}()
		r.err = g.absent
		defer recovered(g.what, &r.err)
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		r.value, r.err = f(ctx)
		r.err = sound(r.err)
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.Done():
		return *new(T), g.late(true, wait.Err())
	}
}

// enter waits for a slot, also of reserve if there is one; leave of the gate that
// it returns gives it back.
func (g *gate) enter(ctx context.Context, reserve *gate) (*gate, error) {
	if g.slots == nil {
		return g, nil
	}
	select {
	case g.slots <- struct{}{}:
		return g, nil
	default:
	}
	var more chan struct{}
	if reserve != nil {
		more = reserve.slots
	}
	select {
	case g.slots <- struct{}{}:
		return g, nil
	case more <- struct{}{}:
		return reserve, nil
	case <-ctx.Done():
		return g, g.late(false, ctx.Err())
	}
}

func (g *gate) leave() {
	if g.slots != nil {
		<-g.slots
	}
}

// late returns the error of a call that was not answered in time, and may not even
// have got a slot.
func (g *gate) late(entered bool, err error) error {
	if !entered {
		return fmt.Errorf("apitoken: %d calls of %s are running: %w", cap(g.slots), g.what, err)
	}
	return fmt.Errorf("apitoken: no answer from %s: %w", g.what, err)
}

// recovered, when deferred, turns a panic of what is called into an error.
func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("apitoken: %s panicked: %v", what, p)
	}
}

// sound returns err, after it was asked what it will be asked later. It is an error
// of others: a nil pointer, for instance, panics when its methods are called. To be
// called where recovered is deferred.
func sound(err error) error {
	if err != nil {
		_ = err.Error()
		errors.Is(err, errNobody) // looks at all that err wraps
	}
	return err
}

var errNobody = errors.New("apitoken: nobody's error")

// lookup returns the entry of a token from the store, for a request that began at a
// moment and for one who is known or not. The error is ErrNotFound or a cause of
// ErrUnavailable.
func (a *Authority) lookup(ctx context.Context, hash uint64, id string, known bool, began time.Time) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.cache != nil {
		return a.fetch(ctx, hash, id, known, began)
	}
	f := newCall(instant{}, false)
	a.start(ctx, 0, id, f, began.Add(a.config.StoreTimeout))
	return a.await(ctx, f, a.config.StoreTimeout)
}

// start makes a call of the store, with a deadline. Of a store that may hang it is
// left to a goroutine: all that it costs besides, a stack and being waited for, is
// more than a store in memory takes to answer, and half of what one on disk does.
func (a *Authority) start(ctx context.Context, hash uint64, id string, f *call, deadline time.Time) {
	if a.cancelable {
		a.ask(ctx, hash, id, f, deadline)
		return
	}
	go a.ask(ctx, hash, id, f, deadline)
}

// errSlow says that the store took longer than what it answers may be old.
var errSlow = errors.New("apitoken: the store answers more slowly than Config.MaxStaleness allows")

// fetch reads a token from the store, in one call for all requests that ask for
// it at the same time. Who is known, by the secret of a token that is in memory,
// does not have to queue behind a flood of those who are not.
func (a *Authority) fetch(ctx context.Context, hash uint64, id string, known bool, now time.Time) (*entry, error) {
	c := a.cache
	end := now.Add(a.config.StoreTimeout)
	for range 2 {
		f, mine := c.join(hash, id, known, c.instant(now), a.config.StoreTimeout)
		if mine {
			a.start(ctx, hash, id, f, end)
		}
		e, err := a.await(ctx, f, end.Sub(now))
		if err != nil {
			return nil, err
		}
		// The feed does not count here: it may have reported a change of the
		// token after this request has joined.
		if now = a.now(); f.began.age(c.instant(now)) <= c.maxStaleness {
			return e, nil
		}
	}
	return nil, errSlow
}

// await returns what a call answers, or an error when the limit has passed or
// ctx ends.
func (a *Authority) await(ctx context.Context, f *call, limit time.Duration) (*entry, error) {
	select {
	case <-f.done:
		return f.e, f.err
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.e, f.err
	case <-timer.C:
		return nil, a.lookups.late(f.entered.Load(), context.DeadlineExceeded)
	case <-ctx.Done():
		return nil, a.lookups.late(f.entered.Load(), ctx.Err())
	}
}

// ask makes a call of the store. Its context is not that of the request which was
// the first to need it, and does not end with that.
func (a *Authority) ask(ctx context.Context, hash uint64, id string, f *call, deadline time.Time) {
	var reserve *gate
	if f.known {
		reserve = a.renewals
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	var e *entry
	g, err := a.lookups.enter(ctx, reserve)
	f.entered.Store(err == nil)
	defer func() {
		if f.entered.Load() {
			g.leave()
		}
		a.cache.finish(hash, id, f, e, err)
	}()
	if err == nil {
		err = g.absent
		defer recovered(g.what, &err)
		e, err = a.read(ctx, id, f.began)
	}
}

// read reads a token from the store, on the caller's goroutine.
func (a *Authority) read(ctx context.Context, id string, at instant) (*entry, error) {
	rec, err := a.store.Get(ctx, id)
	if err != nil {
		return nil, sound(err)
	}
	return a.entry(id, &rec, at)
}

// readRow is read for a Manager, which is told also of a record that is wrong.
func (a *Authority) readRow(ctx context.Context, id string) (*row, error) {
	rec, err := a.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := a.row(id, rec)
	if err != nil && rec.ID == id {
		return &row{wrong: err, rec: rec}, nil
	}
	return r, err
}

// storeCall runs f, which calls the store on behalf of a Manager.
func storeCall[T any](ctx context.Context, a *Authority, f func(context.Context) (T, error)) (T, error) {
	return through(ctx, a.lanes.others.store, f)
}

// storeWrite runs f, which changes a token in the store. When it returns, this
// node has forgotten what the token was, however the change ended: it may have
// been made although the answer was lost, or be made after we have given up.
func (a *Authority) storeWrite(ctx context.Context, g *gate, id string, f func(context.Context) error) error {
	defer a.cache.invalidate(id)
	_, err := through(ctx, g, func(ctx context.Context) (struct{}, error) {
		defer a.cache.invalidate(id)
		return struct{}{}, f(ctx)
	})
	return err
}
