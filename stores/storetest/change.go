package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/apitoken-go/apitoken"
)

var changeCases = []testCase{{
	name: "CreateKeepsWhatExists",
	must: "report ErrExists from Create of an ID that exists, and leave that record as it is",
	run: func(x *trial) {
		before := full("token", 1)
		x.create(before)
		for _, again := range []apitoken.Record{before, full("token", 2), plain("token")} {
			x.is(x.Create(x.ctx, again), apitoken.ErrExists, "Create of an ID that exists")
			x.has(before)
		}
		after := before
		after.Version, after.Name = before.Version+1, "replaced"
		x.replace(after)
		x.is(x.Create(x.ctx, before), apitoken.ErrExists, "Create of an ID that was replaced")
		x.has(after)
		x.lists(model{after}, apitoken.Query{Environment: after.Environment, Order: apitoken.ByName}, 10)
	},
}, {
	name: "OfManyCreatorsOneWins",
	must: "let exactly one of many Creates of an ID succeed, and report ErrExists from the others",
	run: func(x *trial) {
		x.oneWins(50, apitoken.ErrExists, func(i int) (apitoken.Record, error) {
			rec := plain("token")
			rec.Name = fmt.Sprint("by ", i)
			return rec, x.Create(x.ctx, rec)
		})
	},
}, {
	name: "ReplaceNeedsTheVersionBefore",
	must: "replace only a record with the version before, else report ErrConflict and change nothing",
	run: func(x *trial) {
		before := plain("token")
		x.create(before, plain("other"))
		for _, version := range []int64{
			before.Version, before.Version - 1, before.Version + 2, before.Version + 1000, 1, 1 << 62,
		} {
			rec := full("token", 5)
			rec.Version = version
			x.is(x.Replace(x.ctx, rec), apitoken.ErrConflict,
				"Replace of version %d, with a record of version %d", before.Version, version)
			x.has(before, plain("other"))
		}
		x.lists(model{before, plain("other")}, apitoken.Query{Environment: environment, Order: apitoken.ByName}, 10)

		after := before
		after.Version, after.Name = before.Version+1, "replaced"
		x.replace(after)
		x.is(x.Replace(x.ctx, after), apitoken.ErrConflict, "the same Replace again")
		x.has(after)
	},
}, {
	name: "ReplaceOfNothingIsNotFound",
	must: "report ErrNotFound from Replace of an ID that does not exist, and not create it",
	run: func(x *trial) {
		x.is(x.Replace(x.ctx, plain("token")), apitoken.ErrNotFound, "Replace in an empty store")
		x.hasNot("token")
		x.create(plain("other"))
		x.is(x.Replace(x.ctx, plain("token")), apitoken.ErrNotFound, "Replace of what is not stored")
		x.hasNot("token")
		x.lists(model{plain("other")}, apitoken.Query{Environment: environment, Order: apitoken.ByName}, 10)
	},
}, {
	name: "OfManyReplacersOneWins",
	must: "let exactly one of many Replaces of a version succeed, and report ErrConflict from the others",
	run: func(x *trial) {
		before := plain("token")
		x.create(before)
		for round := range int64(3) {
			x.oneWins(100, apitoken.ErrConflict, func(i int) (apitoken.Record, error) {
				rec := full("token", i)
				rec.Version = before.Version + 1 + round
				rec.Uses = nil
				return rec, x.Replace(x.ctx, rec)
			})
		}
	},
}, {
	name: "DeleteRemoves",
	must: "remove exactly the record with the ID, and report ErrNotFound where there is none",
	run: func(x *trial) {
		x.is(x.Delete(x.ctx, "token"), apitoken.ErrNotFound, "Delete in an empty store")
		x.create(plain("token"), plain("token2"), plain("toke"))
		x.delete("token")
		x.hasNot("token")
		x.has(plain("token2"), plain("toke"))
		x.is(x.Delete(x.ctx, "token"), apitoken.ErrNotFound, "Delete of what was deleted")
		x.lists(model{plain("token2"), plain("toke")}, apitoken.Query{Environment: environment, Order: apitoken.ByName}, 10)

		var wins atomic.Int32
		x.ok(together(20, func(int) error {
			err := x.Delete(x.ctx, "toke")
			if err == nil {
				wins.Add(1)
			} else if !errors.Is(err, apitoken.ErrNotFound) {
				return fmt.Errorf("the error is %w, not %w", err, apitoken.ErrNotFound)
			}
			return nil
		}), "20 Deletes at once")
		if wins.Load() != 1 {
			x.failf("of 20 Deletes of a record at once, %d succeeded", wins.Load())
		}
	},
}, {
	name: "ADeletedIDStartsAnew",
	must: "keep nothing of a deleted record, and report ErrConflict from a Replace that was meant for it",
	run: func(x *trial) {
		before := full("token", 1)
		x.create(before)
		x.delete("token")
		stale := before
		stale.Version++
		x.is(x.Replace(x.ctx, stale), apitoken.ErrNotFound, "Replace of what was deleted")

		anew := full("token", 2)
		anew.Uses, anew.Version = nil, before.Version+1_000_000
		x.create(anew)
		x.has(anew)
		x.is(x.Replace(x.ctx, stale), apitoken.ErrConflict, "Replace meant for the record before")
		x.has(anew)
		q := apitoken.Query{Environment: before.Environment, Order: apitoken.ByName}
		x.lists(model{anew}, q, 10)
		q.Environment = anew.Environment
		for _, p := range append(before.Permissions, anew.Permissions...) {
			q.Permission = p
			x.lists(model{anew}, q, 10)
		}
	},
}, {
	name: "AcknowledgedChangesAreSeen",
	must: "show a change to every Get that begins after the change has returned, on any goroutine",
	run: func(x *trial) {
		type step struct {
			rec     apitoken.Record
			deleted bool
			seen    chan error
		}
		done := make(chan step)
		defer close(done)
		for range 4 {
			go func() {
				for s := range done {
					got, err := x.Get(x.ctx, s.rec.ID)
					switch {
					case s.deleted && !errors.Is(err, apitoken.ErrNotFound):
						err = fmt.Errorf("after Delete: the error is %v", err)
					case s.deleted:
						err = nil
					case err == nil && (got.Version != s.rec.Version || got.Name != s.rec.Name):
						err = fmt.Errorf("version %d is seen after version %d was acknowledged", got.Version, s.rec.Version)
					}
					s.seen <- err
				}
			}()
		}
		show := func(rec apitoken.Record, deleted bool) {
			seen := make(chan error, 4)
			for range cap(seen) {
				done <- step{rec, deleted, seen}
			}
			for range cap(seen) {
				x.ok(<-seen, "Get on another goroutine")
			}
		}
		for i := range 25 {
			rec := plain(fmt.Sprint("token ", i%5))
			rec.Version += int64(i) * 1000
			x.create(rec)
			show(rec, false)
			for range 2 {
				rec.Version++
				rec.Name = fmt.Sprint("version ", rec.Version)
				x.replace(rec)
				show(rec, false)
			}
			x.delete(rec.ID)
			show(rec, true)
		}
	},
}}

// oneWins lets n goroutines try a change at once. Exactly one may succeed; the
// others get the error lost, and the store holds what the winner wrote.
func (x *trial) oneWins(n int, lost error, change func(i int) (apitoken.Record, error)) {
	var winner atomic.Pointer[apitoken.Record]
	x.ok(together(n, func(i int) error {
		rec, err := change(i)
		switch {
		case err == nil && !winner.CompareAndSwap(nil, &rec):
			return errors.New("two succeeded")
		case err != nil && !errors.Is(err, lost):
			return fmt.Errorf("the error is %w, not %w", err, lost)
		}
		return nil
	}), "%d at once", n)
	if winner.Load() == nil {
		x.failf("%d at once: none succeeded", n)
	}
	got := x.get(winner.Load().ID)
	x.same(got, *winner.Load(), "after the race")
}
