package apitoken_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func withKeys(t *testing.T, ids ...string) func(*apitoken.Config) {
	return func(c *apitoken.Config) {
		for _, id := range ids {
			c.IntegrityKeys = append(c.IntegrityKeys, testKeyNamed(t, id))
		}
	}
}

// deriving returns a rig with an integrity key whose store is empty.
func deriving(t *testing.T, edit ...func(*apitoken.Config)) *rig {
	t.Helper()
	empty := func(c *apitoken.Config) { c.Store = memory.New() }
	return newRig(t, append([]func(*apitoken.Config){empty, withKeys(t, "a")}, edit...)...)
}

// verify decides about a text on a route that requires devices:read.
func verify(g *rig, secret apitoken.Secret, edit ...func(*apitoken.Credential)) (apitoken.Token, error) {
	c := apitoken.Credential{Secret: secret, Environment: "production"}
	for _, e := range edit {
		e(&c)
	}
	return g.Verify(context.Background(), c, apitoken.All(wireRead))
}

var fiveMinutes = apitoken.Derived{For: 5 * time.Minute}

// derive derives a token from the one with this secret.
func (g *rig) derive(t *testing.T, parent apitoken.Secret, d apitoken.Derived) apitoken.Secret {
	t.Helper()
	tok, err := g.Verify(t.Context(), apitoken.Credential{Secret: parent, Environment: "production", Address: netip.MustParseAddr("192.0.2.9")}, apitoken.AnyToken())
	require.NoError(t, err)
	s, err := g.Derive(tok, d)
	require.NoError(t, err)
	g.events = nil
	return s
}

func TestADerivedTokenIsAcceptedForWhatItSaysAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, edit := range []func(*apitoken.Config){func(*apitoken.Config) {}, noCache, func(c *apitoken.Config) { c.OwnerPermissions = ownersByName }} {
			g := deriving(t, edit)
			in, parent := g.generate(t, func(p *apitoken.GenerateParams) { p.Permissions = []apitoken.Permission{wireRead, wireWrite} })
			d := g.derive(t, parent, apitoken.Derived{Permissions: []apitoken.Permission{wireRead, wireRead}, For: 5 * time.Minute, Label: "browser"})

			r := newRequest("/", "apiToken "+d.Reveal())
			r.Pattern = "GET /events"
			a, s := askGuard(t, g.Require(wireRead), r)
			mustAccept(t, a, s, in.ID)
			label, derived := s.token.Derived()
			assert.True(t, derived)
			assert.Equal(t, "browser", label)
			assert.Equal(t, []apitoken.Permission{wireRead}, s.token.Permissions())
			assert.WithinDuration(t, time.Now().Add(5*time.Minute), s.token.ExpiresAt(), 0)
			ev := g.event(t)
			assert.Equal(t, "browser", ev.Label)
			assert.Equal(t, in.ID, ev.TokenID)
			assert.Equal(t, apitoken.Scheme("apiToken"), ev.Source)

			a, s = askGuard(t, g.Require(wireRead, wireWrite), r)
			mustRefuse(t, a, s, apitoken.Problem{Type: insufficientScope.Type, Title: insufficientScope.Title, Status: 403, Detail: insufficientScope.Detail,
				Required: []string{"devices:read", "devices:write"}, Missing: []string{"devices:write"}}, "")

			_, plain := askGuard(t, g.Require(wireRead), newRequest("/", "apiToken "+parent.Reveal()))
			_, derived = plain.token.Derived()
			assert.False(t, derived, "its parent is not derived")
			_, derived = apitoken.Token{}.Derived()
			assert.False(t, derived)
			require.NoError(t, g.Close())
		}
	})
}

func TestADerivedTokenOfAllPermissionsHasThoseOfItsParentAsTheyAre(t *testing.T) {
	g := deriving(t)
	in, parent := g.generate(t)
	d := g.derive(t, parent, fiveMinutes)
	_, err := verify(g, d)
	require.NoError(t, err)
	_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireWrite}})
	require.NoError(t, err)
	_, err = verify(g, d)
	assert.ErrorIs(t, err, apitoken.ErrMissingPermission)
}

