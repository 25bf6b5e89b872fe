package storetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
)

var touchCases = []testCase{{
	name: "TouchKeepsTheNewestUse",
	must: "keep the newest use of each secret by each source",
	run: func(x *trial) {
		rec := full("token", 1)
		rec.Uses = nil
		x.create(rec, plain("other"))
		x.touch()
		x.has(rec)

		first := use(rec, 0, apitoken.Scheme("apiToken"), noon)
		x.touch(first)
		rec.Uses = []apitoken.Use{first}
		x.has(rec, plain("other"))

		older := use(rec, 0, apitoken.Scheme("apiToken"), noon.Add(-time.Microsecond))
		same := use(rec, 0, apitoken.Scheme("apiToken"), noon)
		older.Address, same.Address = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")
		x.touch(older)
		x.touch(same)
		x.has(rec)

		newer := use(rec, 0, apitoken.Scheme("apiToken"), noon.Add(time.Microsecond))
		newer.Address = netip.Addr{}
		x.touch(newer)
		rec.Uses = []apitoken.Use{newer}
		x.has(rec)

		// Another source, another secret; the newest of a batch in no order.
		six := netip.MustParseAddr("2001:db8::1")
		query, second := use(rec, 0, apitoken.QueryParameter("apiToken"), noon), use(rec, 1, apitoken.Direct, noon.Add(time.Hour))
		second.Address = six
		x.touch(use(rec, 1, apitoken.Direct, noon), query, second, use(rec, 1, apitoken.Direct, noon.Add(time.Minute)), older)
		rec.Uses = []apitoken.Use{newer, query, second}
		x.has(rec, plain("other"))
	},
}, {
	name: "TouchMergesLikeAddUse",
	must: "merge uses as Record.AddUse does, the newest first where it has to drop some",
	run: func(x *trial) {
		random := rand.New(rand.NewPCG(3, 4))
		sources := []apitoken.Source{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken"), apitoken.Direct}
		rec := full("token", 1)
		rec.Uses = nil
		x.create(rec)
		for round := range 12 {
			var batch []apitoken.Use
			for i, n := range random.Perm(40)[:8] {
				u := use(rec, i%2, sources[random.IntN(3)], noon.Add(time.Duration(round*40+n)*time.Minute))
				batch = append(batch, u)
				rec.AddUse(u)
			}
			x.touch(batch...)
			x.has(rec)

			// A rotation: the newer secret becomes the older one.
			rec.Version++
			rec.Secrets = []apitoken.SecretRecord{full("token", 10+round).Secrets[0], rec.Secrets[0]}
			x.replace(rec)
			x.has(rec)
		}
	},
}, {
	name: "TouchChangesNothingElse",
	must: "change nothing but the uses in Touch: no version, no time of change, no other token",
	run: func(x *trial) {
		rec, other := full("token", 1), full("other", 2)
		rec.Uses = nil
		x.create(rec, other)
		for i := range 3 {
			u := use(rec, 0, apitoken.QueryParameter("apiToken"), noon.Add(time.Duration(i)*time.Minute))
			x.touch(u)
			rec.Uses = []apitoken.Use{u}
			x.has(rec, other)
		}
		rec.Version++
		rec.Description = "replaced with the version before the uses"
		x.replace(rec)
		x.has(rec, other)
	},
}, {
	name: "TouchIgnoresWhatIsGone",
	must: "ignore uses of tokens and secrets that do not exist, and store the rest of the batch",
	run: func(x *trial) {
		one, two := plain("one"), plain("two")
		x.create(one, two, plain("gone"))
		x.delete("gone")
		u1, u2 := use(one, 0, apitoken.Scheme("apiToken"), noon), use(two, 0, apitoken.Scheme("apiToken"), noon)
		foreign := use(two, 0, apitoken.Scheme("apiToken"), noon)
		foreign.ID = "one" // a secret of another token
		x.touch(
			use(plain("gone"), 0, apitoken.Scheme("apiToken"), noon), u1, use(plain("never was"), 0, apitoken.Scheme("apiToken"), noon),
			use(full("one", 9), 1, apitoken.Scheme("apiToken"), noon), foreign, use(plain("ONE"), 0, apitoken.Scheme("apiToken"), noon), u2,
		)
		one.Uses, two.Uses = []apitoken.Use{u1}, []apitoken.Use{u2}
		x.has(one, two)
		x.hasNot("gone", "never was", "ONE")
		x.touch(use(plain("gone"), 0, apitoken.Scheme("apiToken"), noon))
		x.hasNot("gone")
		x.lists(model{one, two}, apitoken.Query{Environment: environment, Order: apitoken.ByName}, 10)

		// A deleted token that is made again was never used.
		x.delete("one")
		anew := plain("one")
		anew.Version += 1000
		x.create(anew)
		x.has(anew)
	},
}, {
	name: "TouchAndReplaceLoseNothing",
	must: "lose neither a use nor a change when Touch and Replace run at the same time",
	run: func(x *trial) {
		rec := full("token", 1)
		rec.Uses = nil
		x.create(rec)
		const rounds = 40
		sources := []apitoken.Source{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken"), apitoken.Direct}
		x.ok(together(1+len(sources), func(i int) error {
			for n := range rounds {
				var err error
				if i < len(sources) {
					u := use(rec, n%2, sources[i], noon.Add(time.Duration(n)*time.Minute))
					err = x.Store.(apitoken.Toucher).Touch(x.ctx, []apitoken.Use{u})
				} else {
					next := clone(rec)
					next.Version += int64(n) + 1
					next.Name = fmt.Sprint("change ", n)
					err = x.Replace(x.ctx, next)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}), "Touch and Replace at the same time")
		rec.Version += rounds
		rec.Name = fmt.Sprint("change ", rounds-1)
		for _, t := range sources {
			for i := range 2 {
				rec.Uses = append(rec.Uses, use(rec, i, t, noon.Add(time.Duration(rounds-2+i)*time.Minute)))
			}
		}
		x.has(rec)
	},
}, {
	name: "TouchMovesTokensInLists",
	must: "order lists by the last use",
	run: func(x *trial) {
		var m model
		for i := range 12 {
			m = append(m, plain(fmt.Sprint("token ", i)))
		}
		x.create(m...)
		q := apitoken.Query{Environment: environment, Order: apitoken.ByLastUsed}
		x.lists(m, q, 5)
		for n, i := range []int{3, 7, 3, 0, 11, 7, 3} {
			u := use(m[i], 0, apitoken.Scheme("apiToken"), noon.Add(time.Duration(n)*time.Microsecond))
			x.touch(u)
			m[i].Uses = []apitoken.Use{u}
			q.Descending = n%2 == 0
			x.lists(m, q, 5)
		}
	},
}}

// use returns a use of a secret of rec.
func use(rec apitoken.Record, secret int, by apitoken.Source, at time.Time) apitoken.Use {
	return apitoken.Use{
		ID: rec.ID, Digest: slices.Clone(rec.Secrets[secret].Digest), Source: by, At: at,
		Address: netip.MustParseAddr("192.0.2.1"),
	}
}
