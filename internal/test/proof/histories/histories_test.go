//go:build unix

package histories

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

var ops = flag.Int64("ops", 20_000, "how many verifications to check for each store")

var stores = []struct {
	name string
	open func(t *testing.T) apitoken.Store
}{
	{"memory", func(*testing.T) apitoken.Store { return memory.New() }},
	{"sqlite", func(t *testing.T) apitoken.Store {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tokens.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}},
	{"postgres", func(t *testing.T) apitoken.Store {
		s, err := postgres.Open(t.Context(), testserver.PostgresDatabase(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}},
	{"mysql", func(t *testing.T) apitoken.Store {
		db, err := sql.Open("mysql", testserver.MariaDBDatabase(t))
		if err != nil {
			t.Fatal(err)
		}
		s, err := mysql.Use(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(); db.Close() })
		return s
	}},
	{"redis", func(t *testing.T) apitoken.Store {
		u := url.URL{Scheme: "redis", Host: testserver.Redis(t).Addr()}
		s, err := valkey.Open(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}},
}

func newAuthority(t *testing.T, store apitoken.Store, catalog *apitoken.Catalog, edit func(*apitoken.Config)) *apitoken.Authority {
	config := apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: store, StoreTimeout: 30 * time.Second,
		MaxStaleness: 1000 * time.Hour, // nothing becomes fresh by getting old
	}
	edit(&config)
	a, err := apitoken.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func newService(t *testing.T, store apitoken.Store, edit func(*apitoken.Config)) *service {
	catalog := new(apitoken.Catalog)
	perms := []apitoken.Permission{catalog.Define("devices:read", "See devices")}
	a := newAuthority(t, store, catalog, edit)
	return &service{change: a, verify: a, perms: perms}
}

// What a node has acknowledged it enforces at once, on its own: there is no feed,
// and a lease of 1000 hours.
func TestNothingStaleIsAccepted(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			sv := newService(t, unwatched{s.open(t)}, func(c *apitoken.Config) { c.CacheEntries = tokens - 2 })
			start := time.Now()
			var checked, changes, stale int
			seen := map[outcome]int{}
			missing := func() (left []outcome) {
				for _, o := range []outcome{accepted, sawInactive, sawRetired} {
					if seen[o] == 0 {
						left = append(left, o)
					}
				}
				return left
			}
			var done int64
			for round := 0; done < *ops || len(missing()) > 0 && round < 100; round++ {
				n := min(max(*ops-done, 20_000), 500_000)
				done += n
				for _, history := range sv.run(t.Context(), 4, 3, n, 0) {
					wrong, err := check(history, 0)
					if err != nil {
						t.Fatal(err)
					}
					for _, w := range wrong {
						if stale++; stale <= 5 {
							t.Error(w)
						}
					}
					for _, o := range history {
						if o.kind == verify {
							checked++
							seen[o.outcome]++
						} else {
							changes++
						}
					}
				}
			}
			t.Logf("%d verifications checked beside %d changes in %v: %d stale; %s", checked, changes, time.Since(start).Round(time.Second), stale, fmt.Sprint(seen))
			if missing := missing(); len(missing) > 0 {
				t.Errorf("nobody ever got %q", missing)
			}
		})
	}
}

// Another node whose Watcher reports no change is behind by Config.MaxCacheAge at most.
func TestNothingOlderThanMaxCacheAgeIsAcceptedWhereAWatcherLies(t *testing.T) {
	const age = 200 * time.Millisecond
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			catalog := new(apitoken.Catalog)
			sv := &service{perms: []apitoken.Permission{catalog.Define("devices:read", "See devices")}, pace: 100 * time.Microsecond}
			store := unwatched{s.open(t)}
			sv.change = newAuthority(t, store, catalog, func(*apitoken.Config) {})
			sv.verify = newAuthority(t, liar{store}, catalog, func(c *apitoken.Config) { c.MaxStaleness, c.MaxCacheAge = age/2, age })
			// A verification is 500 times as slow here as where nothing waits.
			verifications := max(*ops/100, 5000)
			var checked, behind, stale int
			for checked < int(verifications) || behind == 0 {
				for _, history := range sv.run(t.Context(), 4, 1, 5000, 20*time.Millisecond) {
					late, err := check(history, 0)
					if err != nil {
						t.Fatal(err)
					}
					wrong, err := check(history, age)
					if err != nil {
						t.Fatal(err)
					}
					for _, w := range wrong {
						if stale++; stale <= 5 {
							t.Error(w)
						}
					}
					checked, behind = checked+len(history), behind+len(late)
				}
			}
			t.Logf("%d operations checked, of which %d saw a version that had been replaced: %d for longer than %v", checked, behind, stale, age)
		})
	}
}

