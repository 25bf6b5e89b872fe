// Package bulkhead calls foreign code: stores and functions of the application, which may
// be slow, hang, panic, or return an error that panics. A Bulkhead bounds the wait of
// callers, the number of concurrent calls, and the number of calls of one holder.
package bulkhead

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Bulkhead protects the calls of one function or store.
type Bulkhead struct {
	what  string
	limit time.Duration
	slots chan struct{} // one for each call that runs; nil: any number

	mu     sync.Mutex
	shares map[string]*share // of the holders whose calls run or wait
	spare  []*share          // unused shares, so that a call allocates none

	absent error // of a call that ended its goroutine
}

// New returns a Bulkhead; error texts call the protected code what. Callers wait at most
// for limit. At most slots calls run at once, 0 means any number. One holder has at most a
// quarter of the slots, but at least two.
func New(what string, limit time.Duration, slots int) *Bulkhead {
	b := &Bulkhead{what: what, limit: limit, absent: errors.New("apitoken: " + what + " did not return")}
	if slots > 0 {
		b.slots, b.shares = make(chan struct{}, slots), make(map[string]*share)
	}
	return b
}

// Limit returns the longest wait of callers.
func (b *Bulkhead) Limit() time.Duration { return b.limit }

// Do is Call for a function that returns only an error.
func Do(ctx context.Context, b *Bulkhead, holder string, f func(context.Context) error) error {
	_, err := Call(ctx, b, holder, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// Call runs f on behalf of a holder, "" for nobody. It returns the results of f, or an
// error if f panics, the limit passes, or ctx ends.
//
// f runs on a separate goroutine. If it hangs, Call leaves it behind, and it keeps its slot
// until it returns. Its context has the deadline of the Bulkhead, but is not canceled with
// ctx: a client that leaves must not interrupt a write, or cost a database its connection.
func Call[T any](ctx context.Context, b *Bulkhead, holder string, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	wait, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	err := wait.Err()
	var slot Slot
	if err == nil {
		slot, err = b.Enter(wait, holder, nil)
	}
	if err != nil {
		return *new(T), err
	}
	done := make(chan result, 1)
	deadline, _ := wait.Deadline()
	go func() {
		var r result
		defer func() {
			slot.Leave()
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

// Run runs f on the caller's goroutine and sets err to the result of f, or to an error if f
// panics or ends its goroutine: in the latter case Run does not return, and only err shows
// it.
func (b *Bulkhead) Run(err *error, f func() error) {
	*err = b.absent
	defer Recover(b.what, err)
	*err = ForceError(f())
}

// Enter waits for a slot on behalf of a holder, and also for a slot of reserve if that is
// not nil. A holder has at most a quarter of the slots; calls of nobody, "", do not count.
// If the error is nil the caller must call Leave.
func (b *Bulkhead) Enter(ctx context.Context, holder string, reserve *Bulkhead) (Slot, error) {
	if b.slots == nil {
		return Slot{}, nil
	}
	slot := Slot{slots: b.slots}
	if holder != "" {
		slot.share = b.share(holder)
		select {
		case slot.share.slots <- struct{}{}:
		default: // only here is Done called, which allocates
			select {
			case slot.share.slots <- struct{}{}:
			case <-ctx.Done():
				slot.share.end()
				return Slot{}, b.Late(false, ctx.Err())
			}
		}
	}
	select {
	case b.slots <- struct{}{}:
		return slot, nil
	default:
	}
	var more chan struct{}
	if reserve != nil {
		more = reserve.slots
	}
	select {
	case b.slots <- struct{}{}:
		return slot, nil
	case more <- struct{}{}:
		slot.slots = more
		return slot, nil
	case <-ctx.Done():
		slot.share.leave()
		return Slot{}, b.Late(false, ctx.Err())
	}
}

// A Slot belongs to one call.
type Slot struct {
	slots chan struct{}
	share *share // nil if nobody holds it
}

// Leave returns a slot.
func (s *Slot) Leave() {
	if s.slots != nil {
		<-s.slots
		s.share.leave()
	}
}

// A share has the slots that one holder has. It lasts as long as the calls of the holder.
type share struct {
	b      *Bulkhead
	holder string
	slots  chan struct{}
	calls  int // that run or wait
}

// share returns the share of a holder, for one more call.
func (b *Bulkhead) share(holder string) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[holder]
	if s == nil {
		if n := len(b.spare); n > 0 {
			s, b.spare = b.spare[n-1], b.spare[:n-1]
		} else {
			s = &share{b: b, slots: make(chan struct{}, b.part())}
		}
		s.holder = holder
		b.shares[holder] = s
	}
	s.calls++
	return s
}

// part returns how many slots one holder may have: two at least, as one of their calls may
// hang.
func (b *Bulkhead) part() int { return max(2, cap(b.slots)/4) }

// leave ends a call that has a slot of the share.
func (s *share) leave() {
	if s != nil {
		<-s.slots
		s.end()
	}
}

// end ends a call.
func (s *share) end() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.calls--; s.calls == 0 {
		delete(s.b.shares, s.holder)
		if len(s.b.spare) < cap(s.b.slots) {
			s.b.spare = append(s.b.spare, s)
		}
	}
}

// Late returns the error of a call that was not answered in time, and that possibly never
// got a slot.
func (b *Bulkhead) Late(entered bool, err error) error {
	if !entered {
		return fmt.Errorf("apitoken: %d calls of %s are running, or %d of one owner or token: %w", cap(b.slots), b.what, b.part(), err)
	}
	return fmt.Errorf("apitoken: no answer from %s: %w", b.what, err)
}

// Recover, when deferred, turns a panic of the called code into an error.
func Recover(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("apitoken: %s panicked: %v", what, p)
	}
}

// ForceError returns err, after it called the methods that callers will call later: the err
// of a store may be a typed nil pointer, for instance, whose Error panics. Call ForceError
// where Recover is deferred, so that the panic happens there and not in the request.
func ForceError(err error) error {
	if err != nil {
		_ = err.Error()
		errors.Is(err, errNobody) // looks at all that err wraps
	}
	return err
}

var errNobody = errors.New("apitoken: nobody's error")
