package managertest

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestExplainNamesAllThatStandsAgainstARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) { c.MaxIdle = time.Hour })
		m := w.auth.As(w.ada)
		inside, outside := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
		info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) {
			g.Networks = prefixes("10.0.0.0/8")
			g.NotBefore = time.Now().Add(time.Minute)
			g.Expiry = apitoken.In(2 * time.Hour)
		})
		explain := func(requirement apitoken.Requirement, from netip.Addr) []apitoken.Reason {
			x, err := m.Explain(t.Context(), info.ID, requirement, from)
			require.NoError(t, err)
			return x.Reasons
		}
		require.Equal(t, []apitoken.Reason{apitoken.ErrNotYetValid, apitoken.ErrAddressNotAllowed, apitoken.ErrMissingPermission}, explain(apitoken.All(w.read, w.write), outside))
		time.Sleep(time.Minute)
		require.Empty(t, explain(apitoken.All(w.read), inside))
		require.Empty(t, explain(apitoken.All(w.read), netip.MustParseAddr("::ffff:10.0.0.1")), "IPv4 in IPv6")
		require.Empty(t, explain(apitoken.Any(w.read, w.write), netip.Addr{}))
		require.True(t, w.works(secret, from("10.0.0.1:1")))
		_, err := m.Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		require.Equal(t, []apitoken.Reason{apitoken.ErrDeactivated, apitoken.ErrExpired, apitoken.ErrIdle}, explain(apitoken.AnyToken(), inside))
		// A request is refused for the first reason that Explain names.
		require.False(t, w.works(secret, from("10.0.0.1:1")))
		require.Equal(t, apitoken.ErrDeactivated, w.lastEvent().Reason)

		_, err = m.Explain(t.Context(), info.ID, apitoken.Requirement{}, inside)
		require.Equal(t, "requirement", fieldOf(err))
		_, err = w.auth.As(w.grace).Explain(t.Context(), info.ID, apitoken.AnyToken(), inside)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	})
}
