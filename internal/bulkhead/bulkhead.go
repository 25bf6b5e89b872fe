// Package bulkhead calls what is not ours: stores and functions of the application,
// which may be slow, hang, panic, or return an error that panics. A Bulkhead bounds how
// long callers wait, and how many calls run at once.
package bulkhead

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Bulkhead stands before one function or store.
type Bulkhead struct {
	what  string
	limit time.Duration
	slots chan struct{} // one for each call that runs; nil: any number

	absent error // of a call that ended its goroutine
}

// New returns a Bulkhead before what error texts call by this name. Callers wait at
// most for the limit; as many calls run at once as there are slots, 0 for any number.
func New(what string, limit time.Duration, slots int) *Bulkhead {
	b := &Bulkhead{what: what, limit: limit, absent: errors.New("apitoken: " + what + " did not return")}
	if slots > 0 {
		b.slots = make(chan struct{}, slots)
	}
	return b
}

// Limit returns how long callers wait at most.
func (b *Bulkhead) Limit() time.Duration { return b.limit }

// Call runs f. It returns what f returns, or an error when f panics, the limit has
// passed, or ctx ends.
//
// f runs on a goroutine of its own, so that it is left behind if it hangs, and
// keeps its slot until it returns. Its context has the deadline of the Bulkhead, but
// is not canceled with ctx: a client that goes away must not break off a write,
// or cost a database its connection.
func Call[T any](ctx context.Context, b *Bulkhead, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	wait, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	err := wait.Err()
	if err == nil {
		_, err = b.Enter(wait, nil)
	}
	if err != nil {
		return *new(T), err
	}
	done := make(chan result, 1)
	deadline, _ := wait.Deadline()
	go func() {
		var r result
		defer func() {
			b.Leave()
			done <- r
		}()
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		b.Run(&r.err, func() (err error) {
			r.value, err = f(ctx)
			return err
		})
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.Done():
		return *new(T), b.Late(true, wait.Err())
	}
}

// Run runs f on the caller's goroutine and sets err to what f returns, or to an error
// if f panics or ends its goroutine: then nothing returns, and only err tells.
func (b *Bulkhead) Run(err *error, f func() error) {
	*err = b.absent
	defer Recover(b.what, err)
	*err = ForceError(f())
}

// Enter waits for a slot, also of reserve if that is not nil. Leave of the Bulkhead
// that it returns gives the slot back.
func (b *Bulkhead) Enter(ctx context.Context, reserve *Bulkhead) (*Bulkhead, error) {
	if b.slots == nil {
		return b, nil
	}
	select {
	case b.slots <- struct{}{}:
		return b, nil
	default:
	}
	var more chan struct{}
	if reserve != nil {
		more = reserve.slots
	}
	select {
	case b.slots <- struct{}{}:
		return b, nil
	case more <- struct{}{}:
		return reserve, nil
	case <-ctx.Done():
		return b, b.Late(false, ctx.Err())
	}
}

// Leave gives a slot back.
func (b *Bulkhead) Leave() {
	if b.slots != nil {
		<-b.slots
	}
}

// Late returns the error of a call that was not answered in time, and may not even
// have got a slot.
func (b *Bulkhead) Late(entered bool, err error) error {
	if !entered {
		return fmt.Errorf("apitoken: %d calls of %s are running: %w", cap(b.slots), b.what, err)
	}
	return fmt.Errorf("apitoken: no answer from %s: %w", b.what, err)
}

// Recover, when deferred, turns a panic of what is called into an error.
func Recover(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("apitoken: %s panicked: %v", what, p)
	}
}

// ForceError returns err, after calling the methods that callers will call later: the
// err of a store may be a typed nil pointer, for instance, whose Error panics. Call it
// where Recover is deferred, so that the panic happens there and not in the request.
func ForceError(err error) error {
	if err != nil {
		_ = err.Error()
		errors.Is(err, errNobody) // looks at all that err wraps
	}
	return err
}

var errNobody = errors.New("apitoken: nobody's error")
