package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A listener is an [apitoken.Feed] that remembers what it was told. It calls
// Watch again when that returns, as an Authority does.
type listener struct {
	x     *watchTrial
	store apitoken.Watcher

	onReset, onChanged func() // called where they are not nil

	cancel  context.CancelFunc
	ended   chan struct{}
	calling atomic.Bool

	mu     sync.Mutex
	state  listening
	events []event
	last   time.Time // of CaughtUp
	resets int
	errs   []error // of Watch, while it should have gone on
}

// An event is a call of a method of the feed.
type event struct {
	at    time.Time
	ids   []string  // of Changed
	t     time.Time // of CaughtUp
	reset bool      // Reset
}

type listening int

const (
	notWatching listening = iota
	watching              // and no Reset yet
	following
)

// listen begins to listen to a store.
func (x *watchTrial) listen(store apitoken.Store) *listener {
	l := x.listener(store)
	l.start()
	return l
}

// listener returns a listener that has not begun.
func (x *watchTrial) listener(store apitoken.Store) *listener {
	return &listener{x: x, store: store.(apitoken.Watcher), ended: make(chan struct{})}
}

func (l *listener) start() {
	l.x.listeners = append(l.x.listeners, l)
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(l.x.ctx)
	go func() {
		defer close(l.ended)
		for {
			l.become(watching)
			err := l.store.Watch(ctx, l)
			l.become(notWatching)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				l.x.fault("Watch has returned without an error, though its context is not done")
			}
			l.mu.Lock()
			l.errs = append(l.errs, err)
			l.mu.Unlock()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}()
}

// stop ends the context of Watch, which has to return soon.
func (l *listener) stop() {
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(l.x.patience):
		l.x.failf("Watch has not returned %v after its context was done", l.x.patience)
	}
}

func (l *listener) stopped() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

func (l *listener) become(s listening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
}

// current returns the last t.
func (l *listener) current() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// heard returns how many events there were.
func (l *listener) heard() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// freshness counts the calls of CaughtUp with a new t, from an event on: those whose t
// was not too old, and the others.
func (l *listener) freshness(from int) (fresh, stale int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := time.Time{}
	for _, e := range l.events[from:] {
		switch {
		case !e.t.After(last):
		case e.at.Sub(e.t) < 4*interval:
			fresh++
		default:
			stale++
		}
		last = e.t
	}
	return fresh, stale
}

// undisturbed fails if there was more than the one Reset that there must be.
func (l *listener) undisturbed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.errs != nil {
		l.x.failf("nothing was disturbed, but Watch has returned %w", errors.Join(l.errs...))
	}
	if l.resets > 1 {
		l.x.failf("nothing was disturbed, but Reset was called %d times", l.resets)
	}
}

func (l *listener) Interval() time.Duration { return interval }

func (l *listener) Reset() {
	l.called("Reset", event{reset: true}, l.onReset)
}

func (l *listener) Changed(ids ...string) {
	l.called("Changed", event{ids: append([]string(nil), ids...)}, l.onChanged)
}

func (l *listener) CaughtUp(t time.Time) {
	switch ahead := time.Until(t); {
	case t == t.Round(0):
		l.x.fault("CaughtUp(%v): t has no monotonic reading", t)
	case ahead > 0:
		l.x.fault("CaughtUp(%v): t lies %v in the future", t, ahead)
	}
	l.called("CaughtUp", event{t: t}, nil)
}

func (l *listener) called(method string, e event, then func()) {
	if !l.calling.CompareAndSwap(false, true) {
		l.x.fault("%s is called while another method of the feed is", method)
		return
	}
	defer l.calling.Store(false)
	l.mu.Lock()
	e.at = time.Now()
	switch {
	case l.state == notWatching:
		l.x.fault("%s is called after Watch has returned", method)
	case e.reset:
		l.state = following
		l.resets++
	case l.state == watching:
		l.x.fault("%s is called before Reset", method)
	case !e.t.IsZero():
		l.last = e.t
	}
	l.events = append(l.events, e)
	l.mu.Unlock()
	if then != nil {
		then()
	}
}

// missed returns an error if there was a CaughtUp(t) before a change that was
// acknowledged before t had been passed on. Changes come in the order in which
// they were acknowledged.
func (l *listener) missed(changes []change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var reset time.Time
	passed := make(map[string]time.Time)
	for _, e := range l.events {
		switch {
		case e.reset:
			reset = e.at
		case !e.t.IsZero():
			for ; len(changes) > 0 && changes[0].acked.Before(e.t); changes = changes[1:] {
				c := changes[0]
				if passed[c.id].Before(c.start) && reset.Before(c.start) {
					return fmt.Errorf("%s of %q was acknowledged %v before t, but at CaughtUp(t) it had not been passed on",
						c.doing, c.id, e.t.Sub(c.acked))
				}
			}
		default:
			for _, id := range e.ids {
				passed[id] = e.at
			}
		}
	}
	return nil
}
