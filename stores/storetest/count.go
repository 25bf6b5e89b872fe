package storetest

import (
	"fmt"
	"time"

	"github.com/apitoken-go/apitoken"
)

// count calls Count and fails for an error, or if it does not answer for each key.
func (x *trial) count(add map[string]time.Duration) map[string]time.Duration {
	sums, err := x.Store.(apitoken.Counter).Count(x.ctx, add)
	x.ok(err, "Count")
	for key := range add {
		if _, ok := sums[key]; !ok || len(sums) != len(add) {
			x.failf("Count of %d keys returned %d sums, and one of %q: %t", len(add), len(sums), key, ok)
		}
	}
	return sums
}

// sum fails unless a sum is what was added, but for what has passed.
func (x *trial) sum(key string, got, added time.Duration, since time.Time) {
	least := added - 2*time.Since(since) - time.Second // no two clocks go alike
	if got < max(0, least) || got > added+time.Millisecond {
		x.failf("the sum of %q is %s, not %s to %s", key, got, max(0, least), added)
	}
}

var countCases = []testCase{{
	name: "CountAddsUpByKey",
	must: "add to the sum of each key and return it",
	run: func(x *trial) {
		began := time.Now()
		x.sum("one", x.count(map[string]time.Duration{"one": time.Hour})["one"], time.Hour, began)
		sums := x.count(map[string]time.Duration{"one": time.Hour, "One": time.Minute, "two": 0})
		x.sum("one", sums["one"], 2*time.Hour, began)
		x.sum("One", sums["One"], time.Minute, began)
		x.sum("two", sums["two"], 0, began)
		if sums := x.count(nil); len(sums) != 0 {
			x.failf("Count of nothing returned %d sums", len(sums))
		}
		many := make(map[string]time.Duration)
		for i := range 500 {
			many[fmt.Sprintf("key%060d", i)] = time.Duration(1+i) * time.Minute
		}
		began = time.Now()
		x.count(many)
		for key, sum := range x.count(many) {
			x.sum(key, sum, 2*many[key], began)
		}
	},
}, {
	name: "CountLosesNothingOfManyAtOnce",
	must: "add what is added at the same time, in any order of keys",
	run: func(x *trial) {
		began := time.Now()
		x.ok(together(8, func(int) error {
			for range 10 {
				if _, err := x.Store.(apitoken.Counter).Count(x.ctx, map[string]time.Duration{"a": time.Hour, "b": time.Hour, "c": time.Hour, "d": time.Hour}); err != nil {
					return err
				}
			}
			return nil
		}), "Count")
		for key, sum := range x.count(map[string]time.Duration{"a": 0, "b": 0, "c": 0, "d": 0}) {
			x.sum(key, sum, 80*time.Hour, began)
		}
	},
}, {
	name: "CountTakesAwayWhatHasPassed",
	must: "take from a sum the time that passes, and never more",
	run: func(x *trial) {
		x.count(map[string]time.Duration{"short": 50 * time.Millisecond, "long": time.Hour})
		began := time.Now()
		for x.count(map[string]time.Duration{"short": 0})["short"] > 0 {
			if time.Since(began) > 2*time.Minute {
				x.failf("a sum of 50 ms is still there after 2 minutes")
			}
			time.Sleep(5 * time.Millisecond)
		}
		x.sum("short", x.count(map[string]time.Duration{"short": time.Minute})["short"], time.Minute, time.Now())
		x.sum("long", x.count(map[string]time.Duration{"long": 0})["long"], time.Hour, began)
	},
}}
