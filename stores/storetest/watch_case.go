package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

var watchCases = []watchCase{{
	name: "WatchBeginsWithReset",
	must: "begin with Reset, and pass on every change from then on",
	run: func(x *watchTrial) {
		other := x.direct()
		var resets atomic.Int64
		for round := range 3 {
			x.create(plain(fmt.Sprint("before ", round)))
			l := x.listener(x.Store)
			l.onReset = func() {
				rec := plain(fmt.Sprint("made in Reset ", resets.Add(1)))
				x.briefly(func() error { return x.makeCreate(other, rec) })
			}
			l.start()
			x.until(func() bool { return !l.current().IsZero() }, "Watch has called CaughtUp")
			x.caughtUp()
			l.undisturbed()
			l.stop()
		}
	},
}, {
	name: "WatchPassesOnEveryChange",
	must: "pass on every Create, Replace and Delete made by any handle, whatever the ID",
	run: func(x *watchTrial) {
		stores := []apitoken.Store{x.Store, x.open(), x.direct()}
		var recs []apitoken.Record
		for _, id := range append(texts, strings.Repeat("long", 60)) {
			if !odd(id) {
				recs = append(recs, plain(id))
			}
		}
		for _, store := range stores {
			x.listen(store)
		}
		x.caughtUp()
		for i, rec := range recs {
			x.ok(x.makeCreate(stores[i%3], rec), "a change")
		}
		x.caughtUp()
		for i, rec := range recs {
			x.ok(x.makeReplace(stores[i%3], rec), "a change")
		}
		x.caughtUp()
		for i, rec := range recs {
			x.ok(x.makeDelete(stores[i%3], rec), "a change")
		}
		x.caughtUp()
		for i, store := range stores {
			if s, ok := store.(apitoken.BatchCreator); ok {
				var ids []string
				for n := range 230 {
					ids = append(ids, fmt.Sprintf("one of many %d %d", i, n))
				}
				x.ok(x.makeCreateAll(s, ids), "a change")
			}
		}
		x.caughtUp()
		for _, l := range x.listeners {
			l.undisturbed()
		}
	},
}, {
	name: "WatchIsNotEarly",
	must: "not claim what happened after it asked, also while it passes on what it was told",
	run: func(x *watchTrial) {
		other := x.direct()
		var n atomic.Int64
		l := x.listener(x.Store)
		l.onChanged = func() {
			if i := n.Add(1); i <= 30 {
				x.briefly(func() error { return x.makeCreate(other, plain(fmt.Sprint("made in Changed ", i))) })
			}
		}
		l.start()
		x.caughtUp()
		x.ok(x.makeCreate(other, plain("first")), "a change")
		x.until(func() bool { return n.Load() > 30 }, "Changed has been called again and again")
		x.caughtUp()
	},
}, {
	name: "WatchFollowsManyWriters",
	must: "miss nothing of what 16 writers do at once, in whatever order they commit, and go on meanwhile",
	run: func(x *watchTrial) {
		const writers = 16
		const each = 30
		stores := []apitoken.Store{x.Store, x.open(), x.open(), x.direct()}
		rec := func(w, i int) apitoken.Record { return plain(fmt.Sprintf("token %d %d", w, i)) }
		var old []apitoken.Record
		for w := range writers {
			for i := range each {
				if i%3 != 0 {
					old = append(old, rec(w, i))
				}
			}
		}
		x.create(old...)
		for _, store := range stores[:2] {
			x.listen(store)
		}
		x.caughtUp()

		begin := time.Now()
		goneOn := func() bool {
			for _, l := range x.listeners {
				if !l.current().After(begin) {
					return false
				}
			}
			return true
		}
		x.ok(together(writers, func(w int) error {
			store := stores[w%len(stores)]
			// What is not acknowledged, as an engine may be too busy, a feed need
			// not pass on.
			var failed []error
			for i := range each {
				change := []func(apitoken.Store, apitoken.Record) error{x.makeCreate, x.makeReplace, x.makeDelete}[i%3]
				if err := change(store, rec(w, i)); err != nil {
					failed = append(failed, err)
				}
			}
			if len(failed) > each/10 {
				return errors.Join(failed...)
			}
			for i := each; !goneOn(); i++ {
				if time.Since(begin) > x.patience {
					return fmt.Errorf("in %v of writing T has not passed the moment at which that began", x.patience)
				}
				x.makeCreate(store, rec(w, i))
				time.Sleep(time.Millisecond)
			}
			return nil
		}), "%d writers", writers)
		x.caughtUp()
	},
}, {
	name: "WatchGoesOnWhenNothingHappens",
	must: "call CaughtUp about every Interval",
	run: func(x *watchTrial) {
		const n = 10
		l := x.listen(x.Store)
		x.caughtUp()
		var fresh, stale int
		// The machine may be busy: it has five times as long, and again while there is patience.
		for begin := time.Now(); fresh < n/2 && time.Since(begin) < x.patience; {
			from, since := l.heard(), time.Now()
			for time.Sleep(n * interval); ; time.Sleep(interval / 10) {
				fresh, stale = l.freshness(from)
				if fresh >= n/2 || time.Since(since) > 5*n*interval {
					break
				}
			}
		}
		if fresh < n/2 {
			x.failf("in %d intervals of %v, CaughtUp was called %d times with a new t that was not too old, and %d times with one that was",
				5*n, interval, fresh, stale)
		}
		l.undisturbed()
	},
}, {
	name: "ManyMayWatchAtOnce",
	must: "serve several Watches of a store, of which each begins and ends by itself",
	run: func(x *watchTrial) {
		n := 0
		change := func() {
			n++
			x.ok(x.makeCreate(x.Store, plain(fmt.Sprint("token ", n))), "a change")
		}
		for range 4 {
			x.listen(x.Store)
			x.caughtUp()
			change()
			x.caughtUp()
		}
		for _, l := range x.listeners {
			l.undisturbed()
			change()
			l.stop()
			change()
			x.caughtUp()
		}
	},
}, {
	name: "WatchSaysNothingOfUses",
	must: "pass on nothing when Touch stores when tokens were used",
	run: func(x *watchTrial) {
		toucher, ok := x.Store.(apitoken.Toucher)
		if !ok {
			return
		}
		rec := plain("token")
		x.create(rec)
		x.create(plain("later"))
		l := x.listen(x.open())
		x.caughtUp()
		from := l.heard()
		for i := range 5 {
			x.ok(toucher.Touch(x.ctx, []apitoken.Use{use(rec, 0, apitoken.Scheme("apiToken"), noon.Add(time.Duration(i)*time.Hour))}), "Touch")
			x.caughtUp()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range l.events[from:] {
			// Who says twice that it was created says the same of the later one.
			if e.reset || slices.Contains(e.ids, rec.ID) && !slices.Contains(e.ids, "later") {
				x.failf("after Touch, Reset (%v) or Changed(%q) was called", e.reset, e.ids)
			}
		}
	},
}, {
	name: "WatchEndsWithItsContext",
	must: "return soon after its context is done, and leave no goroutine behind",
	run: func(x *watchTrial) {
		done, cancel := context.WithCancel(x.ctx)
		cancel()
		l := x.listener(x.Store)
		l.become(watching)
		if x.soon("Watch with a context that is done", func() error { return l.store.Watch(done, l) })() == nil {
			x.failf("Watch with a context that is done reports no error")
		}
		const n = 20
		left := leftBehind(func() {
			for range n {
				l := x.listen(x.Store)
				x.caughtUp()
				l.stop()
			}
		})
		// A store may have opened connections, which stay.
		if count(left) >= n/2 {
			x.failf("after %d Watches there are these goroutines:\n%s", n, left)
		}
	},
}, {
	name: "WatchEndsWhenTheStoreIsClosed",
	must: "return an error when its store is closed, which does not wait for its context",
	run: func(x *watchTrial) {
		store := x.nodes.Open(x.t)
		closer, ok := store.(io.Closer)
		if !ok {
			return
		}
		l := x.listener(store)
		l.become(watching)
		watched := x.soon("Watch of a store that is closed", func() error { return l.store.Watch(x.ctx, l) })
		x.until(func() bool { return !l.current().IsZero() }, "Watch has called CaughtUp")
		x.ok(x.soon("Close", closer.Close)(), "Close while Watch runs")
		if watched() == nil {
			x.failf("Watch of a store that is closed reports no error")
		}
	},
}, {
	name:  "WatchMissesNothingAcrossACut",
	must:  "cover by a Reset what happened while its connection was cut",
	needs: []string{"Cut"},
	run: func(x *watchTrial) {
		direct := x.direct()
		x.listen(x.Store)
		x.listen(x.open())
		stop := x.writers(direct)
		defer stop()
		for round := range 4 {
			recs := []apitoken.Record{plain(fmt.Sprint("a", round)), plain(fmt.Sprint("b", round)), plain(fmt.Sprint("c", round))}
			x.ok(x.makeCreate(direct, recs[0]), "a change")
			x.ok(x.makeCreate(direct, recs[1]), "a change")
			x.caughtUp()
			x.nodes.Cut()
			x.ok(x.makeReplace(direct, recs[0]), "a change")
			time.Sleep(time.Duration(round) * interval)
			x.ok(x.makeDelete(direct, recs[1]), "a change")
			x.heal()
			x.ok(x.makeCreate(direct, recs[2]), "a change")
			x.caughtUp()
		}
		for range 10 {
			x.nodes.Cut()
			x.heal()
			time.Sleep(interval / 4) // in the middle of whatever follows
		}
		stop()
		x.caughtUp()
	},
}, {
	name:  "WatchDoesNotGoOnWhileFrozen",
	must:  "claim nothing while all that is sent is lost, and miss nothing when it goes on",
	needs: []string{"Freeze"},
	run: func(x *watchTrial) {
		direct := x.direct()
		x.listen(x.Store)
		x.listen(x.open())
		fresh := x.open()
		for round := range 3 {
			x.caughtUp()
			x.nodes.Freeze()
			since := time.Now()
			x.ok(x.makeCreate(direct, plain(fmt.Sprint("token ", round))), "a change")
			if round == 1 {
				x.listen(fresh) // to which nothing answers from the start
			}
			time.Sleep(10 * interval)
			for _, l := range x.listeners {
				if t := l.current(); t.After(since) {
					x.failf("T is %v later than when everything was frozen", t.Sub(since))
				}
			}
			x.heal()
		}
		x.caughtUp()
		x.nodes.Freeze()
		time.Sleep(2 * interval)
		for _, l := range x.listeners {
			l.stop()
		}
	},
}, {
	name:  "GetEndsWithItsContextWhileFrozen",
	must:  "return from Get soon after its context has ended, also while it is not answered, if it has a method Cancelable",
	needs: []string{"Cut", "Freeze"},
	run: func(x *watchTrial) {
		if _, promised := x.Store.(interface{ Cancelable() }); !promised {
			x.t.Skip("the store has no method Cancelable")
		}
		x.create(plain("token"))
		x.has(plain("token"))
		x.nodes.Freeze()
		const patience = 300 * time.Millisecond
		var slowest atomic.Int64
		for round := range 6 {
			if round == 2 { // connections have to be made, and hang
				x.nodes.Cut()
				x.nodes.Freeze()
			}
			var wg sync.WaitGroup
			for i := range 25 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
					ctx, cancel := context.WithTimeout(x.ctx, patience)
					defer cancel()
					began := time.Now()
					if _, err := x.Get(ctx, "token"); err == nil || errors.Is(err, apitoken.ErrNotFound) {
						x.fault("Get through a frozen network reports %v", err)
					}
					for took := int64(time.Since(began)); ; {
						if most := slowest.Load(); took <= most || slowest.CompareAndSwap(most, took) {
							break
						}
					}
				})
			}
			wg.Wait()
		}
		if late := time.Duration(slowest.Load()) - patience; late > x.patience/6 {
			x.failf("Get returned %v after its context had ended", late)
		}
		x.heal()
	},
}, {
	name:  "WatchIsNotEarlyWhenAnswersAreLate",
	must:  "claim only what had happened when it asked, though the answer comes seconds later",
	needs: []string{"Delay"},
	run: func(x *watchTrial) {
		const delay = 2 * time.Second
		direct := x.direct()
		fresh := []apitoken.Store{x.open(), x.open()}
		x.listen(x.Store)
		x.caughtUp()
		stop := x.writers(direct)
		defer stop()
		for _, store := range fresh {
			x.nodes.Delay(delay)
			x.listen(store) // which is answered late from the start
			time.Sleep(2 * delay)
			x.judge()
			x.heal()
			x.caughtUp()
		}
		stop()
		x.caughtUp()
	},
}, {
	name:  "WatchDoesNotWaitForAnOpenTransaction",
	must:  "go on while an unrelated transaction has written and stays open",
	needs: []string{"Hold"},
	run: func(x *watchTrial) {
		direct, fresh := x.direct(), x.open()
		x.listen(x.Store)
		x.caughtUp()
		release := sync.OnceFunc(x.nodes.Hold(x.t))
		defer release()
		x.listen(fresh)
		x.meanwhile(direct, 0)
		x.caughtUp()
		time.Sleep(holding)
		x.meanwhile(direct, 1)
		x.caughtUp()
		release()
		x.caughtUp()
		x.ok(x.makeCreate(direct, plain("after")), "a change")
		x.caughtUp()
		x.listeners[0].undisturbed()
	},
}, {
	name:  "WatchNoticesEdits",
	must:  "notice a change that was made in the engine's own shell",
	needs: []string{"Edit"},
	run: func(x *watchTrial) {
		x.create(plain("token"), plain("other"))
		x.listen(x.Store)
		x.listen(x.open())
		for i := range 4 {
			id := []string{"token", "token", "other"}[i%3]
			x.caughtUp()
			x.make("editing", id, func() error { x.nodes.Edit(x.t, id); return nil })
			x.caughtUp()
		}
	},
}, {
	name:  "WatchNoticesATransactionThatCommitsLate",
	must:  "notice a change whose transaction began long before others that committed earlier",
	needs: []string{"HoldEdit"},
	run: func(x *watchTrial) {
		direct, fresh := x.direct(), x.open()
		x.create(plain("token"))
		x.listen(x.Store)
		for i, wait := range []time.Duration{0, 3 * interval, holding} {
			x.caughtUp()
			commit := sync.OnceFunc(x.nodes.HoldEdit(x.t, "token"))
			defer commit()
			x.meanwhile(direct, i)
			x.listen(fresh)
			x.caughtUp()
			time.Sleep(wait)
			x.make("committing a change", "token", func() error { commit(); return nil })
			x.caughtUp()
		}
		x.listeners[0].undisturbed()
	},
}}

// holding is how long a transaction is held open.
const holding = 10 * time.Second