// The checksum of such a text is right: anybody can compute it.
func TestATextThatIsTooShortForAMACIsAnUnknownToken(t *testing.T) {
	g := deriving(t)
	in, _ := g.generate(t)
	for _, body := range []string{"", "A", "AAAA", strings.Repeat("A", 42), strings.Repeat("A", 44)} {
		text := "acme_d." + in.ID + "." + body
		_, err := verify(g, apitoken.NewSecret(text+sum62(text)))
		assert.ErrorIs(t, err, apitoken.ErrUnknownToken, "%q", body)
	}
}

func TestInTheQueryARouteCanAcceptDerivedTokensOnly(t *testing.T) {
	g := deriving(t)
	in, parent := g.generate(t)
	d := g.derive(t, parent, fiveMinutes)
	guard := g.Guard(apitoken.All(wireRead).HeaderOnly().DerivedInQuery())
	for _, text := range []string{parent.Reveal(), "junk"} {
		a, s := askGuard(t, guard, newRequest("/?apiToken="+text))
		mustRefuse(t, a, s, invalidRequest, "only a derived API token in the query")
	}
	a, s := askGuard(t, guard, newRequest("/?apiToken=%22"))
	mustRefuse(t, a, s, invalidRequest, "not allowed")
	a, s = askGuard(t, guard, newRequest("/", "apiToken "+parent.Reveal()))
	mustAccept(t, a, s, in.ID)
	a, s = askGuard(t, guard, newRequest("/?apiToken="+d.Reveal()))
	require.Equal(t, []string{"private, no-store"}, a.header["Cache-Control"])
	mustAccept(t, a, s, in.ID)
	assert.NotContains(t, s.request.URL.String()+s.request.RequestURI, "acme_d")
	for name, guard := range map[string]func(http.Handler) http.Handler{
		"HeaderOnly": g.Guard(apitoken.All(wireRead).HeaderOnly()), "HeaderOnly last": g.Guard(apitoken.All(wireRead).DerivedInQuery().HeaderOnly()),
	} {
		a, s = askGuard(t, guard, newRequest("/?apiToken="+d.Reveal()))
		require.Equal(t, 400, a.status, name)
		require.Zero(t, s.called(), name)
	}
	rt := g.Routes(http.NewServeMux())
	rt.Handle("GET /events", "Events", apitoken.All(wireRead).DerivedInQuery(), new(spy))
	assert.Equal(t, []apitoken.Route{{Method: "GET", Pattern: "/events", Permissions: []string{"devices:read"}, Match: "all", DerivedInQuery: true, Description: "Events"}}, rt.Table())
}

func TestADerivedTokenUnderAnotherNameInTheQueryIsRedacted(t *testing.T) {
	g := deriving(t)
	in, parent := g.generate(t)
	d := g.derive(t, parent, fiveMinutes).Reveal()
	body := strings.SplitAfterN(d, ".", 3)[2]
	for before, after := range map[string]string{
		"x=1&key=" + d + "&y=2":                       "x=1&key=acme_d." + in.ID + "&y=2",
		"key=acme%5Fd%2e" + in.ID + "." + body:        "key=acme_d." + in.ID,
		"key=" + d[:len(d)-9]:                         "key=acme_d." + in.ID,
		"key=acme_d." + in.ID:                         "key=acme_d." + in.ID,
		"key=acme_d." + in.ID[:16] + "-." + body + "": "key=acme_d." + in.ID[:16] + "-." + body,
		"key=acme_x." + in.ID + "." + body:            "key=acme_x." + in.ID + "." + body,
		"key=acme_d." + in.ID[:9]:                     "key=acme_d." + in.ID[:9],
	} {
		assert.Equal(t, after, g.WithoutQueryToken(newRequest("/?"+before)).URL.RawQuery)
	}
	id, ok := g.IDOf(apitoken.NewSecret(d))
	assert.Equal(t, in.ID, id)
	assert.True(t, ok)
}

