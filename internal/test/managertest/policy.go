package managertest

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
)

func (s Suite) TestExpiryAndNotBeforeAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		_, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) {
			g.NotBefore = time.Now().Add(time.Hour)
			g.Expiry = apitoken.In(2 * time.Hour)
		})
		for _, c := range []struct {
			after  time.Duration
			reason apitoken.Reason
		}{
			{0, apitoken.ErrNotYetValid},
			{time.Hour - time.Microsecond, apitoken.ErrNotYetValid},
			{time.Hour, ""},
			{2*time.Hour - time.Microsecond, ""},
			{2 * time.Hour, apitoken.ErrExpired},
			{1000 * time.Hour, apitoken.ErrExpired},
		} {
			time.Sleep(time.Until(w.events[0].Time.Add(c.after)))
			require.Equal(t, c.reason == "", w.works(secret), "after %v", c.after)
			require.Equal(t, c.reason, w.lastEvent().Reason, "after %v", c.after)
		}
	})
}

func (s Suite) TestAPolicyBindsTokensThatWereIssuedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := s.open(t)
		before := s.newWorldOn(t, store)
		_, forever := before.generate(before.ada)
		short, _ := before.generate(before.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(time.Hour) })
		start := time.Now()

		w := s.newWorldOn(t, store, func(c *apitoken.Config) { c.MaxLifetime = 24 * time.Hour })
		time.Sleep(24*time.Hour - time.Microsecond)
		require.True(t, w.works(forever))
		time.Sleep(time.Microsecond)
		require.False(t, w.works(forever))
		require.Equal(t, apitoken.ErrExpired, w.lastEvent().Reason)
		require.True(t, before.works(forever), "it is the policy")
		x, err := w.auth.As(w.ada).Explain(t.Context(), short.ID, apitoken.AnyToken(), netip.Addr{})
		require.NoError(t, err)
		require.True(t, x.ExpiresAt.Equal(start.Add(time.Hour)), "the sooner of the two")

		m := w.auth.As(w.ada)
		for what, expiry := range map[string]apitoken.Expiry{"never": apitoken.Never(), "too late": apitoken.In(24*time.Hour + time.Second)} {
			_, _, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: expiry})
			require.Equal(t, "expiry", fieldOf(err), what)
		}
		info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(24 * time.Hour) })
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.Never()})
		require.Equal(t, "expiry", fieldOf(err))
		time.Sleep(time.Hour)
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.In(24 * time.Hour)})
		require.Equal(t, "expiry", fieldOf(err), "its life began an hour ago")
	})
}

func (s Suite) TestATokenThatIsNotUsedForTooLongIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) { c.MaxIdle = 24 * time.Hour })
		info, secret := w.generate(w.ada)
		for range 3 {
			time.Sleep(23 * time.Hour)
			require.True(t, w.works(secret))
			time.Sleep(2 * time.Minute)
			synctest.Wait()
		}
		time.Sleep(24 * time.Hour)
		require.False(t, w.works(secret))
		require.Equal(t, apitoken.ErrIdle, w.lastEvent().Reason)
		time.Sleep(2 * time.Minute)
		require.False(t, w.works(secret), "trying it is not using it")
		got, err := w.auth.As(w.ada).Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.Equal(t, apitoken.StatusExpired, got.Status)
	})
	_, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: s.open(t), MaxIdle: time.Minute})
	require.Equal(t, "Config.MaxIdle", fieldOf(err))
	_, err = apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: struct{ apitoken.Store }{s.open(t)}, MaxIdle: 24 * time.Hour})
	require.Equal(t, "Config.MaxIdle", fieldOf(err), "a store that does not record use")
}

func (s Suite) TestAListJudgesTheStatusByThePolicyLikeEverythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := s.open(t)
		before := s.newWorldOn(t, store)
		before.generate(before.ada)
		w := s.newWorldOn(t, store, func(c *apitoken.Config) { c.MaxLifetime = 48 * time.Hour; c.MaxIdle = 24 * time.Hour })
		count := func(status apitoken.Status) int {
			page, err := w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{Status: status})
			require.NoError(t, err)
			for _, tok := range page.Tokens {
				require.Equal(t, status, tok.Status)
			}
			return page.Count
		}
		require.Equal(t, 1, count(apitoken.StatusActive))
		require.Equal(t, 0, count(apitoken.StatusExpired))
		time.Sleep(24 * time.Hour)
		require.Equal(t, 0, count(apitoken.StatusActive))
		require.Equal(t, 1, count(apitoken.StatusExpired))
	})
}

// preview returns the tokens that a policy would stop.
func preview(t *testing.T, m *apitoken.Manager, p apitoken.Policy) (stopped []*apitoken.TokenInfo, err error) {
	for in, err := range reports.PreviewPolicy(t.Context(), m, p) {
		if err != nil {
			return nil, err
		}
		stopped = append(stopped, in)
	}
	return stopped, nil
}

func (s Suite) TestAPolicyCanBePreviewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		for range 30 {
			w.generate(w.ada)
			w.generate(w.grace)
		}
		w.generate(w.eve)
		w.generate(w.grace, func(g *apitoken.GenerateParams) { g.NotBefore = time.Now().Add(96 * time.Hour) })
		inactive, _ := w.generate(w.ada)
		_, err := w.auth.As(w.ada).Deactivate(t.Context(), inactive.ID)
		require.NoError(t, err)
		time.Sleep(48 * time.Hour)
		fresh, _ := w.generate(w.admin)
		m := w.auth.As(w.admin)

		got, err := preview(t, m, apitoken.Policy{MaxLifetime: 24 * time.Hour})
		require.NoError(t, err)
		require.Len(t, got, 61)
		owners := map[string]bool{}
		for _, tok := range got {
			owners[tok.Owner] = true
		}
		require.Equal(t, map[string]bool{"ada": true, "grace": true}, owners)
		got, err = preview(t, m, apitoken.Policy{MaxLifetime: 72 * time.Hour})
		require.NoError(t, err)
		require.Empty(t, got)
		got, err = preview(t, m, apitoken.Policy{MaxIdle: 24 * time.Hour})
		require.NoError(t, err)
		require.Len(t, got, 61)
		for _, tok := range got {
			require.NotEqual(t, fresh.ID, tok.ID)
			require.NotEqual(t, inactive.ID, tok.ID)
		}
		_, err = preview(t, w.auth.As(w.ada), apitoken.Policy{})
		require.True(t, isForbidden(err))
		_, err = preview(t, m, apitoken.Policy{MaxIdle: -1})
		require.Equal(t, "policy", fieldOf(err))
		_, err = preview(t, w.auth.As(apitoken.Actor{}), apitoken.Policy{})
		require.True(t, isForbidden(err))
	})
}
