package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// get asks for a resource that needs devices:read, and returns the status.
func (g *rig) get(token string) int {
	var s spy
	w := httptest.NewRecorder()
	g.Require(wireRead)(&s).ServeHTTP(w, newRequest("/", "apiToken "+token))
	if s.called() != map[bool]int{true: 1}[w.Code == 204] {
		panic(fmt.Sprintf("status %d, but the handler was called %d times", w.Code, s.called()))
	}
	return w.Code
}

func TestATokenIsReadOnceAndThenAnsweredFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		for range 100 {
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(time.Second / 100)
		}
		assert.Equal(t, 1, g.store.calls())
		assert.EqualValues(t, 1, g.Stats().Misses)
		assert.EqualValues(t, 1, g.Stats().CacheEntries)
	})
}

func TestWhatIsInMemoryIsJudgedAnewForEachRequest(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness = time.Hour })
	require.Equal(t, 204, g.get(goodToken.text))
	a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.with(mint("other").secret)))
	mustRefuse(t, a, s, invalidToken, "")
	_, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.All(wireRead, wireWrite))
	assert.ErrorIs(t, err, apitoken.ErrMissingPermission)
	assert.Equal(t, 1, g.store.calls())
}

// Age.

func TestWithoutAFeedATokenIsReadAnewAfterMaxStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness = 3 * time.Second })
		require.Equal(t, 204, g.get(goodToken.text))
		rec := goodToken.record(wireRead)
		rec.Version++
		rec.Status = apitoken.StatusInactive
		require.NoError(t, g.store.Replace(t.Context(), rec)) // as another node would
		time.Sleep(3 * time.Second)
		require.Equal(t, 204, g.get(goodToken.text), "for as long as promised")
		time.Sleep(time.Nanosecond)
		require.Equal(t, 401, g.get(goodToken.text))
		assert.Equal(t, 2, g.store.calls())
		assert.EqualValues(t, 1, g.Stats().Expired)
	})
}

func TestTheAgeOfATokenCountsFromBeforeTheStoreWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(900 * time.Millisecond)
			return g.store.Store.Get(ctx, id)
		}
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, 204, g.get(goodToken.text))
		require.Equal(t, 1, g.store.calls())
		time.Sleep(time.Nanosecond)
		require.Equal(t, 204, g.get(goodToken.text))
		assert.Equal(t, 2, g.store.calls())
	})
}

func TestAnAnswerThatIsTooOldWhenItComesIsAskedForOnceMoreAndThenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delays := []time.Duration{time.Second + 1, time.Millisecond}
		g := newRig(t, func(c *apitoken.Config) { c.StoreTimeout = time.Minute })
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			delay := delays[0]
			delays = delays[1:]
			time.Sleep(delay)
			return g.store.Store.Get(ctx, id)
		}
		require.Equal(t, 204, g.get(goodToken.text))
		require.Empty(t, delays)

		time.Sleep(2 * time.Second)
		delays = []time.Duration{time.Second + 1, time.Second + 1, 0}
		require.Equal(t, 503, g.get(goodToken.text))
		require.Len(t, delays, 1)
	})
}

func TestNoCacheReadsForEveryRequest(t *testing.T) {
	g := newRig(t, noCache)
	for range 3 {
		require.Equal(t, 204, g.get(goodToken.text))
	}
	assert.Equal(t, 3, g.store.calls())
	assert.Zero(t, g.Stats().CacheEntries)
}

// What is not kept.

func TestUnknownTokensAndFailuresAreNotKept(t *testing.T) {
	g := newRig(t)
	for range 3 {
		require.Equal(t, 401, g.get(unknownToken.text))
	}
	require.Equal(t, 3, g.store.calls())
	for _, fault := range []func() (apitoken.Record, error){
		func() (apitoken.Record, error) { return apitoken.Record{}, errors.New("down") },
		func() (apitoken.Record, error) { return apitoken.Record{}, nil },
		func() (apitoken.Record, error) { return expiredToken.record(wireRead), nil },
		func() (apitoken.Record, error) { panic("x") },
		func() (apitoken.Record, error) { runtime.Goexit(); return apitoken.Record{}, nil },
	} {
		g.store.get = func(context.Context, string) (apitoken.Record, error) { return fault() }
		require.Equal(t, 503, g.get(goodToken.text))
	}
	require.Zero(t, g.Stats().CacheEntries)
	g.store.get = nil
	require.Equal(t, 204, g.get(goodToken.text))
}

