package apitoken_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// What requests are judged by is the library's own copy of a record.

func TestWhatAStoreDoesToARecordThatItReturnedDoesNotReachWhatIsInMemory(t *testing.T) {
	kept := networkToken.record(wireRead)
	kept.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness = time.Hour })
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return kept, nil }
	ask := func() int {
		r := newRequest("/", "apiToken "+networkToken.text)
		r.RemoteAddr = otherPeer
		a, _ := g.ask(t, r)
		return a.status
	}
	require.Equal(t, 401, ask())
	kept.Networks[0] = netip.MustParsePrefix("203.0.113.0/24")
	kept.Permissions[0] = "devices:write"
	clear(kept.Secrets[0].Digest)
	require.Equal(t, 401, ask())
	require.Equal(t, 1, g.store.calls())
}

func TestTextsOfEveryLengthAreShownAsTheyAreAndTooLongOnesRefused(t *testing.T) {
	for _, n := range []int{1, 63 - len(goodToken.id), 64 - len(goodToken.id), 65 - len(goodToken.id), 255, 256, 400, 1<<16 - 1 - len(goodToken.id)} {
		rec := goodToken.record(wireRead)
		rec.Owner = strings.Repeat("o", max(1, n/2))
		rec.Name = strings.Repeat("n", n-n/2)
		g := newRig(t)
		g.store.get = func(context.Context, string) (apitoken.Record, error) { return rec, nil }
		tok, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.All(wireRead))
		require.NoError(t, err, n)
		assert.Equal(t, rec.Owner, tok.Owner())
		assert.Equal(t, rec.Name, tok.Name())
		assert.Equal(t, rec.ID, tok.ID())
	}
	rec := goodToken.record(wireRead)
	rec.Name = strings.Repeat("n", 1<<16)
	g := newRig(t)
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return rec, nil }
	require.Equal(t, 503, g.get(goodToken.text))
}

func TestAPortThatIsNoNumberIsNoAddress(t *testing.T) {
	g := newRig(t)
	for _, from := range []string{"192.0.2.9:1a", "192.0.2.9:", "192.0.2.9", "192.0.2.9:65536", "192.0.2.9:-1"} {
		r := newRequest("/", "apiToken "+networkToken.text)
		r.RemoteAddr = from
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, invalidToken, "")
	}
}

func TestVersionsBeginAnywhereBelow52Bits(t *testing.T) {
	g := newRig(t)
	var bits int64
	for range 64 {
		info, _ := g.generate(t)
		require.GreaterOrEqual(t, info.Version, int64(1<<51))
		require.Less(t, info.Version, int64(1<<52))
		bits |= info.Version
	}
	assert.EqualValues(t, int64(1<<52-1), bits, "64 versions, and a bit is set in none of them")
}

// Uses.

func TestUsesByEachSourceAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var source []apitoken.Source
		g, _ := newTouchRig(t, func(_ context.Context, uses []apitoken.Use) error {
			for _, u := range uses {
				source = append(source, u.Source)
			}
			return nil
		})
		require.Equal(t, 204, g.get(goodToken.text))
		a, s := g.ask(t, newRequest("/?apiToken="+goodToken.text))
		require.Equal(t, 204, a.status)
		require.Equal(t, 1, s.called())
		_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production"}, apitoken.AnyToken())
		require.NoError(t, err)
		require.NoError(t, g.Close())
		assert.ElementsMatch(t, []apitoken.Source{apitoken.Direct, apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken")}, source)
	})
}

func TestUsesThatWaitAreBounded(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, func(t *testing.T) {
		// No time passes in which they could be written.
		var m minted
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, MaxStaleness: apitoken.NoCache,
			Store: &touchStore{
				Store: &tapStore{get: func(context.Context, string) (apitoken.Record, error) { return m.record(wireRead), nil }},
				touch: func(context.Context, []apitoken.Use) error { return nil },
			},
		})
		require.NoError(t, err)
		const most, more = 1 << 17, 10
		for i := range most + more {
			m = mint(fmt.Sprint(i))
			_, err := auth.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(m.text)}, apitoken.AnyToken())
			require.NoError(t, err)
		}
		assert.EqualValues(t, more, auth.Stats().UsesDropped)
		require.NoError(t, auth.Close())
	})
}

// The feed, as operators see it.

func TestAFeedIsNotCurrentAfterAResetAndNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		feed := <-s.feeds
		feed.Reset()
		assert.False(t, g.Stats().Feed)
		feed.CaughtUp(time.Now())
		assert.True(t, g.Stats().Feed)
		time.Sleep(time.Second)
		feed.CaughtUp(time.Now())
		feed.CaughtUp(time.Now().Add(-time.Second / 2))
		assert.Zero(t, g.Stats().FeedAge, "an earlier moment takes nothing back")
		feed.Reset()
		assert.False(t, g.Stats().Feed)
	})
}

func TestTheObserverIsToldWhyAFeedWasLostAndNothingWhenItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		<-s.feeds
		s.end <- func() error { return fmt.Errorf("cut at %d", 17) }
		<-s.feeds
		assert.ErrorContains(t, g.event(t).Err, "cut at 17")
		s.end <- func() error { return nil }
		<-s.feeds
		assert.ErrorContains(t, g.event(t).Err, "returned without an error")
		require.NoError(t, g.Close())
		synctest.Wait()
		assert.Empty(t, g.events)
	})
}

