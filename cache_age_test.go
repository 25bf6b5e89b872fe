package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A liar is a Store whose feed looks healthy and reports no change.
type liar struct{ apitoken.Store }

func (l liar) Watch(ctx context.Context, feed apitoken.Feed) error {
	feed.Reset()
	for {
		feed.CaughtUp(time.Now())
		select {
		case <-time.After(feed.Interval()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newLiarRig(t *testing.T, edit ...func(*apitoken.Config)) *rig {
	g := newRig(t, append(edit, func(c *apitoken.Config) { c.Store = liar{c.Store} })...)
	synctest.Wait()
	require.True(t, g.Stats().Feed)
	return g
}

func TestAWatcherThatLiesIsBelievedForMaxCacheAgeAtMost(t *testing.T) {
	for _, age := range []time.Duration{0, 10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			g := newLiarRig(t, func(c *apitoken.Config) { c.MaxCacheAge = age })
			limit := age
			if age == 0 {
				limit = time.Minute
			}
			require.Equal(t, 204, g.get(goodToken.text))
			read := time.Now()
			g.deactivateElsewhere(t, goodToken.id)
			time.Sleep(limit / 2)
			require.Equal(t, 204, g.get(goodToken.text), "nobody has said that it changed")
			time.Sleep(time.Until(read.Add(limit)))
			assert.Equal(t, 401, g.get(goodToken.text))
			assert.Equal(t, 2, g.store.calls())
			assert.EqualValues(t, 1, g.Stats().Expired)
		})
	}
}

func TestMaxCacheAgeCountsFromBeforeTheStoreWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLiarRig(t, func(c *apitoken.Config) { c.MaxStaleness, c.MaxCacheAge = 20*time.Second, 20*time.Second })
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			rec, err := g.store.Store.Get(ctx, id)
			time.Sleep(time.Second)
			return rec, err
		}
		require.Equal(t, 204, g.get(goodToken.text))
		g.deactivateElsewhere(t, goodToken.id)
		time.Sleep(19 * time.Second)
		assert.Equal(t, 204, g.get(goodToken.text), "MaxStaleness is promised in full")
		time.Sleep(time.Nanosecond)
		assert.Equal(t, 401, g.get(goodToken.text))
	})
}

func TestATokenInUseIsReadOnceInEachHalfToWholeMaxCacheAge(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, func(t *testing.T) {
		g := newLiarRig(t, func(c *apitoken.Config) { c.Observe = nil })
		const tenth, minutes = time.Second / 10, 60
		var reads []time.Time
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			reads = append(reads, time.Now())
			return g.store.Store.Get(ctx, id)
		}
		for range minutes * time.Minute / tenth {
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(tenth)
		}
		for i, read := range reads[1:] {
			gap := read.Sub(reads[i])
			assert.GreaterOrEqual(t, gap, 30*time.Second)
			assert.LessOrEqual(t, gap, time.Minute+tenth)
		}
		assert.InDelta(t, minutes*60/45, len(reads), 10, "once in 45 s on average")
	})
}

func TestTokensThatWereReadTogetherAreNotReadAgainTogether(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, func(t *testing.T) {
		g := newLiarRig(t, func(c *apitoken.Config) { c.Observe = nil })
		const n = 1000
		tokens := make([]minted, n)
		for i := range tokens {
			tokens[i] = mint(fmt.Sprint("together ", i))
			require.NoError(t, g.store.Create(t.Context(), tokens[i].record(wireRead)))
			require.Equal(t, 204, g.get(tokens[i].text))
		}
		time.Sleep(30 * time.Second)
		perSecond := make([]int, 30)
		for second := range perSecond {
			time.Sleep(time.Second)
			before := g.store.calls()
			for _, m := range tokens {
				require.Equal(t, 204, g.get(m.text))
			}
			perSecond[second] = g.store.calls() - before
		}
		t.Log(perSecond)
		assert.Equal(t, 2*n, g.store.calls(), "each once more")
		assert.Less(t, slices.Max(perSecond), 3*n/len(perSecond))
	})
}

func TestATokenThatIsDueIsReadOnceForAllWhoAskForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLiarRig(t, func(c *apitoken.Config) { c.Observe = nil })
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(time.Minute)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(time.Second / 10)
			return g.store.Store.Get(ctx, id)
		}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { assert.Equal(t, 204, g.get(goodToken.text)) })
		}
		all.Wait()
		assert.Equal(t, 2, g.store.calls())
	})
}

func TestATokenThatIsDueWhileTheStoreIsAwayIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLiarRig(t)
		require.Equal(t, 204, g.get(goodToken.text))
		g.store.get = func(context.Context, string) (apitoken.Record, error) {
			return apitoken.Record{}, errors.New("connection refused")
		}
		time.Sleep(30 * time.Second)
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(30 * time.Second)
		for range 2 {
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			mustRefuse(t, a, s, unavailable, "")
		}
		g.store.get = nil
		w := httptest.NewRecorder()
		g.Require(wireRead)(new(spy)).ServeHTTP(w, newRequest("/", "apiToken "+goodToken.text))
		assert.Equal(t, 204, w.Code)
	})
}

func TestWithoutAMaxCacheAgeALongerMaxStalenessIsTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLiarRig(t, func(c *apitoken.Config) { c.MaxStaleness = 5 * time.Minute })
		require.Equal(t, 204, g.get(goodToken.text))
		g.deactivateElsewhere(t, goodToken.id)
		time.Sleep(5 * time.Minute)
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, 401, g.get(goodToken.text))
	})
}