// The same by Porcupine, in histories of a size that it can judge.
func TestHistoriesAreLinearizable(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			sv := newService(t, unwatched{s.open(t)}, func(c *apitoken.Config) { c.CacheEntries = tokens - 2 })
			judge(t, sv, 5)
		})
	}
}

// And by a store that fails: changes of which nobody knows whether they were made
// may be made at any time, but what was acknowledged holds.
func TestHistoriesAreLinearizableWhenTheStoreFails(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			// Calls without a fault are to end in time: of what nobody knows the end, there may be one in any order.
			timeout := 15 * time.Millisecond
			if s.name != "memory" && s.name != "sqlite" {
				timeout = 100 * time.Millisecond
			}
			store := faulty{unwatched{s.open(t)}, 12, 2 * timeout, new(atomic.Int64)}
			sv := newService(t, store, func(c *apitoken.Config) { c.CacheEntries, c.StoreTimeout = tokens-2, timeout })
			lost := judge(t, sv, 10)
			t.Logf("%d calls of the store failed", store.failed.Load())
			if store.failed.Load() == 0 || lost == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// judge returns how many operations came to no answer.
func judge(t *testing.T, sv *service, rounds int) (lost int) {
	t.Helper()
	var checked, undecided int
	for range rounds {
		for _, history := range sv.run(t.Context(), 3, 2, 1000, time.Millisecond) {
			for _, o := range history {
				checked++
				if o.outcome == unknown || o.outcome == nothing {
					lost++
				}
			}
			switch linearizable(history, 20*time.Second) {
			case porcupine.Illegal:
				t.Errorf("no order explains this history of one token: %v", history)
			case porcupine.Unknown:
				undecided++
			}
		}
	}
	t.Logf("%d operations, of which %d came to no answer; %d histories were too much for Porcupine", checked, lost, undecided)
	if undecided > 2 {
		t.Errorf("Porcupine could not decide about %d histories", undecided)
	}
	return lost
}

// The control: both checkers must find a cache wrong of which that is known.
func TestTheNaiveCacheIsCaught(t *testing.T) {
	catalog := new(apitoken.Catalog)
	perms := []apitoken.Permission{catalog.Define("devices:read", "See devices")}
	store := memory.New()
	cache := &naive{Store: slow{unwatched{store}, 200 * time.Microsecond}, cache: map[string]apitoken.Record{}}
	sv := &service{perms: perms}
	sv.change = newAuthority(t, invalidating{store, cache}, catalog, func(c *apitoken.Config) { c.MaxStaleness = apitoken.NoCache })
	sv.verify = newAuthority(t, cache, catalog, func(c *apitoken.Config) { c.MaxStaleness = apitoken.NoCache })

	var histories, exact, byPorcupine int
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for (exact < 3 || byPorcupine < 3) && ctx.Err() == nil {
		for _, history := range sv.run(ctx, 3, 2, 1000, time.Millisecond) {
			histories++
			stale, err := check(history, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(stale) > 0 {
				exact++
			}
			// What has no order has none that fits the versions, either. They can rule
			// out an order that Porcupine finds: who activated a token that was active,
			// but was told so late, may seem to have undone a deactivation.
			if linearizable(history, 20*time.Second) == porcupine.Illegal {
				byPorcupine++
				if len(stale) == 0 {
					t.Errorf("only Porcupine finds this wrong: %v", history)
				}
			}
		}
	}
	t.Logf("of %d histories the exact checker found %d wrong, Porcupine %d", histories, exact, byPorcupine)
	if exact == 0 || byPorcupine == 0 {
		t.Error("the checkers find nothing")
	}
}