func TestADerivedTokenForARouteHasNoPermissionsOnOthers(t *testing.T) {
	for _, edit := range []func(*apitoken.Config){func(*apitoken.Config) {}, func(c *apitoken.Config) { c.OwnerPermissions = ownersByName }} {
		g := deriving(t, edit)
		_, parent := g.generate(t)
		d := g.derive(t, parent, apitoken.Derived{For: time.Minute, Route: "GET /events"})
		on := func(pattern string) func(*apitoken.Credential) {
			return func(c *apitoken.Credential) { c.Pattern = pattern }
		}
		tok, err := verify(g, d, on("GET /events"))
		require.NoError(t, err)
		for _, pattern := range []string{"", "GET /event", "/events", "GET /events/"} {
			_, err = verify(g, d, on(pattern))
			assert.ErrorIs(t, err, apitoken.ErrMissingPermission, pattern)
			refusal, _ := errors.AsType[*apitoken.Refusal](err)
			assert.Equal(t, []string{"devices:read"}, refusal.Problem().Missing)
			assert.Empty(t, refusal.Problem().MissingFromOwner)
			_, err = g.Verify(t.Context(), apitoken.Credential{Secret: d, Environment: "production", Pattern: pattern}, apitoken.AnyToken())
			assert.ErrorIs(t, err, apitoken.ErrMissingPermission, pattern)
		}
		r := newRequest("/", "apiToken "+d.Reveal())
		r.Pattern = "GET /other"
		a, s := askGuard(t, g.Guard(apitoken.AnyToken()), r)
		assert.Equal(t, 403, a.status)
		assert.Zero(t, s.called())
		_, err = g.Recheck(t.Context(), tok, apitoken.All(wireRead))
		assert.NoError(t, err, "the route was right when it was accepted")
	}
}

func TestDeriveReportsAllMistakesTogether(t *testing.T) {
	g := deriving(t)
	in, parent := g.generate(t, func(p *apitoken.GenerateParams) { p.Expiry = apitoken.In(time.Hour) })
	tok, err := verify(g, parent)
	require.NoError(t, err)
	for _, c := range []struct {
		d    apitoken.Derived
		want []string // beginnings of the lines
	}{
		{apitoken.Derived{}, []string{"apitoken: for is 0s"}},
		{apitoken.Derived{For: -1}, []string{"apitoken: for is -1ns"}},
		{apitoken.Derived{For: apitoken.MaxDerived + 1}, []string{"apitoken: for is 24h0m0.000000001s"}},
		{apitoken.Derived{For: 2 * time.Hour}, []string{"apitoken: for goes beyond " + in.ExpiresAt.Format(time.RFC3339)}},
		{apitoken.Derived{For: time.Minute, Permissions: []apitoken.Permission{}}, []string{"apitoken: permissions is empty"}},
		{apitoken.Derived{Permissions: []apitoken.Permission{wireWrite, {}, wireRead}, Route: "\n", Label: strings.Repeat("x", 65)}, []string{
			`apitoken: permissions contains "devices:write", which`, `apitoken: permissions contains "", which`,
			"apitoken: for is 0s", "apitoken: route contains", "apitoken: label has 65",
		}},
		{apitoken.Derived{For: time.Minute, Route: strings.Repeat("r", 200), Label: strings.Repeat("ß", 64)}, []string{"apitoken: permissions do not fit"}},
	} {
		s, err := g.Derive(tok, c.d)
		require.Error(t, err)
		lines := strings.Split(err.Error(), "\n")
		require.Len(t, lines, len(c.want), "%v", err)
		for i, want := range c.want {
			assert.Contains(t, lines[i], want)
		}
		_, isField := errors.AsType[*apitoken.FieldError](err)
		assert.True(t, isField)
		assert.Empty(t, s.Reveal())
	}
	long, err := g.Derive(tok, apitoken.Derived{For: time.Minute, Route: strings.Repeat("r", 200), Permissions: []apitoken.Permission{wireRead}})
	require.NoError(t, err)
	assert.LessOrEqual(t, len(long.Reveal()), 512)

	forbidden := func(auth *apitoken.Authority, tok apitoken.Token, rule string) {
		t.Helper()
		_, err := auth.Derive(tok, fiveMinutes)
		_, ok := errors.AsType[*apitoken.ForbiddenError](err)
		assert.True(t, ok, "%v", err)
		assert.ErrorContains(t, err, rule)
	}
	forbidden(g.Authority, apitoken.Token{}, "accepted request")
	forbidden(new(apitoken.Authority), tok, "accepted request")
	derived, err := verify(g, g.derive(t, parent, fiveMinutes))
	require.NoError(t, err)
	forbidden(g.Authority, derived, "derived token")
	without := newRig(t)
	_, parent = without.generate(t)
	plain, err := verify(without, parent)
	require.NoError(t, err)
	forbidden(without.Authority, plain, "Config.IntegrityKeys")
	var other apitoken.Catalog
	other.Define("devices:read", "See devices")
	strange := newRig(t, func(c *apitoken.Config) { c.Permissions = &other })
	forbidden(strange.Authority, plain, "accepted request")
}

