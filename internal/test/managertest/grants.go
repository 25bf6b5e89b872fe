package managertest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestNobodyGrantsWhatTheyDoNotHave(t *testing.T) {
	// The token has devices:read and reports:read, and its owner has lost the latter.
	soon := func() time.Time { return time.Now().Add(time.Hour) }
	for _, c := range []struct {
		what   string
		make   func(*apitoken.GenerateParams)
		update func(w *world) apitoken.UpdateParams
	}{
		{"add a permission", nil, func(w *world) apitoken.UpdateParams {
			return apitoken.UpdateParams{Permissions: new([]apitoken.Permission{w.read, w.reports, w.write})}
		}},
		{"a later expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(soon()) },
			func(w *world) apitoken.UpdateParams { return apitoken.UpdateParams{Expiry: apitoken.In(2 * time.Hour)} }},
		{"no expiry", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(soon()) },
			func(w *world) apitoken.UpdateParams { return apitoken.UpdateParams{Expiry: apitoken.Never()} }},
		{"an earlier not-before", func(g *apitoken.GenerateParams) { g.NotBefore = soon() },
			func(w *world) apitoken.UpdateParams { return apitoken.UpdateParams{NotBefore: new(time.Now())} }},
		{"no not-before", func(g *apitoken.GenerateParams) { g.NotBefore = soon() },
			func(w *world) apitoken.UpdateParams { return apitoken.UpdateParams{NotBefore: new(time.Time{})} }},
		{"a wider network", func(g *apitoken.GenerateParams) { g.Networks = prefixes("10.1.0.0/16") },
			func(w *world) apitoken.UpdateParams {
				return apitoken.UpdateParams{Networks: new(prefixes("10.0.0.0/8"))}
			}},
		{"another network", func(g *apitoken.GenerateParams) { g.Networks = prefixes("10.1.0.0/16") },
			func(w *world) apitoken.UpdateParams {
				return apitoken.UpdateParams{Networks: new(prefixes("10.1.0.0/16", "10.2.0.0/16"))}
			}},
		{"no networks", func(g *apitoken.GenerateParams) { g.Networks = prefixes("10.1.0.0/16") },
			func(w *world) apitoken.UpdateParams { return apitoken.UpdateParams{Networks: new([]netip.Prefix{})} }},
		{"activate", nil, func(w *world) apitoken.UpdateParams { return apitoken.UpdateParams{Active: new(true)} }},
		{"lengthen while narrowing too little", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(soon()) },
			func(w *world) apitoken.UpdateParams {
				return apitoken.UpdateParams{Expiry: apitoken.Never(), Permissions: new([]apitoken.Permission{w.reports})}
			}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := s.newWorld(t)
			had := w.ada
			had.Grants = []apitoken.Permission{w.read, w.reports}
			info, _ := w.generate(had, func(g *apitoken.GenerateParams) {
				g.Permissions = had.Grants
				if c.make != nil {
					c.make(g)
				}
			})
			if c.what == "activate" {
				_, err := w.auth.As(had).Deactivate(t.Context(), info.ID)
				require.NoError(t, err)
			}
			before := w.stored(info.ID)
			has := had
			has.Grants = []apitoken.Permission{w.read}
			_, err := w.auth.As(has).Update(t.Context(), info.ID, c.update(w))
			var forbidden *apitoken.ForbiddenError
			require.ErrorAs(t, err, &forbidden)
			require.NotEmpty(t, forbidden.Permissions)
			require.NotContains(t, forbidden.Permissions, "devices:read")
			require.Equal(t, before, w.stored(info.ID))

			byToken := had
			_, secret := w.generate(had)
			byToken.Token, err = w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
			require.NoError(t, err)
			_, err = w.auth.As(byToken).Update(t.Context(), info.ID, c.update(w))
			require.ErrorAs(t, err, &forbidden, "an actor that came by a token with less")
			require.Equal(t, before, w.stored(info.ID))

			has.Grants = w.admin.Grants
			_, err = w.auth.As(has).Update(t.Context(), info.ID, c.update(w))
			require.NoError(t, err, "with the permission back it is allowed")
			require.NotEqual(t, before, w.stored(info.ID))
		})
	}
}

func (s Suite) TestNobodyGeneratesWhatTheyDoNotHave(t *testing.T) {
	w := s.newWorld(t)
	g := apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read, w.reports}, Expiry: apitoken.Never()}
	_, _, err := w.auth.As(w.ada).Generate(t.Context(), g)
	var forbidden *apitoken.ForbiddenError
	require.ErrorAs(t, err, &forbidden)
	require.Equal(t, []string{"reports:read"}, forbidden.Permissions)
	require.ErrorContains(t, err, "reports:read")

	_, secret := w.generate(w.admin)
	byToken := w.admin
	byToken.Token, err = w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.NoError(t, err)
	_, _, err = w.auth.As(byToken).Generate(t.Context(), g)
	require.ErrorAs(t, err, &forbidden, "one that came by API token holds no more than that")
}

func (s Suite) TestGrantableIsWhatCanBeGranted(t *testing.T) {
	w := s.newWorld(t)
	require.Equal(t, []apitoken.Permission{w.read, w.write}, w.auth.As(w.ada).Grantable())
	require.Equal(t, []apitoken.Permission{w.write}, w.auth.As(s.byToken(w, w.ada, w.write)).Grantable())
	require.Empty(t, w.auth.As(apitoken.Actor{}).Grantable())
	twice := []apitoken.Permission{w.reports, w.reports}
	_, _, err := w.auth.As(w.ada).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: twice, Expiry: apitoken.Never()})
	var forbidden *apitoken.ForbiddenError
	require.ErrorAs(t, err, &forbidden)
	require.Equal(t, []string{"reports:read"}, forbidden.Permissions)
}

func (s Suite) TestNarrowingNeedsNoPermissions(t *testing.T) {
	w := s.newWorld(t)
	for who, narrow := range map[string]apitoken.Actor{
		"the owner without any permission": {User: "ada", Environment: "demo"},
		"an administrator without any":     {User: "root", Environment: "demo", ManageOthers: true},
	} {
		info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Permissions = w.ada.Grants })
		m := w.auth.As(narrow)
		for what, u := range map[string]apitoken.UpdateParams{
			"fewer permissions":  {Permissions: new([]apitoken.Permission{w.read})},
			"an expiry":          {Expiry: apitoken.In(time.Hour)},
			"a later not-before": {NotBefore: new(time.Now().Add(time.Minute))},
			"networks":           {Networks: new(prefixes("10.0.0.0/8"))},
			"deactivate":         {Active: new(false)},
		} {
			_, err := m.Update(t.Context(), info.ID, u)
			require.NoError(t, err, "%s: %s", who, what)
		}
		for what, u := range map[string]apitoken.UpdateParams{
			"an earlier expiry": {Expiry: apitoken.In(time.Minute * 30)},
			"a network within":  {Networks: new(prefixes("10.2.0.0/16", "10.3.3.3/32"))},
			"no permissions":    {Permissions: new([]apitoken.Permission{})},
		} {
			_, err := m.Update(t.Context(), info.ID, u)
			require.NoError(t, err, "%s: %s", who, what)
		}
		got := w.stored(info.ID)
		require.Empty(t, got.Permissions)
		require.Len(t, got.Networks, 2)
	}
}
