package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// An engine has a log of changes. As with a sequence of a database, a change
// gets its number before it is committed, and others may commit earlier.
type engine struct {
	*memory.Store
	watch     watcher
	logsUses  bool
	logsEdits bool
	deaf      bool // Get ignores its context

	mu      sync.Mutex
	numbers int
	running map[int]bool // numbers of transactions that are not committed
	log     []entry      // in the order in which they were committed
	watched bool         // for a watcher that wants to be alone

	state  string // of the connections: "", "cut" or "frozen"
	delay  time.Duration
	broken chan struct{} // closed when connections break
	thawed chan struct{} // closed when nothing is delayed any more
}

type entry struct {
	number int
	id     string
}

type watcher func(ctx context.Context, n *node, feed apitoken.Feed) error

func newEngine() *engine {
	return &engine{
		Store: memory.New(), watch: follow, logsEdits: true, running: make(map[int]bool),
		broken: make(chan struct{}), thawed: make(chan struct{}),
	}
}

// begin begins a transaction.
func (e *engine) begin() (number int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.numbers++
	e.running[e.numbers] = true
	return e.numbers
}

// commit commits one that changes a record, or none if id is empty.
func (e *engine) commit(number int, id string, f func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, number)
	if err := f(); err != nil || id == "" {
		return err
	}
	e.log = append(e.log, entry{number, id})
	return nil
}

func (e *engine) set(state string, delay time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if state == "cut" || e.state == "frozen" && state == "" {
		close(e.broken)
		e.broken = make(chan struct{})
	}
	if delay == 0 {
		close(e.thawed)
		e.thawed = make(chan struct{})
	}
	e.state, e.delay = state, delay
}

// nodes are those of a service on e.
func (e *engine) nodes() Nodes {
	handle := func(*testing.T) apitoken.Store {
		n := &node{engine: e}
		n.open, n.close = context.WithCancel(context.Background())
		return n
	}
	hold := func(id string) (commit func()) {
		number := e.begin()
		return func() { e.commit(number, id, func() error { return nil }) }
	}
	edit := func(_ *testing.T, id string) (commit func()) {
		if !e.logsEdits {
			id = ""
		}
		return hold(id)
	}
	return Nodes{
		Open: handle, Direct: handle,
		Cut: func() { e.set("cut", 0) }, Freeze: func() { e.set("frozen", 0) },
		Delay: func(d time.Duration) { e.set("", d) }, Heal: func() { e.set("", 0) },
		Hold:     func(*testing.T) (release func()) { return hold("") },
		Edit:     func(t *testing.T, id string) { edit(t, id)() },
		HoldEdit: edit,
	}
}

// A node is a handle of an engine. Only what its watcher asks, and Get, can be
// disturbed.
type node struct {
	*engine
	open  context.Context // until it is closed
	close context.CancelFunc
}

func (n *node) Get(ctx context.Context, id string) (rec apitoken.Record, err error) {
	asked := ctx
	if n.deaf {
		var cancel context.CancelFunc
		asked, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
	}
	if broken := n.ask(asked, func() { rec, err = n.Store.Get(ctx, id) }); broken != nil {
		return rec, broken
	}
	return rec, err
}

func (n *node) Close() error {
	n.close()
	return nil
}

func (n *node) change(id string, f func() error) error {
	number := n.begin()
	if number%3 == 0 {
		time.Sleep(time.Duration(number%7) * 100 * time.Microsecond)
	}
	return n.commit(number, id, f)
}

func (n *node) Create(ctx context.Context, rec apitoken.Record) error {
	return n.change(rec.ID, func() error { return n.Store.Create(ctx, rec) })
}

// CreateAll is there because that of the Store below would pass by the log.
func (n *node) CreateAll(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
	added := make([]bool, len(recs))
	for i, rec := range recs {
		err := n.Create(ctx, rec)
		if added[i] = err == nil; err != nil && !errors.Is(err, apitoken.ErrExists) {
			return nil, err
		}
	}
	return added, nil
}

func (n *node) Replace(ctx context.Context, rec apitoken.Record) error {
	return n.change(rec.ID, func() error { return n.Store.Replace(ctx, rec) })
}

func (n *node) Delete(ctx context.Context, id string) error {
	return n.change(id, func() error { return n.Store.Delete(ctx, id) })
}

