package apitoken_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// ownedBy returns the text of an active token of an owner, which it creates in the store.
func (g *rig) ownedBy(t testing.TB, owner string, name any) string {
	t.Helper()
	m := mint(fmt.Sprint(owner, " ", name))
	rec := m.record(wireRead)
	rec.Owner = owner
	require.NoError(t, g.store.Create(t.Context(), rec))
	return m.text
}

// statuses counts the answers to requests.
type statuses [600]atomic.Int64

func (s *statuses) get(g *rig, text string) {
	w := httptest.NewRecorder()
	g.Require(wireRead)(new(spy)).ServeHTTP(w, newRequest("/", "apiToken "+text))
	s[w.Code].Add(1)
}

func quiet(c *apitoken.Config) { c.Observe = nil }

// The function of an application takes 20 ms, or hangs, for the owner of one token, who
// makes 8,000 requests at once. Another owner is served.
func TestAFloodOfOneOwnerLeavesOwnerPermissionsToOthers(t *testing.T) {
	watchedInLess(t)
	for name, hangs := range map[string]bool{"slow": false, "hanging": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running, most atomic.Int64
				var slow atomic.Bool
				g := newRig(t, quiet, func(c *apitoken.Config) {
					c.OwnerPermissions = func(_ context.Context, _, owner string) ([]apitoken.Permission, error) {
						if owner == "ada" && slow.Load() {
							most.Store(max(running.Add(1), most.Load()))
							defer running.Add(-1)
							time.Sleep(20 * time.Millisecond)
							if hangs {
								time.Sleep(time.Minute)
							}
						}
						return wire.All(), nil
					}
				})
				other := g.ownedBy(t, "bob", "")
				require.Equal(t, 204, g.get(goodToken.text))
				require.Equal(t, 204, g.get(other))
				slow.Store(true)
				var flood statuses
				var wg sync.WaitGroup
				for range 8000 {
					wg.Go(func() { flood.get(g, goodToken.text) })
				}
				synctest.Wait()
				began := time.Now()
				for range 6 {
					assert.Equal(t, 204, g.get(other))
				}
				assert.Zero(t, time.Since(began))
				wg.Wait()
				if hangs {
					assert.EqualValues(t, 8000, flood[503].Load())
					assert.Equal(t, 2*time.Second, time.Since(began))
				} else {
					assert.EqualValues(t, 8000, flood[204].Load(), "what one question answers, the others do not ask")
				}
				assert.LessOrEqual(t, most.Load(), int64(16))
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// A request that begins after an owner has lost a permission does not take the answer of
// a question from before.
func TestAQuestionAboutAnOwnerAnswersOnlyRequestsThatBeganBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		g := newRig(t, quiet, func(c *apitoken.Config) {
			c.MaxConcurrentLookups = 1 // of which an owner may have all
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				if gone.Load() {
					time.Sleep(20 * time.Millisecond)
					return nil, apitoken.ErrNoOwner
				}
				time.Sleep(20 * time.Millisecond)
				return wire.All(), nil
			}
		})
		var before, after statuses
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { before.get(g, goodToken.text) })
			synctest.Wait()
		}
		gone.Store(true)
		for range 10 {
			wg.Go(func() { after.get(g, goodToken.text) })
		}
		wg.Wait()
		assert.EqualValues(t, 1, before[204].Load())
		assert.EqualValues(t, 9, before[401].Load(), "who waited is answered by the newest")
		assert.EqualValues(t, 10, after[401].Load())
	})
}

// Without a cache one token makes 8,000 requests at once, of a store that takes 20 ms.
func TestAFloodOfOneTokenLeavesLookUpsToOthers(t *testing.T) {
	watchedInLess(t)
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		g := newRig(t, quiet, noCache)
		g.store.forget = true
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			most.Store(max(running.Add(1), most.Load()))
			defer running.Add(-1)
			time.Sleep(20 * time.Millisecond)
			return g.store.Store.Get(ctx, id)
		}
		var flood statuses
		var wg sync.WaitGroup
		for range 8000 {
			wg.Go(func() { flood.get(g, goodToken.text) })
		}
		synctest.Wait()
		assert.LessOrEqual(t, most.Load(), int64(16))
		began := time.Now()
		assert.Equal(t, 204, g.get(bothToken.text))
		assert.Equal(t, 20*time.Millisecond, time.Since(began))
		wg.Wait()
		assert.EqualValues(t, 8000, flood[204].Load())
	})
}

