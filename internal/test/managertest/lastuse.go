package managertest

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestLastUseIsRecordedPerSourceAtMostOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		touching := &touchingStore{Store: s.open(t)}
		w := s.newWorld(t, func(c *apitoken.Config) { c.Store = touching })
		info, secret := w.generate(w.ada)
		other, otherSecret := w.generate(w.grace)
		require.True(t, info.UseRecorded)
		require.Empty(t, info.LastUses)
		for range 1000 {
			require.True(t, w.works(secret, from("10.0.0.1:1")))
			time.Sleep(300 * time.Millisecond) // five minutes in all
		}
		require.True(t, w.works(secret, from("10.0.0.2:1"), func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "apiToken=" + secret.Reveal()
		}))
		byQuery := time.Now().UTC()
		require.True(t, w.works(otherSecret))
		_, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: otherSecret}, apitoken.AnyToken())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.LessOrEqual(t, touching.writes[info.ID], 8, "in seven minutes")
		require.GreaterOrEqual(t, touching.writes[info.ID], 5)
		got, err := w.auth.As(w.ada).Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.Len(t, got.LastUses, 2)
		require.Equal(t, apitoken.LastUse{At: byQuery, From: netip.MustParseAddr("10.0.0.2"), Source: apitoken.QueryParameter("apiToken")}, got.LastUsed())
		require.Equal(t, netip.MustParseAddr("10.0.0.1"), got.LastUses[1].From)
		require.Equal(t, info.Version, got.Version)
		got, err = w.auth.As(w.grace).Get(t.Context(), other.ID)
		require.NoError(t, err)
		require.Len(t, got.LastUses, 2)
	})
}

func (s Suite) TestRefusedRequestsAreNoUseButForAMissingPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		info, secret := w.generate(w.ada)
		reports, reportsSecret := w.generate(w.grace, func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{w.reports} })
		_, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		require.False(t, w.works(secret))
		require.False(t, w.works(reportsSecret))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, w.stored(info.ID).Uses)
		require.Len(t, w.stored(reports.ID).Uses, 1)
	})
}

func (s Suite) TestCloseWritesTheUsesThatWait(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	require.True(t, w.works(secret))
	require.NoError(t, w.auth.Close())
	require.Len(t, w.stored(info.ID).Uses, 1)
	late := func(r *http.Request) { // by another source, which would be recorded separately
		r.Header.Del("Authorization")
		r.URL.RawQuery = "apiToken=" + secret.Reveal()
	}
	require.True(t, w.works(secret, late), "a late request is still judged")
	require.NoError(t, w.auth.Close())
	require.Len(t, w.stored(info.ID).Uses, 1)
	require.EqualValues(t, 1, w.auth.Stats().UsesDropped)
}

func (s Suite) TestASlowOrDeadStoreForUsesSlowsNoRequest(t *testing.T) {
	for what, touch := range map[string]func(context.Context) error{
		"slow":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"dead":    func(context.Context) error { return errors.New("dead") },
		"panics":  func(context.Context) error { panic("touch") },
		"ends":    func(context.Context) error { runtime.Goexit(); return nil },
		"hanging": func(context.Context) error { time.Sleep(time.Hour); return nil },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				touching := &touchingStore{Store: s.open(t), touch: touch}
				w := s.newWorld(t, func(c *apitoken.Config) { c.Store = touching; c.StoreTimeout = time.Second })
				info, secret := w.generate(w.ada)
				const pause = 5 * time.Second // with less, it would be the same use
				for range 20 {
					start := time.Now()
					require.True(t, w.works(secret))
					require.Zero(t, time.Since(start))
					time.Sleep(pause)
				}
				require.LessOrEqual(t, touching.most.Load(), int32(1), "never two at once")
				if what == "hanging" {
					start := time.Now()
					require.Error(t, w.auth.Close())
					require.Equal(t, time.Second, time.Since(start))
					require.NotZero(t, w.auth.Stats().UsesDropped)
					time.Sleep(2 * time.Hour)
					return
				}
				touching.healed.Store(true) // the store recovers, and no use was lost
				last := time.Now().UTC().Add(-pause)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Equal(t, last, w.stored(info.ID).Uses[0].At)
				require.Zero(t, w.auth.Stats().UsesDropped)
			})
		})
	}
}

// A touchingStore counts the uses that are written for each token, and can fail.
type touchingStore struct {
	apitoken.Store
	touch   func(context.Context) error
	healed  atomic.Bool
	writes  map[string]int
	running atomic.Int32
	most    atomic.Int32
}

func (s *touchingStore) Touch(ctx context.Context, uses []apitoken.Use) error {
	s.most.Store(max(s.most.Load(), s.running.Add(1)))
	defer s.running.Add(-1)
	if s.touch != nil && !s.healed.Load() {
		if err := s.touch(ctx); err != nil {
			return err
		}
	}
	if s.writes == nil {
		s.writes = make(map[string]int)
	}
	tokens := map[string]bool{}
	for _, u := range uses {
		tokens[u.ID] = true
	}
	for id := range tokens {
		s.writes[id]++
	}
	return s.Store.(apitoken.Toucher).Touch(ctx, uses)
}
