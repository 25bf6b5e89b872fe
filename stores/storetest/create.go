package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

var createAllCases = []testCase{{
	name: "CreateAllAddsWhatDoesNotExist",
	must: "add with CreateAll the records whose IDs do not exist, of two with one ID the first, and say which it added",
	run: func(x *trial) {
		x.createAll(nil, nil)
		old := full("token 150", 1)
		x.create(old)
		recs := []apitoken.Record{full("full", 2), full("full", 4), plain("full")}
		want := []bool{true, false, false}
		kept := model{recs[0], old}
		for i := range 300 {
			rec := plain(fmt.Sprint("token ", (i*7)%300)) // in no order
			if i%20 == 1 {
				rec.Name, rec.Permissions = fmt.Sprint("some words ", i), []string{"devices:read", "devices:write"}
			}
			fresh := rec.ID != old.ID
			recs, want = append(recs, rec), append(want, fresh)
			if fresh {
				kept = append(kept, rec)
			}
		}
		x.createAll(recs, want)
		x.has(kept...)
		for _, env := range []string{environment, old.Environment, recs[0].Environment} {
			for _, order := range orders {
				x.lists(kept, apitoken.Query{Environment: env, Order: order}, 100)
			}
		}
		x.lists(kept, apitoken.Query{Environment: environment, Order: apitoken.ByName, Text: "words"}, 100)
		x.lists(kept, apitoken.Query{Environment: environment, Order: apitoken.ByName, Permission: "devices:write"}, 100)

		x.createAll(recs, make([]bool, len(recs))) // the same again
		x.has(kept...)
		x.delete("token 7")
		x.createAll([]apitoken.Record{plain("token 7"), plain("token 8")}, []bool{true, false})
		x.has(plain("token 7"))
	},
}, {
	name: "CreateAllAtOnceAddsEachRecordOnce",
	must: "add each record once when several CreateAlls have the same ones, and say so to one of the callers",
	run: func(x *trial) {
		var recs []apitoken.Record
		for i := range 120 {
			recs = append(recs, plain(fmt.Sprint("token ", i)))
		}
		store := x.Store.(apitoken.BatchCreator)
		wins := make([]atomic.Int32, len(recs))
		x.ok(together(6, func(i int) error {
			from := i * 20
			mine := slices.Concat(recs[from:], recs[:from])
			added, err := store.CreateAll(x.ctx, mine)
			if err == nil && len(added) != len(mine) {
				return fmt.Errorf("CreateAll of %d records answered for %d", len(mine), len(added))
			}
			for n, ok := range added {
				if ok {
					wins[(from+n)%len(recs)].Add(1)
				}
			}
			return err
		}), "6 CreateAlls at once")
		for i := range wins {
			if n := wins[i].Load(); n != 1 {
				x.failf("of 6 CreateAlls at once %d say that they added %q", n, recs[i].ID)
			}
		}
		x.has(recs...)
	},
}, {
	name: "CreateAllThatIsBrokenOffLeavesWholeRecords",
	must: "add each record of a CreateAll wholly or not at all when its context ends meanwhile, and all of them if it reports no error",
	run: func(x *trial) {
		var kept model
		for i := range 10 {
			var recs []apitoken.Record
			for n := range 60 {
				recs = append(recs, plain(fmt.Sprintf("token %d %d", i, n)))
			}
			ctx, cancel := context.WithTimeout(x.ctx, 20*time.Microsecond<<i)
			added, failed := x.Store.(apitoken.BatchCreator).CreateAll(ctx, recs)
			cancel()
			time.Sleep(time.Millisecond) // for a server that has not noticed yet
			for n, rec := range recs {
				got, err := x.Get(x.ctx, rec.ID)
				if err == nil {
					x.same(got, rec, "after a CreateAll whose context may have ended")
					kept = append(kept, rec)
				} else if !errors.Is(err, apitoken.ErrNotFound) {
					x.ok(err, "Get")
				}
				if failed == nil && (err != nil || n >= len(added) || !added[n]) {
					x.failf("CreateAll reports no error, and has not added %q", rec.ID)
				}
			}
		}
		x.lists(kept, apitoken.Query{Environment: environment, Order: apitoken.ByName}, 100)
	},
}}

// createAll adds records and fails unless the store says that it added these.
func (x *trial) createAll(recs []apitoken.Record, want []bool) {
	var cloned []apitoken.Record
	for _, rec := range recs {
		cloned = append(cloned, clone(rec))
	}
	added, err := x.Store.(apitoken.BatchCreator).CreateAll(x.ctx, cloned)
	x.ok(err, "CreateAll of %d records", len(recs))
	if !slices.Equal(added, want) {
		x.failf("CreateAll of %d records says of which it added %v, not %v", len(recs), added, want)
	}
}

// makeCreateAll adds records of these IDs, which do not exist.
func (x *watchTrial) makeCreateAll(store apitoken.BatchCreator, ids []string) error {
	var recs []apitoken.Record
	for _, id := range ids {
		recs = append(recs, plain(id))
	}
	start := time.Now()
	added, err := store.CreateAll(x.ctx, recs)
	acked := time.Now()
	if err != nil || slices.Contains(added, false) {
		return fmt.Errorf("CreateAll of %d records: %v, %w", len(recs), added, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		x.changes = append(x.changes, change{"CreateAll", id, start, acked})
	}
	return nil
}