// 9,000 unknown tokens are in flight when the feed begins anew. Tokens that were good a
// moment before, also those of an owner with a flood of their own, are read again at once.
func TestTokensFromBeforeAResetPassAFloodOfUnknownOnes(t *testing.T) {
	watchedInLess(t)
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		feed := <-s.feeds
		feed.Reset()
		feed.CaughtUp(time.Now())
		var good, many []string
		for i := range 40 {
			good = append(good, g.ownedBy(t, fmt.Sprint("user ", i), ""))
		}
		for i := range 1000 {
			many = append(many, g.ownedBy(t, "crowd", i))
		}
		for _, text := range append(good, many...) {
			require.Equal(t, 204, g.get(text))
		}
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(20 * time.Millisecond)
			return g.store.Store.Get(ctx, id)
		}
		feed.Reset()
		feed.CaughtUp(time.Now())
		var wg sync.WaitGroup
		var flood, crowd, known statuses
		for i := range 9000 {
			wg.Go(func() { flood.get(g, mint(fmt.Sprint("stranger ", i)).text) })
		}
		synctest.Wait()
		for _, text := range many {
			wg.Go(func() { crowd.get(g, text) })
		}
		synctest.Wait()
		began := time.Now()
		var these sync.WaitGroup
		for _, text := range good {
			these.Go(func() { known.get(g, text) })
		}
		these.Wait()
		assert.EqualValues(t, 40, known[204].Load())
		assert.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
		wg.Wait()
		assert.Greater(t, flood[401].Load(), int64(1000))
		assert.NotZero(t, crowd[204].Load())
		time.Sleep(time.Second)
	})
}

// The eras of a cache are counted in 16 bits.
func TestATokenIsStaleHoweverManyResetsThereWereSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t, func(c *apitoken.Config) { c.CacheEntries = 1 }) // in one shard
		feed := <-s.feeds
		feed.Reset()
		require.Equal(t, 204, g.get(goodToken.text))
		g.deactivateElsewhere(t, goodToken.id)
		for range 1 << 16 {
			feed.Reset()
		}
		assert.Equal(t, 401, g.get(goodToken.text))
	})
}

// A hanging list of one actor, over many connections, leaves lists to another one, and
// look-ups, which have slots of their own, to all.
func TestAFloodOfListsLeavesListsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &hangingStore{hang: make(chan struct{})}
		g := newRig(t, quiet, func(c *apitoken.Config) { s.Store, c.Store = c.Store, s })
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				_, err := g.As(ada).List(context.Background(), apitoken.ListParams{})
				assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			})
		}
		synctest.Wait()
		assert.EqualValues(t, 2, s.running.Load())
		wg.Go(func() {
			_, err := g.As(admin).List(context.Background(), apitoken.ListParams{})
			assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		})
		synctest.Wait()
		assert.EqualValues(t, 3, s.running.Load(), "that of another actor is in the store, too")
		assert.Equal(t, 204, g.get(goodToken.text))
		wg.Wait()
		close(s.hang)
		synctest.Wait()
	})
}

// One actor has a share of the calls of Managers, and of revocations.
func TestAFloodOfOneActorLeavesManagersToOthers(t *testing.T) {
	for name, call := range map[string]func(m *apitoken.Manager, id string) error{
		"get": func(m *apitoken.Manager, id string) error { _, err := m.Get(context.Background(), id); return err },
		"deactivate": func(m *apitoken.Manager, id string) error {
			_, err := m.Deactivate(context.Background(), id)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &hangingStore{hang: make(chan struct{}), spared: bothToken.id}
				g := newRig(t, quiet, func(c *apitoken.Config) { s.Store, c.Store = c.Store, s })
				var wg sync.WaitGroup
				for range 500 {
					wg.Go(func() { assert.ErrorIs(t, call(g.As(ada), goodToken.id), apitoken.ErrUnavailable) })
				}
				synctest.Wait()
				began := time.Now()
				assert.NoError(t, call(g.As(admin), bothToken.id))
				assert.Zero(t, time.Since(began))
				wg.Wait()
				close(s.hang)
				synctest.Wait()
			})
		})
	}
}
