package apitoken_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A watched is a store whose feed the test controls.
type watched struct {
	apitoken.Store
	feeds chan apitoken.Feed // one for each call of Watch
	end   chan func() error  // how that call ends
}

func (s *watched) Watch(ctx context.Context, feed apitoken.Feed) error {
	s.feeds <- feed
	select {
	case f := <-s.end:
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newWatched(t *testing.T, edit ...func(*apitoken.Config)) (*rig, *watched) {
	s := &watched{feeds: make(chan apitoken.Feed), end: make(chan func() error)}
	g := newRig(t, append(edit, func(c *apitoken.Config) {
		s.Store = c.Store
		c.Store = s
	})...)
	return g, s
}

// deactivateElsewhere changes a token as another node would.
func (g *rig) deactivateElsewhere(t *testing.T, id string) {
	rec, err := g.store.Store.Get(t.Context(), id)
	require.NoError(t, err)
	rec.Version++
	rec.Status = apitoken.StatusInactive
	require.NoError(t, g.store.Store.Replace(t.Context(), rec))
}

func TestAFeedThatIsCurrentKeepsTokensInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t, func(c *apitoken.Config) { c.MaxCacheAge = time.Hour })
		feed := <-s.feeds
		assert.Equal(t, 250*time.Millisecond, feed.Interval())
		feed.Reset()
		for range 100 {
			feed.CaughtUp(time.Now())
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(time.Second)
		}
		require.Equal(t, 1, g.store.calls())
		assert.True(t, g.Stats().Feed)
		assert.Equal(t, time.Second, g.Stats().FeedAge)
		time.Sleep(time.Nanosecond)
		require.Equal(t, 204, g.get(goodToken.text))
		require.Equal(t, 2, g.store.calls(), "it fell silent, and the lease ran out")
	})
}

func TestWhatTheFeedReportsIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		feed := <-s.feeds
		feed.Reset()
		feed.CaughtUp(time.Now())
		for _, m := range []minted{goodToken, bothToken} {
			require.Equal(t, 204, g.get(m.text))
		}
		g.deactivateElsewhere(t, goodToken.id)
		feed.Changed("nobody", goodToken.id)
		require.Equal(t, 401, g.get(goodToken.text))
		require.Equal(t, 204, g.get(bothToken.text))
		require.Equal(t, 3, g.store.calls())
	})
}

func TestACallThatWasUnderWayWhenTheFeedReportedAChangeIsNotKept(t *testing.T) {
	for _, report := range []func(apitoken.Feed){
		func(f apitoken.Feed) { f.Changed(goodToken.id) },
		func(f apitoken.Feed) { f.Reset() },
	} {
		synctest.Test(t, func(t *testing.T) {
			g, s := newWatched(t, func(c *apitoken.Config) { c.Observe = nil })
			feed := <-s.feeds
			feed.Reset()
			feed.CaughtUp(time.Now())
			release := gated(g)
			early := make(chan int, 1)
			go func() { early <- g.get(goodToken.text) }()
			synctest.Wait()
			g.deactivateElsewhere(t, goodToken.id)
			report(feed)
			feed.CaughtUp(time.Now())
			require.Equal(t, 401, g.get(goodToken.text))
			close(release)
			require.Equal(t, 204, <-early)
			synctest.Wait()
			require.Equal(t, 401, g.get(goodToken.text))
		})
	}
}

func TestAFeedCountsFromItsResetOnAndNotAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		feed := <-s.feeds
		stale := func(why string) {
			t.Helper()
			calls := g.store.calls()
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(time.Second + 1)
			feed.CaughtUp(time.Now())
			require.Equal(t, 204, g.get(goodToken.text))
			require.Equal(t, calls+2, g.store.calls(), why)
			time.Sleep(time.Second + 1)
		}
		stale("there was no Reset yet")
		require.Equal(t, 204, g.get(goodToken.text))
		calls := g.store.calls()
		feed.Reset()
		require.Equal(t, 204, g.get(goodToken.text))
		require.Equal(t, calls+1, g.store.calls(), "Reset makes all that was read stale")
		time.Sleep(time.Second + 1)
		feed.CaughtUp(time.Now())
		require.True(t, g.Stats().Feed)
		feed.Reset()
		require.False(t, g.Stats().Feed, "nothing is reported since")
		s.end <- func() error { return errors.New("cut") }
		synctest.Wait()
		stale("Watch has returned")
		feed.Reset()
		stale("Watch has returned, and Reset is too late")
		next := <-s.feeds
		stale("there is another call of Watch")
		next.Reset()
		next.CaughtUp(time.Now())
		require.Equal(t, 204, g.get(goodToken.text))
		calls = g.store.calls()
		time.Sleep(time.Second + 1)
		next.CaughtUp(time.Now())
		require.Equal(t, 204, g.get(goodToken.text))
		require.Equal(t, calls, g.store.calls())
		require.EqualValues(t, 3, g.Stats().Resets)
	})
}

func TestAFeedCannotBeCurrentAheadOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		feed := <-s.feeds
		feed.Reset()
		for _, at := range []func() time.Time{
			func() time.Time { return time.Now().Add(time.Hour) },
			func() time.Time { return time.Time{} },
			func() time.Time { return time.Now().Add(-time.Second - 1) },
		} {
			require.Equal(t, 204, g.get(goodToken.text))
			calls := g.store.calls()
			time.Sleep(time.Second + 1)
			feed.CaughtUp(at())
			require.Equal(t, 204, g.get(goodToken.text))
			require.Equal(t, calls+1, g.store.calls())
			time.Sleep(time.Second + 1)
		}
	})
}

func TestAFeedCannotBeCurrentAtATimeWithoutMonotonicReading(t *testing.T) {
	g, s := newWatched(t, func(c *apitoken.Config) { c.MaxStaleness = time.Hour })
	feed := <-s.feeds
	feed.Reset()
	feed.CaughtUp(time.Now().Round(0))
	assert.False(t, g.Stats().Feed)
	feed.CaughtUp(time.Now())
	assert.True(t, g.Stats().Feed)
}

func TestAFeedThatBreaksIsBegunAgainAndTheObserverIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		for _, end := range []func() error{
			func() error { return errors.New("cut") },
			func() error { return nil },
			func() error { panic("x") },
			func() error { runtime.Goexit(); return nil },
		} {
			feed := <-s.feeds
			feed.Reset()
			start := time.Now()
			s.end <- end
			(<-s.feeds).Reset()
			assert.Equal(t, 50*time.Millisecond, time.Since(start))
			ev := g.event(t)
			assert.Equal(t, "watch", string(ev.Action))
			assert.Equal(t, apitoken.ErrUnavailable, ev.Reason)
			assert.ErrorContains(t, ev.Err, "the feed of changes was lost")
			s.end <- func() error { return errors.New("cut") }
			synctest.Wait()
			g.event(t)
		}
		<-s.feeds
		for range 10 { // without ever standing
			s.end <- func() error { return errors.New("refused") }
			start := time.Now()
			<-s.feeds
			assert.LessOrEqual(t, time.Since(start), time.Second)
			if len(g.events) > 6 {
				assert.Equal(t, time.Second, time.Since(start), "it is not hammered")
			}
		}
	})
}

func TestCloseEndsTheWatcherAndGivesUpOnOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newWatched(t)
		<-s.feeds
		require.NoError(t, g.Close())
		require.Equal(t, 204, g.get(goodToken.text))
		require.NoError(t, g.Close())

		release := make(chan struct{})
		hanging := hangingWatcher{memory.New(), release}
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, Store: hanging})
		require.NoError(t, err)
		start := time.Now()
		require.ErrorContains(t, auth.Close(), "does not end")
		require.Equal(t, 2*time.Second, time.Since(start))
		close(release)
	})
}

type hangingWatcher struct {
	apitoken.Store
	release chan struct{}
}

func (s hangingWatcher) Watch(context.Context, apitoken.Feed) error { <-s.release; return nil }

func TestAFeedIsNotAskedForMoreOftenThanHelps(t *testing.T) {
	for maxStaleness, interval := range map[time.Duration]time.Duration{
		time.Millisecond:       10 * time.Millisecond,
		100 * time.Millisecond: 25 * time.Millisecond,
		time.Second:            250 * time.Millisecond,
	} {
		g, s := newWatched(t, func(c *apitoken.Config) { c.MaxStaleness = maxStaleness })
		assert.Equal(t, interval, (<-s.feeds).Interval(), "%v", maxStaleness)
		require.NoError(t, g.Close())
	}
}