func TestWhatIsInMemoryIsForgottenWhenTheStoreNoLongerHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		require.Equal(t, 204, g.get(goodToken.text))
		require.NoError(t, g.store.Delete(t.Context(), goodToken.id))
		time.Sleep(time.Second + 1)
		require.Equal(t, 401, g.get(goodToken.text))
		assert.Zero(t, g.Stats().CacheEntries)
	})
}

func TestAStoreThatIsDownIs503WhenTheLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		require.Equal(t, 204, g.get(goodToken.text))
		g.store.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, errors.New("down") }
		time.Sleep(time.Second)
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(time.Nanosecond)
		require.Equal(t, 503, g.get(goodToken.text))
		g.store.get = nil
		require.Equal(t, 204, g.get(goodToken.text))
	})
}

// Many at once.

func TestAThousandColdRequestsForATokenMakeOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(time.Millisecond)
			return g.store.Store.Get(ctx, id)
		}
		var accepted atomic.Int32
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if g.get(goodToken.text) == 204 {
					accepted.Add(1)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1000, accepted.Load())
		assert.Equal(t, 1, g.store.calls())
	})
}

func TestARequestThatGoesAwayDoesNotFailThoseThatWaitForTheSameCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
			return g.store.Store.Get(ctx, id)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error)
		go func() {
			_, err := g.Check(newRequest("/", "apiToken "+goodToken.text).WithContext(ctx), apitoken.All(wireRead))
			first <- err
		}()
		synctest.Wait()
		second := make(chan int)
		go func() { second <- g.get(goodToken.text) }()
		synctest.Wait()
		cancel()
		assert.ErrorIs(t, <-first, apitoken.ErrUnavailable)
		assert.Equal(t, 204, <-second)
		assert.Equal(t, 1, g.store.calls())
	})
}

func TestACallThatHangsIsNotJoinedForeverAndLaterOnesAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness, c.MaxConcurrentLookups = time.Hour, 2 })
		var healed atomic.Bool
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			if !healed.Load() {
				<-release
			}
			return g.store.Store.Get(context.WithoutCancel(ctx), id)
		}
		require.Equal(t, 503, g.get(goodToken.text))
		healed.Store(true)
		time.Sleep(time.Nanosecond)
		require.Equal(t, 204, g.get(goodToken.text))
		close(release)
	})
}

func TestAFloodOfUnknownTokensDoesNotKeepKnownOnesWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups, c.Observe = 4, nil })
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(time.Second + 1) // its lease is over
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(100 * time.Millisecond)
			return g.store.Store.Get(ctx, id)
		}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { g.get(mint(fmt.Sprint("stranger ", i)).text) })
		}
		wg.Go(func() { g.get(goodToken.with(mint("guessed").secret)) }) // queues up for the same ID
		synctest.Wait()
		start := time.Now()
		require.Equal(t, 204, g.get(goodToken.text))
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		wg.Wait()
		time.Sleep(time.Second) // for the last calls to end
		require.EqualValues(t, 1, g.Stats().CacheEntries)
	})
}

// Changes by this node.

func TestAChangeHoldsOnItsNodeForEveryRequestThatBeginsAfterIt(t *testing.T) {
	forever := func(c *apitoken.Config) { c.MaxStaleness = 1000 * time.Hour }
	for _, c := range []struct {
		name   string
		change func(t *testing.T, m *apitoken.Manager, id string) error
		want   int
	}{
		{"deactivated", func(t *testing.T, m *apitoken.Manager, id string) error {
			_, err := m.Deactivate(t.Context(), id)
			return err
		}, 401},
		{"deleted", func(t *testing.T, m *apitoken.Manager, id string) error { return m.Delete(t.Context(), id) }, 401},
		{"rotated without overlap", func(t *testing.T, m *apitoken.Manager, id string) error {
			_, _, err := m.Rotate(t.Context(), id, 0, "")
			return err
		}, 401},
		{"narrowed", func(t *testing.T, m *apitoken.Manager, id string) error {
			_, err := m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}})
			return err
		}, 403},
		{"deactivated in bulk", func(t *testing.T, m *apitoken.Manager, id string) error {
			_, err := m.Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
			return err
		}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, forever)
			info, secret := g.generate(t)
			require.Equal(t, 204, g.get(secret.Reveal()))
			require.NoError(t, c.change(t, g.As(ada), info.ID))
			require.Equal(t, c.want, g.get(secret.Reveal()))
		})
	}
}