// Look-ups.

func TestTheContextOfALookUpIsOverAfterIt(t *testing.T) {
	var kept context.Context
	g := newRig(t)
	g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
		assert.NoError(t, ctx.Err())
		kept = ctx
		return g.store.Store.Get(ctx, id)
	}
	require.Equal(t, 204, g.get(goodToken.text))
	assert.ErrorIs(t, kept.Err(), context.Canceled)
}

func TestTheContextOfALookUpIsOverWhenItsTimeIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.StoreTimeout = time.Second })
		seen := make(chan [2]error, 1)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(time.Second - time.Nanosecond)
			before := ctx.Err()
			time.Sleep(2 * time.Nanosecond)
			seen <- [2]error{before, ctx.Err()}
			return apitoken.Record{}, ctx.Err()
		}
		require.Equal(t, 503, g.get(goodToken.text))
		assert.Equal(t, [2]error{nil, context.DeadlineExceeded}, <-seen)
	})
}

func TestNothingIsReadForAClientThatIsGone(t *testing.T) {
	for _, maxStaleness := range []time.Duration{time.Second, apitoken.NoCache} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, func(c *apitoken.Config) { c.MaxStaleness = maxStaleness })
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text).WithContext(ctx))
			mustRefuse(t, a, s, unavailable, "")
			synctest.Wait()
			assert.Zero(t, g.store.calls())
		})
	}
}

// A flood of guesses must not keep those out who have shown the right secret, and
// whose token is only to be read anew.
func TestWhoIsKnownDoesNotQueueBehindAFloodOfUnknownTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups, c.Observe = 4, nil })
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(2 * time.Second) // the lease is over
		release := make(chan struct{})
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			if id != goodToken.id {
				<-release
			}
			return g.store.Store.Get(context.WithoutCancel(ctx), id)
		}
		for i := range 20 {
			go g.get(mint(fmt.Sprint("guess ", i)).text)
		}
		synctest.Wait()
		start := time.Now()
		go g.get(goodToken.with(mint("other").secret)) // who knows the ID alone is not known
		synctest.Wait()
		require.Equal(t, 204, g.get(goodToken.text))
		require.Zero(t, time.Since(start))
		close(release)
	})
}

func TestWhoKnowsTheIDAloneQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups, c.Observe = 4, nil })
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(2 * time.Second)
		release := make(chan struct{})
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			<-release
			return g.store.Store.Get(context.WithoutCancel(ctx), id)
		}
		for i := range 4 {
			go g.get(mint(fmt.Sprint("guess ", i)).text)
		}
		synctest.Wait()
		calls := g.store.calls()
		go g.get(goodToken.with(mint("other").secret))
		synctest.Wait()
		assert.Equal(t, calls, g.store.calls())
		close(release)
	})
}

func TestAnAnswerThatIsExactlyMaxStalenessOldIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(time.Second)
			return g.store.Store.Get(ctx, id)
		}
		require.Equal(t, 204, g.get(goodToken.text))
		assert.Equal(t, 1, g.store.calls())
	})
}

func TestTheErrorSaysWhetherTheStoreWasSlowOrBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups = 1 })
		g.store.get = func(context.Context, string) (apitoken.Record, error) {
			<-release
			return apitoken.Record{}, apitoken.ErrNotFound
		}
		_, err := g.As(ada).Get(t.Context(), goodToken.id)
		assert.ErrorContains(t, err, "no answer from the store")
		require.Equal(t, 503, g.get(goodToken.text))
		assert.ErrorContains(t, g.event(t).Err, "no answer from the store")
		require.Equal(t, 503, g.get(bothToken.text))
		assert.ErrorContains(t, g.event(t).Err, "1 calls of the store are running")
		close(release)
	})
}

func TestTheChannelOfALookUpsContextIsClosedAfterItWhoeverAsksForItWhen(t *testing.T) {
	var early, late context.Context
	g := newRig(t)
	g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
		if id == goodToken.id {
			early = ctx
			ctx.Done()
		} else {
			late = ctx
		}
		return g.store.Store.Get(ctx, id)
	}
	require.Equal(t, 204, g.get(goodToken.text))
	require.Equal(t, 204, g.get(bothToken.text))
	for _, ctx := range []context.Context{early, late} {
		<-ctx.Done()
		assert.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

func TestTheZeroTokenHasNothingToShow(t *testing.T) {
	var tok apitoken.Token
	assert.True(t, tok.IsZero())
	assert.True(t, tok.ExpiresAt().IsZero())
	assert.Empty(t, tok.ID()+tok.Owner()+tok.Name()+tok.Environment())
	assert.Empty(t, tok.Permissions())
	assert.Empty(t, tok.Assigned())
	assert.False(t, tok.Has(wireRead))
}

func TestATokenInMemoryTakesThreeCacheLines(t *testing.T) {
	if strconv.IntSize != 64 {
		t.Skip("pointers are smaller here")
	}
	assert.EqualValues(t, 192+16, apitoken.EntrySize, "the collector reads the 16 only")
}