func TestWhoCameByADerivedTokenMayOnlyLookAtItsParent(t *testing.T) {
	g := deriving(t)
	info, parent := g.generate(t)
	another, _ := g.generate(t)
	derived, err := verify(g, g.derive(t, parent, fiveMinutes))
	require.NoError(t, err)
	came := ada
	came.Token = derived
	m, id, name := g.As(came), info.ID, "other"
	ask := apitoken.GenerateParams{Name: name, Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}
	for what, do := range map[string]func(ctx context.Context) error{
		"List":           func(ctx context.Context) error { _, err := m.List(ctx, apitoken.ListParams{}); return err },
		"Get of another": func(ctx context.Context) error { _, err := m.Get(ctx, another.ID); return err },
		"Generate":       func(ctx context.Context) error { _, _, err := m.Generate(ctx, ask); return err },
		"Update": func(ctx context.Context) error {
			_, err := m.Update(ctx, id, apitoken.UpdateParams{Name: &name})
			return err
		},
		"Deactivate":   func(ctx context.Context) error { _, err := m.Deactivate(ctx, id); return err },
		"Activate":     func(ctx context.Context) error { _, err := m.Activate(ctx, id); return err },
		"Rotate":       func(ctx context.Context) error { _, _, err := m.Rotate(ctx, id, 0, ""); return err },
		"EndOverlap":   func(ctx context.Context) error { _, err := m.EndOverlap(ctx, id); return err },
		"UndoRotation": func(ctx context.Context) error { _, err := m.UndoRotation(ctx, id); return err },
		"Reveal":       func(ctx context.Context) error { _, err := m.Reveal(ctx, id); return err },
		"Explain": func(ctx context.Context) error {
			_, err := m.Explain(ctx, id, apitoken.AnyToken(), netip.Addr{})
			return err
		},
		"RevokeAll": func(ctx context.Context) error {
			_, err := m.RevokeAll(ctx, apitoken.RevokeParams{Owner: "ada"})
			return err
		},
		"Purge":  func(ctx context.Context) error { _, err := m.Purge(ctx); return err },
		"Delete": func(ctx context.Context) error { return m.Delete(ctx, id) },
	} {
		err := do(t.Context())
		_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
		assert.True(t, forbidden, "%s: %v", what, err)
	}
	_, err = m.Get(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, http.StatusNoContent, g.get(parent.Reveal()), "nothing was done to the parent")
	page, err := g.As(ada).List(t.Context(), apitoken.ListParams{})
	require.NoError(t, err)
	assert.Len(t, page.Tokens, 2)
}

// What is done to the parent on one node holds for a derived token on another.
func TestADerivedTokenEndsWithItsParentOnEveryNodeWithinMaxStaleness(t *testing.T) {
	type done struct {
		ctx  context.Context
		m    *apitoken.Manager
		id   string
		gone *error // what Config.OwnerPermissions answers
	}
	for name, c := range map[string]struct {
		do   func(done) error
		want apitoken.Reason
	}{
		"deactivated":                {func(d done) error { _, err := d.m.Deactivate(d.ctx, d.id); return err }, apitoken.ErrDeactivated},
		"deleted":                    {func(d done) error { return d.m.Delete(d.ctx, d.id) }, apitoken.ErrUnknownToken},
		"rotated without an overlap": {func(d done) error { _, _, err := d.m.Rotate(d.ctx, d.id, 0, ""); return err }, apitoken.ErrRetiredSecret},
		"rotated, and its overlap ended": {func(d done) error {
			_, _, err := d.m.Rotate(d.ctx, d.id, time.Hour, "")
			if err == nil {
				_, err = d.m.EndOverlap(d.ctx, d.id)
			}
			return err
		}, apitoken.ErrRetiredSecret},
		"rotated, in its overlap": {func(d done) error { _, _, err := d.m.Rotate(d.ctx, d.id, time.Hour, ""); return err }, ""},
		"narrowed": {func(d done) error {
			_, err := d.m.Update(d.ctx, d.id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireWrite}})
			return err
		}, apitoken.ErrMissingPermission},
		"bound to other networks": {func(d done) error {
			_, err := d.m.Update(d.ctx, d.id, apitoken.UpdateParams{Networks: &[]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
			return err
		}, apitoken.ErrAddressNotAllowed},
		"expires sooner": {func(d done) error {
			_, err := d.m.Update(d.ctx, d.id, apitoken.UpdateParams{Expiry: apitoken.In(time.Millisecond)})
			return err
		}, apitoken.ErrExpired},
		"of an owner who is gone":         {func(d done) error { *d.gone = apitoken.ErrNoOwner; return nil }, apitoken.ErrNoOwner},
		"of an owner whom nobody can ask": {func(d done) error { *d.gone = errors.New("away"); return nil }, apitoken.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				var gone error
				node := func() *rig {
					return deriving(t, func(c *apitoken.Config) {
						c.Store = struct{ apitoken.Store }{store} // without a feed
						c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return wire.All(), gone }
					})
				}
				one, two := node(), node()
				in, parent := one.generate(t)
				d := one.derive(t, parent, apitoken.Derived{Permissions: []apitoken.Permission{wireRead}, For: 5 * time.Minute})
				from := func(c *apitoken.Credential) { c.Address = netip.MustParseAddr("192.0.2.9") }
				tok, err := verify(two, d, from)
				require.NoError(t, err)
				require.NoError(t, c.do(done{t.Context(), one.As(ada), in.ID, &gone}))
				time.Sleep(time.Second + time.Millisecond)
				for _, g := range []*rig{one, two} {
					_, err = verify(g, d, from)
					_, again := g.Recheck(t.Context(), tok, apitoken.All(wireRead))
					if c.want == "" {
						assert.NoError(t, err)
						assert.NoError(t, again)
						continue
					}
					assert.ErrorIs(t, err, c.want)
					if c.want != apitoken.ErrAddressNotAllowed {
						assert.ErrorIs(t, again, c.want)
					}
				}
			})
		})
	}
}