func TestATokenThatIsActivatedOrImportedAgainWorksAtOnce(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.MaxStaleness, c.KeepDeleted = 1000*time.Hour, -1
		c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64}
	})
	info, secret := g.generate(t)
	_, err := g.As(ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, 401, g.get(secret.Reveal()))
	_, err = g.As(ada).Activate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, 204, g.get(secret.Reveal()))

	foreign := apitoken.ImportParams{Secret: apitoken.NewSecret("8as7bf9a8s7498svaps8dfabsf"), GenerateParams: apitoken.GenerateParams{
		Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(),
	}}
	for range 2 {
		require.Equal(t, 401, g.get(foreign.Secret.Reveal()))
		info, err = g.As(ada).Import(t.Context(), foreign)
		require.NoError(t, err)
		require.Equal(t, 204, g.get(foreign.Secret.Reveal()))
		require.NoError(t, g.As(ada).Delete(t.Context(), info.ID))
	}
}

// A store whose answers to a change are lost, although it makes it.
type lossyStore struct {
	*tapStore
	before, after chan struct{}
}

func (s *lossyStore) Replace(ctx context.Context, rec apitoken.Record) error {
	<-s.before
	err := s.tapStore.Replace(context.WithoutCancel(ctx), rec)
	<-s.after
	return errors.Join(err, errors.New("connection reset"))
}

func TestAChangeWhoseOutcomeIsUnknownIsForgottenToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lossyStore{before: make(chan struct{}), after: make(chan struct{})}
		g := newRig(t, func(c *apitoken.Config) {
			s.tapStore = c.Store.(*tapStore)
			c.Store, c.MaxStaleness = s, 1000*time.Hour
		})
		info, secret := g.generate(t)
		require.Equal(t, 204, g.get(secret.Reveal()))
		_, err := g.As(ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}}) // gives up after 2 seconds
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.Equal(t, 204, g.get(secret.Reveal()), "it is not made yet")
		close(s.before)
		close(s.after)
		synctest.Wait()
		require.Equal(t, 403, g.get(secret.Reveal()), "it was made after all")
	})
}

func TestAChangeThatWasMadeAndIsNotAnsweredIsForgottenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lossyStore{before: make(chan struct{}), after: make(chan struct{})}
		g := newRig(t, func(c *apitoken.Config) {
			s.tapStore = c.Store.(*tapStore)
			c.Store, c.MaxStaleness = s, 1000*time.Hour
		})
		info, secret := g.generate(t)
		require.Equal(t, 204, g.get(secret.Reveal()))
		close(s.before)
		defer close(s.after)
		_, err := g.As(ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}})
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.Equal(t, 403, g.get(secret.Reveal()))
	})
}

// gated makes the next Get answer with what it read when the call began, but only
// when release is closed.
func gated(g *rig) (release chan struct{}) {
	release = make(chan struct{})
	var asked atomic.Bool
	g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
		rec, err := g.store.Store.Get(ctx, id)
		if asked.CompareAndSwap(false, true) {
			<-release
		}
		return rec, err
	}
	return release
}

func TestACallThatWasUnderWayWhenTheTokenChangedAnswersNoLaterRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness, c.Observe = 1000*time.Hour, nil })
		info, secret := g.generate(t)
		release := gated(g)
		early := make(chan int, 1)
		go func() { early <- g.get(secret.Reveal()) }()
		synctest.Wait()
		_, err := g.As(ada).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		require.Equal(t, 401, g.get(secret.Reveal()), "it does not join the call that began before")
		close(release)
		require.Equal(t, 204, <-early, "it began before the change was acknowledged")
		synctest.Wait()
		require.Equal(t, 401, g.get(secret.Reveal()), "what the early call read is not kept")
	})
}

