package managertest

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestAGeneratedTokenIsUsedDeactivatedActivatedAndDeleted(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	m := w.auth.As(w.ada)
	require.True(t, w.works(secret))

	got, err := m.Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusInactive, got.Status)
	require.Equal(t, "ada", got.DeactivatedBy)
	require.False(t, got.DeactivatedAt.IsZero())
	require.False(t, w.works(secret))
	require.Equal(t, apitoken.ErrDeactivated, w.lastEvent().Reason)

	got, err = m.Activate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusActive, got.Status)
	require.Zero(t, got.DeactivatedBy)
	require.True(t, got.DeactivatedAt.IsZero())
	require.True(t, w.works(secret))

	require.NoError(t, m.Delete(t.Context(), info.ID))
	require.False(t, w.works(secret))
	require.Equal(t, apitoken.ErrUnknownToken, w.lastEvent().Reason)
	got, err = m.Get(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusDeleted, got.Status)
	require.ErrorIs(t, m.Delete(t.Context(), info.ID), apitoken.ErrNotFound)
}

func (s Suite) TestGenerateReturnsWhatItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		start := time.Now().UTC()
		info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) {
			g.Name = "  <b>nightly</b> 🦉 \u200b"
			g.Description = "what it is for"
			g.Permissions = []apitoken.Permission{w.write, w.read, w.write}
			g.Expiry = apitoken.In(time.Hour)
			g.NotBefore = start.Add(time.Minute)
			g.Networks = prefixes("10.1.2.3/8", "::ffff:192.0.2.1/120", "2001:db8::1/32", "10.0.0.0/8")
		})
		require.Equal(t, "  <b>nightly</b> 🦉 \u200b", info.Name)
		require.Equal(t, "what it is for", info.Description)
		require.Equal(t, []apitoken.Permission{w.read, w.write}, info.Permissions)
		require.Equal(t, "ada", info.Owner)
		require.Equal(t, "ada", info.CreatedBy)
		require.Equal(t, "demo", info.Environment)
		require.True(t, info.CreatedAt.Equal(start))
		require.True(t, info.ExpiresAt.Equal(start.Add(time.Hour)))
		require.True(t, info.NotBefore.Equal(start.Add(time.Minute)))
		require.Equal(t, apitoken.StatusPending, info.Status)
		require.Equal(t, prefixes("10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"), info.Networks)
		require.True(t, strings.HasPrefix(secret.Reveal(), info.DisplayID), "display ID %q", info.DisplayID)
		require.Equal(t, "acme_"+info.ID, info.DisplayID)

		again, err := w.auth.As(w.ada).Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.Equal(t, info, again)
	})
}

func (s Suite) TestGenerateRefusesBadInputNamingTheFieldAndStoresNothing(t *testing.T) {
	w := s.newWorld(t)
	foreign := new(apitoken.Catalog)
	other := foreign.Define("devices:read", "of another service")
	for _, c := range []struct {
		what, field string
		edit        func(*apitoken.GenerateParams)
	}{
		{"no name", "name", func(g *apitoken.GenerateParams) { g.Name = "" }},
		{"a blank name", "name", func(g *apitoken.GenerateParams) { g.Name = " \u00a0 " }},
		{"a name of 201 characters", "name", func(g *apitoken.GenerateParams) { g.Name = strings.Repeat("é", 201) }},
		{"a newline in the name", "name", func(g *apitoken.GenerateParams) { g.Name = "a\nb" }},
		{"a NUL in the name", "name", func(g *apitoken.GenerateParams) { g.Name = "a\x00b" }},
		{"a C1 control in the name", "name", func(g *apitoken.GenerateParams) { g.Name = "a\u0085b" }},
		{"a line separator in the name", "name", func(g *apitoken.GenerateParams) { g.Name = "a\u2028b" }},
		{"a name that shows nothing", "name", func(g *apitoken.GenerateParams) { g.Name = "\u200b" }},
		{"a name that reads in another order", "name", func(g *apitoken.GenerateParams) { g.Name = "\u202eevil" }},
		{"a name that is not UTF-8", "name", func(g *apitoken.GenerateParams) { g.Name = "a\xffb" }},
		{"a long description", "description", func(g *apitoken.GenerateParams) { g.Description = strings.Repeat("x", 1001) }},
		{"no permissions", "permissions", func(g *apitoken.GenerateParams) { g.Permissions = nil }},
		{"the zero permission", "permissions", func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{{}} }},
		{"a permission of another catalog", "permissions", func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{other} }},
		{"no expiry", "expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.Expiry{} }},
		{"an expiry of zero", "expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(0) }},
		{"a negative expiry", "expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(-time.Hour) }},
		{"a past expiry", "expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(time.Now().Add(-time.Second)) }},
		{"an expiry at the zero time", "expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(time.Time{}) }},
		{"an expiry in the year 10000", "expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) }},
		{"not before the expiry", "not_before", func(g *apitoken.GenerateParams) {
			g.Expiry = apitoken.In(time.Hour)
			g.NotBefore = time.Now().Add(2 * time.Hour)
		}},
		{"not before the year 10000", "not_before", func(g *apitoken.GenerateParams) { g.NotBefore = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"the zero network", "allowed_networks", func(g *apitoken.GenerateParams) { g.Networks = []netip.Prefix{{}} }},
		{"65 networks", "allowed_networks", func(g *apitoken.GenerateParams) { g.Networks = slices.Repeat(prefixes("10.0.0.0/8"), 65) }},
		{"a v4-in-v6 network wider than v4", "allowed_networks", func(g *apitoken.GenerateParams) {
			g.Networks = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 90)}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			g := apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}
			c.edit(&g)
			info, secret, err := w.auth.As(w.admin).Generate(t.Context(), g)
			require.Equal(t, c.field, fieldOf(err), "%v", err)
			require.Nil(t, info)
			require.Empty(t, secret.Reveal())
		})
	}
	list, err := w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Zero(t, list.Count)
}

func (s Suite) TestANameOf200CharactersOfAnyUnicodeIsKept(t *testing.T) {
	w := s.newWorld(t)
	for _, name := range []string{strings.Repeat("🎉", 200), strings.Repeat("é", 200), "<script>", `"'` + "`", "\u200bevil", "a\u0301"} {
		info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = name })
		require.Equal(t, name, w.stored(info.ID).Name)
	}
}