func (n *node) Touch(ctx context.Context, uses []apitoken.Use) error {
	id := ""
	if n.logsUses {
		id = uses[0].ID
	}
	return n.change(id, func() error { return n.Store.Touch(ctx, uses) })
}

func (n *node) Watch(ctx context.Context, feed apitoken.Feed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.open, cancel)()
	return n.watch(ctx, n, feed)
}

// ask is a round trip to the engine, which does f.
func (n *node) ask(ctx context.Context, f func()) error {
	broken := errors.New("the connection is broken")
	n.mu.Lock()
	state, delay, breaks, thawed := n.state, n.delay, n.broken, n.thawed
	if state == "" {
		f()
	}
	n.mu.Unlock()
	switch {
	case state == "cut":
		return broken
	case state == "frozen":
		delay, thawed = time.Hour, nil
	case delay == 0:
		return ctx.Err()
	}
	select {
	case <-time.After(delay):
	case <-thawed:
	case <-breaks:
		return broken
	case <-ctx.Done():
	}
	return ctx.Err()
}

// follow is the watcher as it should be: it reads on in the order of commits.
var follow = reading(func(e *engine, from *int) (ids []string, all bool) {
	return e.since(from), true
})

// since returns the changes committed from a position on, and moves it on.
func (e *engine) since(from *int) (ids []string) {
	for _, entry := range e.log[*from:] {
		ids = append(ids, entry.id)
	}
	*from = len(e.log)
	return ids
}

// reading returns a watcher that reads from a position on by f. What f returns
// may not be all.
func reading(f func(e *engine, from *int) (ids []string, all bool)) watcher {
	return func(ctx context.Context, n *node, feed apitoken.Feed) error {
		var from int
		var ids []string
		var all bool
		read := func() { ids, all = f(n.engine, &from) }
		if err := n.ask(ctx, read); err != nil {
			return err
		}
		feed.Reset()
		for {
			now := time.Now()
			if err := n.ask(ctx, read); err != nil {
				return err
			}
			if len(ids) > 0 {
				feed.Changed(ids...)
			}
			if all {
				feed.CaughtUp(now)
			}
			select {
			case <-time.After(interval / 10):
			case <-ctx.Done():
			}
		}
	}
}

// A teller is a feed in which methods are replaced.
type teller struct {
	apitoken.Feed
	reset   func()
	changed func(...string)
	current func(time.Time)
}

func (t *teller) Reset()                { t.reset() }
func (t *teller) Changed(ids ...string) { t.changed(ids...) }
func (t *teller) CaughtUp(at time.Time) { t.current(at) }

// telling makes a watcher that says something else than it should.
func telling(f func(t *teller)) func(*engine) {
	return watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		t := &teller{feed, feed.Reset, feed.Changed, feed.CaughtUp}
		f(t)
		return follow(ctx, n, t)
	})
}

func saying(f func(feed apitoken.Feed, at time.Time)) func(*engine) {
	return telling(func(t *teller) { t.current = func(at time.Time) { f(t.Feed, at) } })
}

func naming(f func(ids []string) []string) func(*engine) {
	return telling(func(t *teller) { t.changed = func(ids ...string) { t.Feed.Changed(f(ids)...) } })
}

// watchedBy makes a watcher of its own.
func watchedBy(w watcher) func(*engine) { return func(e *engine) { e.watch = w } }

// A watchFault is a way to break a watcher, and the cases that must notice.
type watchFault struct {
	name   string
	breaks func(*engine)
	found  []string
}