func TestADerivedTokenEndsByTheClockOfTokens(t *testing.T) {
	g, clock := newClockRig(t, func(c *apitoken.Config) { c.Store = memory.New() }, withKeys(t, "a"))
	in, parent := g.generate(t, func(p *apitoken.GenerateParams) { p.Expiry = apitoken.In(time.Hour) })
	d := g.derive(t, parent, fiveMinutes)
	start := clock.at
	clock.pass(5*time.Minute - time.Microsecond)
	tok, err := verify(g, d)
	require.NoError(t, err)
	assert.Equal(t, start.Add(5*time.Minute), tok.ExpiresAt())
	clock.pass(time.Microsecond)
	_, err = verify(g, d)
	assert.ErrorIs(t, err, apitoken.ErrExpired)
	_, err = g.Recheck(t.Context(), tok, apitoken.All(wireRead))
	assert.ErrorIs(t, err, apitoken.ErrExpired)
	clock.set(start)
	_, err = verify(g, d)
	assert.ErrorIs(t, err, apitoken.ErrExpired, "the clock was set back")
	_, err = verify(g, parent)
	assert.NoError(t, err)

	clock.set(start.Add(5 * time.Minute))
	clock.pass(10 * time.Minute)
	d = g.derive(t, parent, apitoken.Derived{For: 20 * time.Minute})
	_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Minute)})
	require.NoError(t, err)
	tok, err = verify(g, d)
	require.NoError(t, err)
	assert.Equal(t, clock.at.Add(time.Minute), tok.ExpiresAt(), "the earlier end is that of the parent")
}

func TestADerivedTokenEndsWhenItsOwnerLosesThePermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		has := wire.All()
		g := deriving(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return has, nil }
		})
		_, parent := g.generate(t)
		d := g.derive(t, parent, fiveMinutes)
		_, err := verify(g, d)
		require.NoError(t, err)
		has = []apitoken.Permission{wireWrite}
		_, err = verify(g, d)
		assert.ErrorIs(t, err, apitoken.ErrMissingPermission)
		has = nil
		_, err = g.Verify(t.Context(), apitoken.Credential{Secret: d, Environment: "production"}, apitoken.AnyToken())
		assert.ErrorIs(t, err, apitoken.ErrMissingPermission)
	})
}