// The feed.

// A request begun 8 seconds after an acknowledged deactivation must not be
// accepted because it joined an older call of the store.
func TestWhoJoinsACallIsNotAnsweredByWhatIsOlderThanMaxStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t, func(c *apitoken.Config) { c.StoreTimeout, c.Observe = time.Minute, nil })
		feed := <-s.feeds
		feed.Reset()
		release := gated(g)
		first, second := make(chan int, 1), make(chan int, 1)
		go func() { first <- g.get(goodToken.text) }()
		synctest.Wait()
		g.deactivateElsewhere(t, goodToken.id) // the feed is late with it
		time.Sleep(8 * time.Second)
		go func() { second <- g.get(goodToken.text) }()
		synctest.Wait()
		close(release)
		feed.Changed(goodToken.id)
		feed.CaughtUp(time.Now())
		require.Equal(t, 401, <-second)
		require.Equal(t, 401, <-first, "asked for once more")
	})
}

// Bounds.

func TestMemoryIsBoundedAndTokensInUseStay(t *testing.T) {
	hasNoRaces(t)
	g := newRig(t, func(c *apitoken.Config) { c.CacheEntries, c.MaxStaleness, c.Observe = 50, time.Hour, nil })
	var tokens []minted
	for i := range 500 {
		m := mint(fmt.Sprint("token ", i))
		require.NoError(t, g.store.Create(t.Context(), m.record(wireRead)))
		tokens = append(tokens, m)
	}
	busy := tokens[:25]
	for _, m := range tokens {
		require.Equal(t, 204, g.get(m.text))
		for _, b := range busy {
			g.get(b.text)
		}
		require.LessOrEqual(t, g.Stats().CacheEntries, int64(50))
	}
	assert.EqualValues(t, 50, g.Stats().CacheEntries)
	assert.EqualValues(t, 450, g.Stats().Evictions)
	before := g.store.calls()
	for _, b := range busy {
		require.Equal(t, 204, g.get(b.text))
	}
	assert.Equal(t, before, g.store.calls(), "those in use were not evicted")
}

func TestOneEntryIsEnough(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.CacheEntries, c.MaxStaleness = 1, time.Hour })
	for range 3 {
		for _, m := range []minted{goodToken, bothToken} {
			require.Equal(t, 204, g.get(m.text))
			require.Equal(t, 204, g.get(m.text))
		}
	}
	assert.Equal(t, 6, g.store.calls())
	assert.EqualValues(t, 1, g.Stats().CacheEntries)
}

func TestManyTokensAreFoundWhileTheTableGrowsUnderReaders(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness, c.Observe = time.Hour, nil })
	n := 4000
	if apitoken.RaceEnabled {
		n = 1000
	}
	tokens := make([]minted, n)
	for i := range tokens {
		tokens[i] = mint(fmt.Sprint("token ", i))
		require.NoError(t, g.store.Create(t.Context(), tokens[i].record(wireRead)))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range n {
				m := tokens[(i*7919+w*n/4)%n]
				if g.get(m.text) != 204 {
					t.Errorf("%s was refused", m.id)
				}
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, n, g.Stats().CacheEntries)
	before := g.store.calls()
	for _, m := range tokens {
		require.Equal(t, 204, g.get(m.text))
	}
	assert.Equal(t, before, g.store.calls())
}

func TestRefusalsAreCountedByReason(t *testing.T) {
	g := newRig(t)
	want := g.Stats().Refused
	for reason, n := range want {
		require.Zero(t, n, reason)
	}
	require.Contains(t, want, apitoken.ErrRetiredSecret, "also what has not happened is counted")
	for _, c := range refusedTokens() {
		r := newRequest("/", "apiToken "+c.text)
		if c.from != "" {
			r.RemoteAddr = c.from
		}
		g.ask(t, r)
		want[c.reason]++
	}
	g.ask(t, newRequest("/"))
	want[apitoken.ErrNoToken]++
	assert.Equal(t, want, g.Stats().Refused)
}