var watchFaults = []watchFault{
	{"follows the numbers and reads nothing again", watchedBy(reading(func(e *engine, last *int) (ids []string, all bool) {
		after := *last
		for _, entry := range e.log {
			if entry.number > after {
				ids, *last = append(ids, entry.id), max(*last, entry.number)
			}
		}
		return ids, true
	})), []string{"WatchFollowsManyWriters", "WatchNoticesATransactionThatCommitsLate"}},
	{"stops while a transaction is open", watchedBy(reading(func(e *engine, from *int) (ids []string, all bool) {
		if len(e.running) > 0 {
			return nil, false
		}
		return e.since(from), true
	})), []string{"WatchDoesNotWaitForAnOpenTransaction", "WatchNoticesATransactionThatCommitsLate"}},
	{"leaves out what it has no room for", naming(func(ids []string) []string { return ids[:min(len(ids), 3)] }), []string{"WatchFollowsManyWriters"}},
	{"is current only after a second of nothing new", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		quiet := 0
		return reading(func(e *engine, from *int) (ids []string, all bool) {
			if ids = e.since(from); len(ids) > 0 {
				quiet = 0
			}
			quiet++
			return ids, quiet > 100 // of a hundredth of a second each; on a busy machine the writers may rest for some of them
		})(ctx, n, feed)
	}), []string{"WatchFollowsManyWriters"}},

	{"reads the clock after it has asked", saying(func(feed apitoken.Feed, _ time.Time) { feed.CaughtUp(time.Now()) }),
		[]string{"WatchIsNotEarly", "WatchIsNotEarlyWhenAnswersAreLate"}},
	{"reads the clock when the answer comes", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		var answered time.Time
		t := &teller{feed, feed.Reset, feed.Changed, func(at time.Time) { feed.CaughtUp(answered) }}
		late := reading(func(e *engine, from *int) (ids []string, all bool) {
			answered = time.Now().Add(e.delay)
			return e.since(from), true
		})
		return late(ctx, n, t)
	}), []string{"WatchIsNotEarlyWhenAnswersAreLate"}},
	{"is current first and says then of what", telling(func(t *teller) {
		t.changed = func(ids ...string) { t.Feed.CaughtUp(time.Now()); t.Feed.Changed(ids...) }
	}), []string{"WatchPassesOnEveryChange"}},
	{"lives in the future", saying(func(feed apitoken.Feed, at time.Time) { feed.CaughtUp(at.Add(time.Second)) }), []string{"WatchGoesOnWhenNothingHappens"}},
	{"lives in the past", saying(func(feed apitoken.Feed, at time.Time) { feed.CaughtUp(at.Add(-5 * interval)) }), []string{"WatchGoesOnWhenNothingHappens"}},
	{"has a time without a monotonic reading", saying(func(feed apitoken.Feed, at time.Time) { feed.CaughtUp(at.Round(0)) }), []string{"WatchGoesOnWhenNothingHappens"}},
	{"is never current", saying(func(apitoken.Feed, time.Time) {}), []string{"WatchGoesOnWhenNothingHappens", "WatchPassesOnEveryChange"}},
	{"is current now and then", telling(func(t *teller) {
		var last time.Time
		t.current = func(at time.Time) {
			if at.Sub(last) > 15*interval {
				last = at
				t.Feed.CaughtUp(at)
			}
		}
	}), []string{"WatchGoesOnWhenNothingHappens"}},

	{"says Reset before it listens", telling(func(t *teller) {
		t.Feed.Reset()
		t.reset = func() {}
	}), []string{"WatchBeginsWithReset"}},
	{"says no Reset", telling(func(t *teller) { t.reset = func() {} }), []string{"WatchBeginsWithReset"}},
	{"says Reset for every change", telling(func(t *teller) { t.changed = func(...string) { t.Feed.Reset() } }), []string{"WatchPassesOnEveryChange"}},
	{"says Reset every time", telling(func(t *teller) {
		t.current = func(at time.Time) { t.Feed.Reset(); t.Feed.CaughtUp(at) }
	}), []string{"WatchPassesOnEveryChange", "WatchGoesOnWhenNothingHappens", "WatchSaysNothingOfUses"}},
	{"folds IDs", naming(func(ids []string) []string {
		for i := range ids {
			ids[i] = strings.ToLower(ids[i])
		}
		return ids
	}), []string{"WatchPassesOnEveryChange"}},
	{"joins IDs by commas", naming(func(ids []string) []string { return strings.Split(strings.Join(ids, ","), ",") }), []string{"WatchPassesOnEveryChange"}},
	{"says an ID once", telling(func(t *teller) {
		said := make(map[string]bool)
		t.changed = func(ids ...string) {
			t.Feed.Changed(slices.DeleteFunc(ids, func(id string) bool { was := said[id]; said[id] = true; return was })...)
		}
	}), []string{"WatchPassesOnEveryChange"}},
	{"reports uses", func(e *engine) { e.logsUses = true }, []string{"WatchSaysNothingOfUses"}},
	{"does not see edits", func(e *engine) { e.logsEdits = false }, []string{"WatchNoticesEdits", "WatchNoticesATransactionThatCommitsLate"}},

	{"says what it wants at any time", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var wg sync.WaitGroup
		t := &teller{feed, func() {
			feed.Reset()
			now := time.Now()
			wg.Go(func() {
				for ctx.Err() == nil {
					feed.CaughtUp(now)
					time.Sleep(10 * time.Microsecond)
				}
			})
		}, feed.Changed, func(time.Time) {}}
		defer wg.Wait()
		return follow(ctx, n, t)
	}), []string{"WatchIsNotEarly"}},
	{"says more after it has returned", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		err := follow(ctx, n, feed)
		go feed.Reset()
		return err
	}), []string{"WatchEndsWithItsContext"}},
	{"ignores its context", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		return follow(n.open, n, feed)
	}), []string{"WatchEndsWithItsContext"}},
	{"ignores its context while it waits for an answer", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		whole, stop := context.WithCancel(n.open)
		defer stop()
		t := &teller{feed, feed.Reset, feed.Changed, func(at time.Time) {
			feed.CaughtUp(at)
			if ctx.Err() != nil {
				stop()
			}
		}}
		return follow(whole, n, t)
	}), []string{"WatchDoesNotGoOnWhileFrozen"}},
	{"waits in Get for a second", func(e *engine) { e.deaf = true }, []string{"GetEndsWithItsContextWhileFrozen"}},
	{"leaves a goroutine behind", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		go func() { <-n.open.Done() }()
		return follow(ctx, n, feed)
	}), []string{"WatchEndsWithItsContext"}},
	{"says no error when its context is done", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		follow(ctx, n, feed)
		return nil
	}), []string{"WatchEndsWithItsContext", "WatchEndsWhenTheStoreIsClosed", "WatchMissesNothingAcrossACut"}},
	{"goes on when it is closed", func(e *engine) {
		e.watch = func(_ context.Context, n *node, feed apitoken.Feed) error {
			return follow(context.Background(), n, feed)
		}
	}, []string{"WatchEndsWhenTheStoreIsClosed"}},
	{"serves one Watch", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		n.mu.Lock()
		second := n.watched
		n.watched = true
		n.mu.Unlock()
		if second {
			return errors.New("someone else is watching")
		}
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.watched = false
		}()
		return follow(ctx, n, feed)
	}), []string{"ManyMayWatchAtOnce"}},

	{"goes on by itself without a Reset", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		t := &teller{feed, sync.OnceFunc(feed.Reset), feed.Changed, feed.CaughtUp}
		for ctx.Err() == nil {
			follow(ctx, n, t)
			time.Sleep(interval / 10)
		}
		return ctx.Err()
	}), []string{"WatchMissesNothingAcrossACut", "WatchDoesNotGoOnWhileFrozen"}},
	{"takes silence for no news", watchedBy(func(ctx context.Context, n *node, feed apitoken.Feed) error {
		ctx, cancel := context.WithCancel(ctx)
		var mu sync.Mutex
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		t := &teller{feed, func() {
			feed.Reset()
			wg.Go(func() {
				for ctx.Err() == nil {
					time.Sleep(interval)
					mu.Lock()
					feed.CaughtUp(time.Now())
					mu.Unlock()
				}
			})
		}, func(ids ...string) {
			mu.Lock()
			defer mu.Unlock()
			feed.Changed(ids...)
		}, func(time.Time) {}}
		return follow(ctx, n, t)
	}), []string{"WatchDoesNotGoOnWhileFrozen"}},
}

func TestEveryFaultOfAWatcherIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel() // it waits most of the time
	for _, f := range watchFaults {
		for _, name := range f.found {
			t.Run(f.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				i := slices.IndexFunc(watchCases, func(c watchCase) bool { return c.name == name })
				if i < 0 {
					t.Fatalf("there is no case %s", name)
				}
				e := newEngine()
				f.breaks(e)
				if err := watchCases[i].try(t, e.nodes(), 3*time.Second); err == nil {
					t.Errorf("%s passes", name)
				} else {
					t.Log(err)
				}
			})
		}
	}
}

func TestEveryCaseOfRunWatchCanFail(t *testing.T) {
	found := map[string]bool{}
	for _, f := range watchFaults {
		for _, name := range f.found {
			found[name] = true
		}
	}
	for _, c := range watchCases {
		if !found[c.name] {
			t.Errorf("no fault makes %s fail", c.name)
		}
	}
}

func TestAGoodWatcherPasses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel() // it waits most of the time
	RunWatch(t, func(*testing.T) Nodes { return newEngine().nodes() })
}