func TestADerivedTokenEndsWithItsKeyAndNotWhenANewKeyIsAdded(t *testing.T) {
	store := memory.New()
	node := func(edit ...func(*apitoken.Config)) *rig {
		return newRig(t, append(edit, func(c *apitoken.Config) { c.Store = struct{ apitoken.Store }{store} })...)
	}
	old := node(withKeys(t, "old"))
	_, parent := old.generate(t)
	d := old.derive(t, parent, fiveMinutes)
	for name, c := range map[string]struct {
		g    *rig
		want apitoken.Reason
	}{
		"the key is there":      {old, ""},
		"a newer key is there":  {node(withKeys(t, "new", "old")), ""},
		"another key is there":  {node(withKeys(t, "new")), apitoken.ErrUnknownToken},
		"there is no key":       {node(), apitoken.ErrUnknownToken},
		"the prefix is another": {node(withKeys(t, "old"), func(c *apitoken.Config) { c.Prefix = "acm" }), apitoken.ErrUnknownToken},
		"another environment": {node(withKeys(t, "old"), func(c *apitoken.Config) {
			c.Environment = nil
		}), apitoken.ErrEnvironment},
	} {
		environment := "production"
		if c.want == apitoken.ErrEnvironment {
			environment = "staging"
		}
		_, err := verify(c.g, d, func(c *apitoken.Credential) { c.Environment = environment })
		if c.want == "" {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorIs(t, err, c.want, name)
			assert.ErrorIs(t, err, apitoken.ErrInvalidToken, name)
		}
	}
}

func TestAManagerRefusesAnActorWhoCameByADerivedTokenEverythingButItsParent(t *testing.T) {
	g := deriving(t)
	in, parent := g.generate(t, func(p *apitoken.GenerateParams) { p.Permissions = wire.All() })
	other, _ := g.generate(t)
	tok, err := verify(g, g.derive(t, parent, fiveMinutes))
	require.NoError(t, err)
	actor := ada
	actor.Token, actor.ManageOthers = tok, true
	m := g.As(actor)
	got, err := m.Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, in.ID, got.ID)
	assert.Empty(t, m.Grantable())

	forbidden := func(name string, err error) {
		t.Helper()
		_, ok := errors.AsType[*apitoken.ForbiddenError](err)
		assert.True(t, ok, "%s: %v", name, err)
		assert.ErrorContains(t, err, "derived", name)
	}
	_, err = m.Get(t.Context(), other.ID)
	forbidden("Get of another token", err)
	arguments := map[reflect.Type]any{
		reflect.TypeFor[context.Context](): t.Context(), reflect.TypeFor[string](): in.ID,
		reflect.TypeFor[apitoken.BulkParams]():     apitoken.BulkParams{Action: "deactivate", IDs: []string{in.ID}},
		reflect.TypeFor[apitoken.RevokeParams]():   apitoken.RevokeParams{Owner: "ada"},
		reflect.TypeFor[[]apitoken.ImportParams](): []apitoken.ImportParams{{}},
	}
	methods := reflect.ValueOf(m)
	for i := range methods.NumMethod() {
		name, method := methods.Type().Method(i).Name, methods.Method(i)
		if name == "Get" || name == "Grantable" {
			continue
		}
		var in []reflect.Value
		for k := range method.Type().NumIn() {
			typ := method.Type().In(k)
			if a, ok := arguments[typ]; ok {
				in = append(in, reflect.ValueOf(a))
			} else {
				in = append(in, reflect.Zero(typ))
			}
		}
		out := method.Call(in)
		switch last := out[len(out)-1].Interface().(type) {
		case []error:
			require.Len(t, last, 1, name)
			forbidden(name, last[0])
		case error:
			forbidden(name, last)
		default:
			t.Errorf("%s: %v", name, out)
		}
	}
	_, err = verify(g, parent)
	assert.NoError(t, err, "nothing has happened to it")
}

func TestUsesOfDerivedTokensAreThoseOfTheParentByASourceOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := deriving(t)
		in, parent := g.generate(t)
		d := g.derive(t, parent, fiveMinutes)
		for _, s := range []apitoken.Secret{d, parent, d, parent} { // each is another than the one before
			a, s := g.ask(t, newRequest("/", "apiToken "+s.Reveal()))
			mustAccept(t, a, s, in.ID)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		got, err := g.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		sources := map[apitoken.Source]bool{}
		for _, u := range got.LastUses {
			sources[u.Source] = true
		}
		assert.Equal(t, map[apitoken.Source]bool{apitoken.Scheme("apiToken"): true, "derived": true, apitoken.Direct: true}, sources)
		require.NoError(t, g.Close())
	})
}

