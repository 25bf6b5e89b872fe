package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// Nodes are the handles of a service with several nodes: handles of the same data, and a
// network between them that can fail. A function is nil if the store has nothing that it
// could do; cases that need it are skipped.
type Nodes struct {
	// Open returns a new handle, like that of another node. The functions below disturb its
	// connection. RunWatch closes it if it is an [io.Closer].
	Open func(t *testing.T) apitoken.Store

	// Direct returns a handle that these functions do not disturb. If Direct is nil, Open
	// returns one.
	Direct func(t *testing.T) apitoken.Store

	// Cut breaks the connections of all handles of Open and prevents new ones. After Freeze
	// returns, everything that is sent on them is lost without a sign; new connections
	// succeed, and hang. Delay makes answers arrive later. Heal ends all that; frozen
	// connections then break.
	Cut, Freeze func()
	Delay       func(time.Duration)
	Heal        func()

	// Hold begins a transaction that does not concern tokens, has written something and
	// stays open until release.
	Hold func(t *testing.T) (release func())

	// Edit changes the record with this ID without the store, as an operator does in the
	// engine's own shell. It is nil if by design nobody notices such an edit.
	Edit func(t *testing.T, id string)

	// HoldEdit is like Edit, in a transaction that has made the change when HoldEdit
	// returns, and stays open until commit.
	HoldEdit func(t *testing.T, id string) (commit func())
}

// RunWatch checks that stores implement [apitoken.Watcher]. It calls nodes once for each
// case; the stores must be empty then. Cleanups that nodes registers run after the handles
// are closed. nodes must not call t.Parallel.
//
// It takes most of a minute.
func RunWatch(t *testing.T, nodes func(t *testing.T) Nodes) {
	for _, c := range watchCases {
		left := leftBehind(func() {
			t.Run(c.name, func(t *testing.T) {
				n := nodes(t)
				if missing := c.missing(n); missing != "" {
					t.Skip("the store has no " + missing)
				}
				if err := c.try(t, n, time.Minute); err != nil {
					t.Error(err)
				}
			})
		})
		if left != "" {
			t.Errorf("%s: a closed store must leave no goroutine behind, but left\n%s", c.name, left)
		}
	}
}

// interval is the time between two calls of CaughtUp in the cases.
const interval = 100 * time.Millisecond

// A watchCase is a thing that a Watcher must do.
type watchCase struct {
	name  string
	must  string   // completes "a Watcher must ..."; shown when it does not
	needs []string // functions of Nodes
	run   func(x *watchTrial)
}

// missing returns the first of the functions that c needs and n has not.
func (c watchCase) missing(n Nodes) string {
	has := map[string]bool{
		"Cut": n.Cut != nil, "Freeze": n.Freeze != nil, "Delay": n.Delay != nil,
		"Hold": n.Hold != nil, "Edit": n.Edit != nil, "HoldEdit": n.HoldEdit != nil,
	}
	for _, f := range c.needs {
		if !has[f] {
			return f
		}
	}
	return ""
}

// try runs c. Everything that should happen soon must happen within patience.
func (c watchCase) try(t *testing.T, n Nodes, patience time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	x := &watchTrial{trial: &trial{nil, ctx}, t: t, nodes: n, patience: patience}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("a Watcher must %s: %w", c.must, p.err)
		default:
			panic(p)
		}
	}()
	defer x.end()
	x.Store = x.open()
	c.run(x)
	return nil
}

// A watchTrial is a watchCase that runs. Its methods end the case at the first
// thing that a Watcher must not do; but for make and fault, they are for the
// goroutine of the case alone.
type watchTrial struct {
	*trial   // on a handle of Open
	t        *testing.T
	nodes    Nodes
	patience time.Duration

	opened    []apitoken.Store
	listeners []*listener

	mu      sync.Mutex
	changes []change
	failed  error // the first that went wrong elsewhere
}

// A change is one that was acknowledged, and when.
type change struct {
	doing, id    string
	start, acked time.Time
}

func (x *watchTrial) open() apitoken.Store { return x.opens(x.nodes.Open) }

// direct returns a handle that is not disturbed.
func (x *watchTrial) direct() apitoken.Store {
	if x.nodes.Direct == nil {
		return x.open()
	}
	return x.opens(x.nodes.Direct)
}

func (x *watchTrial) opens(f func(*testing.T) apitoken.Store) apitoken.Store {
	store := f(x.t)
	x.opened = append(x.opened, store)
	if _, ok := store.(apitoken.Watcher); !ok {
		x.failf("the store, %T, is none", store)
	}
	return store
}

// heal ends what was disturbed.
func (x *watchTrial) heal() {
	if x.nodes.Heal != nil {
		x.nodes.Heal()
	}
}

// end ends all Watches, judges what they reported, and closes the handles.
func (x *watchTrial) end() {
	defer func() {
		for _, store := range x.opened {
			x.ok(closeStore(store), "closing a handle")
		}
	}()
	x.heal()
	for _, l := range x.listeners {
		l.stop()
	}
	x.judge()
}

// fault notes what went wrong in another goroutine.
func (x *watchTrial) fault(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed == nil {
		x.failed = fmt.Errorf(format, args...)
	}
}

// judge fails for a fault, and for a change that a feed was told too late of.
func (x *watchTrial) judge() {
	x.mu.Lock()
	failed, changes := x.failed, slices.Clone(x.changes)
	x.mu.Unlock()
	if failed != nil {
		panic(failure{failed})
	}
	slices.SortFunc(changes, func(a, b change) int { return a.acked.Compare(b.acked) })
	for _, l := range x.listeners {
		if err := l.missed(changes); err != nil {
			panic(failure{err})
		}
	}
}

// make makes a change, and keeps in mind when it was acknowledged, if it was.
func (x *watchTrial) make(doing, id string, f func() error) error {
	start := time.Now()
	err := f()
	acked := time.Now()
	if err != nil {
		return fmt.Errorf("%s of %q: %w", doing, id, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes = append(x.changes, change{doing, id, start, acked})
	return nil
}

func (x *watchTrial) makeCreate(store apitoken.Store, rec apitoken.Record) error {
	return x.make("Create", rec.ID, func() error { return store.Create(x.ctx, rec) })
}

func (x *watchTrial) makeReplace(store apitoken.Store, rec apitoken.Record) error {
	rec.Version++
	rec.Name = fmt.Sprint("version ", rec.Version)
	return x.make("Replace", rec.ID, func() error { return store.Replace(x.ctx, rec) })
}

func (x *watchTrial) makeDelete(store apitoken.Store, rec apitoken.Record) error {
	return x.make("Delete", rec.ID, func() error { return store.Delete(x.ctx, rec.ID) })
}

// caughtUp waits until all that happened up to now has been passed on to all
// feeds that listen, and judges.
func (x *watchTrial) caughtUp() {
	now := time.Now()
	for _, l := range x.listeners {
		x.until(func() bool { return l.stopped() || l.current().After(now) },
			"T passes a moment; %s", func() any {
				if l.current().IsZero() {
					return "there was no CaughtUp"
				}
				return fmt.Sprintf("last it was %v earlier", now.Sub(l.current()))
			})
	}
	x.judge()
}

// until waits for something that should happen soon.
func (x *watchTrial) until(f func() bool, what string, args ...func() any) {
	for begin := time.Now(); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begin) > x.patience {
			x.judge()
			var vals []any
			for _, a := range args {
				vals = append(vals, a())
			}
			x.failf("it takes more than %v until "+what, append([]any{x.patience}, vals...)...)
		}
	}
}