func TestADerivedTokenTakesFromTheLimitsOfItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := deriving(t, limited)
		_, parent := g.generate(t)
		d := g.derive(t, parent, fiveMinutes) // which takes one
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		assert.Equal(t, 204, send(h, asGood+d.Reveal()).Code)
		assert.Equal(t, 429, send(h, asGood+d.Reveal()).Code)
		assert.Equal(t, 429, send(h, asGood+parent.Reveal()).Code)
		assert.Equal(t, 1, calls)
	})
}

// It has outlived the overlap; nobody has stolen anything.
func TestADerivedTokenOfARetiredSecretIsNoReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		auth := c.node(withKeys(t, "a"))
		in, parent := c.generate(auth, "parent", apitoken.Never())
		tok, err := auth.Verify(t.Context(), apitoken.Credential{Secret: parent}, apitoken.AnyToken())
		require.NoError(t, err)
		d, err := auth.Derive(tok, fiveMinutes)
		require.NoError(t, err)
		_, _, err = auth.As(ada).Rotate(t.Context(), in.ID, 0, "")
		require.NoError(t, err)
		_, err = auth.Verify(t.Context(), apitoken.Credential{Secret: d}, apitoken.AnyToken())
		assert.ErrorIs(t, err, apitoken.ErrRetiredSecret)
		time.Sleep(time.Minute)
		assert.Empty(t, c.notices())
		_, err = auth.Verify(t.Context(), apitoken.Credential{Secret: parent}, apitoken.AnyToken())
		assert.ErrorIs(t, err, apitoken.ErrRetiredSecret)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"reuse parent"}, c.notices())
	})
}

func TestADerivedTokenIsLimitedToObjectsOfItsParent(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device, project := catalog.Resource("device", "Device"), catalog.Resource("project", "Project")
	g := deriving(t, func(c *apitoken.Config) { c.Permissions = &catalog })
	actor := apitoken.Actor{User: "ada", Environment: "production", Grants: catalog.All()}
	in, parent, err := g.As(actor).Generate(t.Context(), apitoken.GenerateParams{
		Name: "n", Permissions: catalog.All(), Expiry: apitoken.Never(), Only: []string{"device:7", "device:8"},
	})
	require.NoError(t, err)
	on := func(s apitoken.Secret, requirement apitoken.Requirement) (apitoken.Token, error) {
		return g.Verify(t.Context(), apitoken.Credential{Secret: s, Environment: "production"}, requirement)
	}
	tok, err := on(parent, apitoken.All(read).Filtered(device))
	require.NoError(t, err)
	all, err := g.Derive(tok, fiveMinutes)
	require.NoError(t, err)
	d, err := g.Derive(tok, apitoken.Derived{For: time.Minute, Only: []string{"device:7", "project:1"}})
	require.NoError(t, err)
	for _, only := range []string{"device:9", "device", "devices:7", "device:"} {
		_, err = g.Derive(tok, apitoken.Derived{For: time.Minute, Only: []string{only}})
		if only == "device:" {
			assert.NoError(t, err, "none is fewer")
			continue
		}
		f, _ := errors.AsType[*apitoken.FieldError](err)
		require.NotNil(t, f, only)
		assert.Equal(t, "only", f.Field)
	}
	for id, want := range map[string][3]error{"7": {}, "8": {nil, nil, apitoken.ErrResourceNotAllowed}, "9": {apitoken.ErrResourceNotAllowed, apitoken.ErrResourceNotAllowed, apitoken.ErrResourceNotAllowed}} {
		for i, s := range []apitoken.Secret{parent, all, d} {
			_, err := on(s, apitoken.All(read).On(device, apitoken.ID(id)).Filtered(project))
			assert.ErrorIs(t, err, want[i], "%s, %d", id, i)
		}
	}
	tok, err = on(d, apitoken.All(read).Filtered(device, project))
	require.NoError(t, err)
	ids, limited := tok.Only(device)
	assert.Equal(t, []string{"7"}, ids)
	assert.True(t, limited)
	_, err = g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:8"}})
	require.NoError(t, err)
	_, err = on(d, apitoken.All(read).On(device, apitoken.ID("7")).Filtered(project))
	assert.ErrorIs(t, err, apitoken.ErrResourceNotAllowed, "the parent was narrowed")
	_, err = on(all, apitoken.All(read).On(device, apitoken.ID("8")))
	assert.NoError(t, err)
	_, err = g.Recheck(t.Context(), tok, apitoken.All(read).On(device, apitoken.ID("7")).Filtered(project))
	assert.ErrorIs(t, err, apitoken.ErrResourceNotAllowed)
}
