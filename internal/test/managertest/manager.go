// Package managertest holds the rules of apitoken.Manager, each as a test that
// tries to break it. They run over every store.
package managertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Run runs all rules as subtests, each over stores that open returns: fresh,
// empty, and closed by the cleanup of t.
func Run(t *testing.T, open func(t *testing.T) apitoken.Store) {
	suite := reflect.ValueOf(Suite{func(t *testing.T) apitoken.Store { return unwatched{open(t).(everything)} }})
	for i := range suite.NumMethod() {
		name := suite.Type().Method(i).Name
		t.Run(strings.TrimPrefix(name, "Test"), func(t *testing.T) {
			suite.Method(i).Call([]reflect.Value{reflect.ValueOf(t)})
		})
	}
}

// An unwatched store has no feed. A rule may wait for two days of virtual time, in
// which a Watcher would ask a server some hundred thousand times, or, blocked in the
// network, would keep that time from passing. Watchers have tests of their own.
type unwatched struct{ everything }

type everything interface {
	apitoken.Store
	apitoken.Toucher
	apitoken.Scanner
	apitoken.KeyLister
}

// A Suite has the rules as its methods.
type Suite struct {
	open func(t *testing.T) apitoken.Store
}

// A world is a service with some users: ada and grace in the environment demo,
// where admin manages others, and eve, who manages others in another one.
type world struct {
	t      *testing.T
	store  apitoken.Store
	auth   *apitoken.Authority
	events []apitoken.Event
	mu     sync.Mutex

	read, write, reports apitoken.Permission
	ada, grace, admin    apitoken.Actor
	eve                  apitoken.Actor
}

func (s Suite) newWorld(t *testing.T, edit ...func(*apitoken.Config)) *world {
	w := &world{t: t, store: s.open(t)}
	catalog := new(apitoken.Catalog)
	w.read = catalog.Define("devices:read", "See devices")
	w.write = catalog.Define("devices:write", "Change devices")
	w.reports = catalog.Define("reports:read", "See reports")
	all := catalog.All()
	config := apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: w.store,
		Observe: func(_ context.Context, ev apitoken.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, ev)
		},
	}
	for _, e := range edit {
		e(&config)
	}
	w.store = config.Store
	var err error
	w.auth, err = apitoken.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { w.auth.Close() })
	w.ada = apitoken.Actor{User: "ada", Environment: "demo", Grants: []apitoken.Permission{w.read, w.write}}
	w.grace = apitoken.Actor{User: "grace", Environment: "demo", Grants: []apitoken.Permission{w.read, w.reports}}
	w.admin = apitoken.Actor{User: "admin", Environment: "demo", Grants: all, ManageOthers: true}
	w.eve = apitoken.Actor{User: "eve", Environment: "other", Grants: all, ManageOthers: true}
	return w
}

// generate makes a token, edited from one with devices:read that never expires.
func (w *world) generate(actor apitoken.Actor, edit ...func(*apitoken.GenerateParams)) (*apitoken.TokenInfo, apitoken.Secret) {
	w.t.Helper()
	g := apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}
	for _, e := range edit {
		e(&g)
	}
	info, secret, err := w.auth.As(actor).Generate(w.t.Context(), g)
	require.NoError(w.t, err)
	return info, secret
}

// get returns the status of a request with a secret to a route that needs
// devices:read, and whether its handler was called.
func (w *world) get(secret apitoken.Secret, edit ...func(*http.Request)) (status int, called bool) {
	r := httptest.NewRequest("GET", "/devices", nil)
	r.Header.Set("Authorization", "apiToken "+secret.Reveal())
	for _, e := range edit {
		e(r)
	}
	rec := httptest.NewRecorder()
	w.auth.Require(w.read)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(rec, r)
	return rec.Code, called
}

func (w *world) works(secret apitoken.Secret, edit ...func(*http.Request)) bool {
	w.t.Helper()
	status, called := w.get(secret, edit...)
	require.Equal(w.t, status == http.StatusOK, called, "status %d, handler called: %v", status, called)
	return called
}

// stored returns the record of a token.
func (w *world) stored(id string) apitoken.Record {
	w.t.Helper()
	rec, err := w.store.Get(w.t.Context(), id)
	require.NoError(w.t, err)
	return rec
}

// lastEvent returns the newest event.
func (w *world) lastEvent() apitoken.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return apitoken.Event{}
	}
	return w.events[len(w.events)-1]
}

func isForbidden(err error) bool {
	var f *apitoken.ForbiddenError
	return errors.As(err, &f)
}

func fieldOf(err error) string {
	var f *apitoken.FieldError
	if errors.As(err, &f) {
		return f.Field
	}
	return ""
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

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
	_, err = m.Get(t.Context(), info.ID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
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

func (s Suite) TestAnActorThatIsNobodyMayDoNothing(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	for what, actor := range map[string]apitoken.Actor{
		"the zero actor":          {},
		"one without environment": {User: "ada", ManageOthers: true, Grants: w.admin.Grants},
		"one without user":        {Environment: "demo", ManageOthers: true, Grants: w.admin.Grants},
		"a user with a NUL":       {User: "ada\x00", Environment: "demo", ManageOthers: true},
		"an over-long user":       {User: strings.Repeat("a", 201), Environment: "demo", ManageOthers: true},
	} {
		t.Run(what, func(t *testing.T) {
			for name, err := range attempts(w, actor, info.ID) {
				assert.True(t, isForbidden(err), "%s: %v", name, err)
			}
		})
	}
	require.True(t, w.works(secret))
}

func (s Suite) TestAnAuthorityThatNewDidNotMakeDoesNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	for what, auth := range map[string]*apitoken.Authority{"nil": nil, "zero": {}} {
		none := &world{t: t, auth: auth, read: w.read}
		for name, err := range attempts(none, w.ada, info.ID) {
			require.ErrorIs(t, err, apitoken.ErrUnavailable, "%s: %s", what, name)
		}
		m := auth.As(w.admin)
		_, _, err := m.Rotate(t.Context(), info.ID, 0, "")
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.EndOverlap(t.Context(), info.ID, apitoken.KeepNew)
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Reveal(t.Context(), info.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Import(t.Context(), apitoken.ImportParams{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Explain(t.Context(), info.ID, apitoken.AnyToken(), netip.Addr{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.PreviewPolicy(t.Context(), apitoken.Policy{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{info.ID}})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = auth.Rekey(t.Context(), apitoken.RekeyParams{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		require.Empty(t, m.Grantable())
		require.NoError(t, auth.Close())
	}
	require.Equal(t, info.Version, w.stored(info.ID).Version)
}

// attempts tries everything that a Manager can do to a token and returns the
// errors by name.
func attempts(w *world, actor apitoken.Actor, id string) map[string]error {
	ctx, m := w.t.Context(), w.auth.As(actor)
	errs := make(map[string]error)
	_, _, errs["generate"] = m.Generate(ctx, apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()})
	_, errs["list"] = m.List(ctx, apitoken.ListParams{AllOwners: actor.ManageOthers})
	for name, err := range attemptsOn(w, actor, id) {
		errs[name] = err
	}
	return errs
}

// attemptsOn are the attempts that name a token. Deleting it comes last.
func attemptsOn(w *world, actor apitoken.Actor, id string) map[string]error {
	ctx, m := w.t.Context(), w.auth.As(actor)
	errs := make(map[string]error)
	_, errs["get"] = m.Get(ctx, id)
	_, errs["rename"] = m.Update(ctx, id, apitoken.UpdateParams{Name: new("stolen")})
	_, errs["narrow"] = m.Update(ctx, id, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	_, errs["update nothing"] = m.Update(ctx, id, apitoken.UpdateParams{})
	_, errs["deactivate"] = m.Deactivate(ctx, id)
	_, errs["activate"] = m.Activate(ctx, id)
	errs["delete"] = m.Delete(ctx, id)
	return errs
}

func (s Suite) TestTokensThatAreNotOnesOwnDoNotExist(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	before := w.stored(info.ID)
	for who, actor := range map[string]apitoken.Actor{
		"another user": w.grace,
		"the administrator of another environment":   w.eve,
		"a user of the same name elsewhere":          {User: "ada", Environment: "other", Grants: w.admin.Grants, ManageOthers: true},
		"an environment that differs in case":        {User: "ada", Environment: "Demo", Grants: w.admin.Grants, ManageOthers: true},
		"an environment that differs in white space": {User: "ada", Environment: "demo ", Grants: w.admin.Grants, ManageOthers: true},
		"a user that differs in case":                {User: "Ada", Environment: "demo", Grants: w.admin.Grants},
	} {
		for name, err := range attemptsOn(w, actor, info.ID) {
			require.Equal(t, apitoken.ErrNotFound, err, "%s: %s", who, name)
		}
	}
	require.Equal(t, before, w.stored(info.ID))
	require.True(t, w.works(secret))
}

func (s Suite) TestIDsThatCannotBeNeverReachTheStore(t *testing.T) {
	store := &countingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = store })
	for _, id := range []string{"", "x", strings.Repeat("a", 1<<20), strings.Repeat("a", 16) + "\x00", strings.Repeat("a", 16) + "%", "../../../../etc/p"} {
		_, err := w.auth.As(w.admin).Get(t.Context(), id)
		require.Equal(t, apitoken.ErrNotFound, err)
	}
	require.Zero(t, store.gets)
}

type countingStore struct {
	apitoken.Store
	gets int
}

func (s *countingStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.gets++
	return s.Store.Get(ctx, id)
}

func (s Suite) TestNobodyGrantsWhatHeDoesNotHave(t *testing.T) {
	// The token has devices:read and reports:read, its owner lost the latter.
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

func (s Suite) TestNobodyGeneratesWhatHeDoesNotHave(t *testing.T) {
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

func (s Suite) TestListsRefuseTextsThatNothingCanHave(t *testing.T) {
	w := s.newWorld(t)
	for _, text := range []string{"a\x00b", "\xff", strings.Repeat("x", 201)} {
		for field, l := range map[string]apitoken.ListParams{"owner": {Owner: text}, "q": {Text: text}, "permission": {Permission: text}} {
			_, err := w.auth.As(w.admin).List(t.Context(), l)
			require.Equal(t, field, fieldOf(err), "%q: %v", text, err)
		}
	}
}

func (s Suite) TestCursorsOutliveTheKeyTheyWereMadeWith(t *testing.T) {
	store := s.open(t)
	old := s.newWorldOn(t, store, withKeys(t, "a"))
	for range 3 {
		old.generate(old.ada)
	}
	l := apitoken.ListParams{Limit: 1}
	page, err := old.auth.As(old.ada).List(t.Context(), l)
	require.NoError(t, err)
	l.Cursor = page.Next
	_, err = s.newWorldOn(t, store, withKeys(t, "b", "a")).auth.As(old.ada).List(t.Context(), l)
	require.NoError(t, err)
	without := s.newWorldOn(t, struct{ apitoken.Store }{store})
	_, err = without.auth.As(old.ada).List(t.Context(), l)
	require.Equal(t, "cursor", fieldOf(err), "made by somebody with a key, for somebody without")
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

func (s Suite) TestAdministratorsDoNotRenameWidenOrTakeOverTokensOfOthers(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) {
		g.Expiry = apitoken.In(time.Hour)
		g.NotBefore = time.Now().Add(-time.Minute)
		g.Networks = prefixes("192.0.2.0/24")
	})
	before := w.stored(info.ID)
	for what, u := range map[string]apitoken.UpdateParams{
		"rename":             {Name: new("mine")},
		"describe":           {Description: new("mine")},
		"add a permission":   {Permissions: new([]apitoken.Permission{w.read, w.write})},
		"swap a permission":  {Permissions: new([]apitoken.Permission{w.write})},
		"later expiry":       {Expiry: apitoken.In(2 * time.Hour)},
		"no expiry":          {Expiry: apitoken.Never()},
		"earlier not-before": {NotBefore: new(time.Time{})},
		"wider networks":     {Networks: new(prefixes("192.0.0.0/16"))},
		"no networks":        {Networks: new([]netip.Prefix{})},
		"narrow and rename":  {Permissions: new([]apitoken.Permission{}), Name: new("mine")},
	} {
		_, err := w.auth.As(w.admin).Update(t.Context(), info.ID, u)
		require.True(t, isForbidden(err), "%s: %v", what, err)
	}
	require.Equal(t, before, w.stored(info.ID))
	require.True(t, w.works(secret)) // httptest requests come from 192.0.2.1
}

func (s Suite) TestOwnersCannotActivateWhatSomeoneElseDeactivated(t *testing.T) {
	w := s.newWorld(t)
	ctx := t.Context()
	ada, admin := w.auth.As(w.ada), w.auth.As(w.admin)
	adaAsAdmin := w.ada
	adaAsAdmin.ManageOthers = true

	info, secret := w.generate(w.ada)
	_, err := admin.Deactivate(ctx, info.ID)
	require.NoError(t, err)
	for what, m := range map[string]*apitoken.Manager{"as a user": ada, "as an administrator himself": w.auth.As(adaAsAdmin)} {
		_, err = m.Activate(ctx, info.ID)
		require.True(t, isForbidden(err), "%s: %v", what, err)
		_, err = m.Update(ctx, info.ID, apitoken.UpdateParams{Active: new(true), Name: new("x")})
		require.True(t, isForbidden(err), "%s: %v", what, err)
		// Deactivating it himself must not make it his to activate.
		_, err = m.Deactivate(ctx, info.ID)
		require.NoError(t, err)
		_, err = m.Activate(ctx, info.ID)
		require.True(t, isForbidden(err), "%s, after deactivating it himself: %v", what, err)
	}
	require.Equal(t, "admin", w.stored(info.ID).DeactivatedBy)
	require.False(t, w.works(secret))
	_, err = admin.Activate(ctx, info.ID)
	require.NoError(t, err)
	require.True(t, w.works(secret))

	// The owner deactivates first, then the administrator: it is the latter's.
	_, err = ada.Deactivate(ctx, info.ID)
	require.NoError(t, err)
	_, err = admin.Deactivate(ctx, info.ID)
	require.NoError(t, err)
	_, err = ada.Activate(ctx, info.ID)
	require.True(t, isForbidden(err), "%v", err)
}

func (s Suite) TestActivatingTheActiveAndDeactivatingTheInactiveChangeNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	got, err := w.auth.As(w.ada).Activate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, info.Version, got.Version)
	first, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	w.events = nil
	again, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Empty(t, w.events)
}

func (s Suite) TestAnUpdateToWhatIsThereAlreadyChangesNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) {
		g.Expiry = apitoken.In(time.Hour)
		g.Networks = prefixes("10.0.0.0/8")
	})
	w.events = nil
	for who, actor := range map[string]apitoken.Actor{"the owner": w.ada, "an administrator": w.admin} {
		got, err := w.auth.As(actor).Update(t.Context(), info.ID, apitoken.UpdateParams{
			Name: new(info.Name), Description: new(""), Active: new(true), Permissions: new(info.Permissions),
			Expiry: apitoken.At(info.ExpiresAt), NotBefore: new(time.Time{}), Networks: new(prefixes("10.1.2.3/8")),
			IfVersion: info.Version,
		})
		require.NoError(t, err, who)
		require.Equal(t, info, got, who)
	}
	require.Empty(t, w.events)
}

func (s Suite) TestWhatSomeoneElseDeletedMeanwhileIsNotFound(t *testing.T) {
	racing := &racingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = racing })
	info, _ := w.generate(w.ada)
	racing.deleteFirst = true
	w.events = nil
	require.Equal(t, apitoken.ErrNotFound, w.auth.As(w.ada).Delete(t.Context(), info.ID))
	require.Empty(t, w.events, "who was faster has told the observer")
}

// A racingStore has somebody else delete a token just before we do.
type racingStore struct {
	apitoken.Store
	deleteFirst bool
}

func (s *racingStore) Delete(ctx context.Context, id string) error {
	if s.deleteFirst {
		if err := s.Store.Delete(ctx, id); err != nil {
			return err
		}
	}
	return s.Store.Delete(ctx, id)
}

func (s Suite) TestNamesTheCatalogNoLongerKnowsGrantNothingAreShownAndCanOnlyBeKeptOrRemoved(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	rec := w.stored(info.ID)
	rec.Permissions = []string{"devices:read", "legacy:all", "legacy:some"}
	rec.Version++
	require.NoError(t, w.store.Replace(t.Context(), rec))
	m := w.auth.As(w.ada)

	got, err := m.Get(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, []apitoken.Permission{w.read}, got.Permissions)
	require.Equal(t, []string{"legacy:all", "legacy:some"}, got.Unknown)
	tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.NoError(t, err)
	require.Equal(t, []string{"devices:read", "legacy:all", "legacy:some"}, tok.Assigned())
	require.Equal(t, []apitoken.Permission{w.read}, tok.Permissions())

	got, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("kept")})
	require.NoError(t, err)
	require.Equal(t, []string{"legacy:all", "legacy:some"}, got.Unknown, "another change keeps them")

	got, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{
		Permissions: new([]apitoken.Permission{w.write}), Unknown: []string{"legacy:some"}})
	require.NoError(t, err)
	require.Equal(t, []apitoken.Permission{w.write}, got.Permissions)
	require.Equal(t, []string{"legacy:some"}, got.Unknown)

	for _, name := range []string{"legacy:all", "devices:read", "new", ""} {
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{
			Permissions: new([]apitoken.Permission{w.write}), Unknown: []string{name}})
		require.Equal(t, "permissions", fieldOf(err), "%q: %v", name, err)
	}
	_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Unknown: []string{"legacy:some"}})
	require.Equal(t, "unknown", fieldOf(err))
	list, err := m.List(t.Context(), apitoken.ListParams{Permission: "legacy:some"})
	require.NoError(t, err)
	require.Len(t, list.Tokens, 1)
}

func (s Suite) TestAnUpdateIsAllOrNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	before := w.stored(info.ID)
	for what, u := range map[string]apitoken.UpdateParams{
		"a good name and a bad description":    {Name: new("good"), Description: new("bad\x07")},
		"a good name and a past expiry":        {Name: new("good"), Expiry: apitoken.At(time.Unix(1, 0))},
		"a good name and a foreign permission": {Name: new("good"), Permissions: new([]apitoken.Permission{{}})},
		"deactivate and a bad network":         {Active: new(false), Networks: new([]netip.Prefix{{}})},
		"an expiry before its not-before":      {Expiry: apitoken.In(time.Hour), NotBefore: new(time.Now().Add(3 * time.Hour))},
		"an empty name":                        {Name: new("")},
		"a not-before in 1969":                 {NotBefore: new(time.Unix(-1, 0))},
	} {
		_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, u)
		require.NotEmpty(t, fieldOf(err), "%s: %v", what, err)
	}
	require.Equal(t, before, w.stored(info.ID))
}

func (s Suite) TestAStaleVersionIsAConflictAndChangesNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	m := w.auth.As(w.ada)
	second, err := m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("second"), IfVersion: info.Version})
	require.NoError(t, err)
	require.Equal(t, info.Version+1, second.Version)
	_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("third"), IfVersion: info.Version})
	require.ErrorIs(t, err, apitoken.ErrConflict)
	require.Equal(t, "second", w.stored(info.ID).Name)
}

func (s Suite) TestChangesAtTheSameTimeAreAllMade(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			u := apitoken.UpdateParams{Name: new(fmt.Sprint("name ", i))}
			if i%2 == 0 {
				u = apitoken.UpdateParams{Description: new(fmt.Sprint("description ", i))}
			}
			_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, u)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	rec := w.stored(info.ID)
	require.Equal(t, info.Version+8, rec.Version)
	require.Len(t, rec.History, 9)
}

func (s Suite) TestHistoryKeepsTheLast16Changes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		info, _ := w.generate(w.ada)
		require.Equal(t, "generate", string(info.History[0].Action))
		for i := range 20 {
			time.Sleep(time.Second)
			var err error
			info, err = w.auth.As(w.ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new(fmt.Sprint(i)), Description: new(fmt.Sprint(i))})
			require.NoError(t, err)
		}
		_, err := w.auth.As(w.admin).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		history := w.stored(info.ID).History
		require.Len(t, history, 16)
		require.Equal(t, apitoken.HistoryEntry{At: time.Now().UTC(), By: "admin", Action: "deactivate", Fields: []string{"active"}}, history[0])
		require.Equal(t, []string{"name", "description"}, history[1].Fields)
		require.True(t, history[1].At.After(history[15].At))
	})
}

func (s Suite) TestEveryChangeIsAnEventWithBeforeAndAfter(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	ev := w.lastEvent()
	require.Equal(t, "generate", string(ev.Action))
	require.Equal(t, "ada", ev.Actor)
	require.Equal(t, info.ID, ev.TokenID)
	require.Nil(t, ev.Before)
	require.Equal(t, info, ev.After)
	require.NoError(t, ev.Err)

	m := w.auth.As(w.admin)
	for _, c := range []struct {
		action string
		do     func() error
	}{
		{"deactivate", func() error { _, err := m.Deactivate(t.Context(), info.ID); return err }},
		{"activate", func() error { _, err := m.Activate(t.Context(), info.ID); return err }},
		{"update", func() error {
			_, err := m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Hour)})
			return err
		}},
		{"delete", func() error { return m.Delete(t.Context(), info.ID) }},
	} {
		require.NoError(t, c.do())
		ev := w.lastEvent()
		require.Equal(t, c.action, string(ev.Action))
		require.Equal(t, "admin", ev.Actor)
		require.Equal(t, "ada", ev.Owner)
		require.Equal(t, "demo", ev.Environment)
		require.Equal(t, info.ID, ev.Before.ID)
		require.Equal(t, c.action == "delete", ev.After == nil)
	}

	info, _ = w.generate(w.ada)
	for _, c := range []struct {
		action string
		do     func() error
	}{
		{"generate", func() error {
			_, _, err := w.auth.As(w.ada).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Expiry: apitoken.Never(), Permissions: []apitoken.Permission{w.reports}})
			return err
		}},
		{"update", func() error {
			_, err := m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("taken over")})
			return err
		}},
		{"delete", func() error { return w.auth.As(w.eve).Delete(t.Context(), info.ID) }},
	} {
		err := c.do()
		require.Error(t, err)
		ev := w.lastEvent()
		require.Equal(t, c.action, string(ev.Action))
		require.Equal(t, err, ev.Err, "refused changes are events, too")
		require.Nil(t, ev.After)
		require.Nil(t, ev.Fields)
	}
}

func (s Suite) TestAPanicOfTheObserverDoesNotUndoOrHideAChange(t *testing.T) {
	w := s.newWorld(t, func(c *apitoken.Config) { c.Observe = func(context.Context, apitoken.Event) { panic("observer") } })
	info, _ := w.generate(w.ada)
	_, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusInactive, w.stored(info.ID).Status)
}

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

func (s Suite) TestListsShowOnesOwnTokensAndWithTheRightEverybodys(t *testing.T) {
	w := s.newWorld(t)
	for _, actor := range []apitoken.Actor{w.ada, w.grace, w.admin, w.eve} {
		for _, name := range []string{"b", "A", "c"} {
			w.generate(actor, func(g *apitoken.GenerateParams) { g.Name = actor.User + " " + name })
		}
	}
	list := func(actor apitoken.Actor, l apitoken.ListParams) ([]string, error) {
		page, err := w.auth.As(actor).List(t.Context(), l)
		if err != nil {
			return nil, err
		}
		require.Equal(t, len(page.Tokens), page.Count)
		require.False(t, page.More)
		return nameList(page), nil
	}
	got, err := list(w.ada, apitoken.ListParams{})
	require.NoError(t, err)
	require.Equal(t, []string{"ada A", "ada b", "ada c"}, got)
	got, err = list(w.ada, apitoken.ListParams{Owner: "ada", Descending: true})
	require.NoError(t, err)
	require.Equal(t, []string{"ada c", "ada b", "ada A"}, got)
	for _, l := range []apitoken.ListParams{{AllOwners: true}, {Owner: "grace"}, {Owner: "Ada"}} {
		_, err = list(w.ada, l)
		require.True(t, isForbidden(err), "%+v: %v", l, err)
	}
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, got, 9)
	require.NotContains(t, strings.Join(got, " "), "eve")
	got, err = list(w.admin, apitoken.ListParams{Owner: "grace", Order: apitoken.ByCreated})
	require.NoError(t, err)
	require.Len(t, got, 3)
	got, err = list(w.eve, apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, got, 3)
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true, Text: "GRA"})
	require.NoError(t, err)
	require.Len(t, got, 3)
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true, Text: "race"})
	require.NoError(t, err)
	require.Empty(t, got, "in the middle of a word")
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true, Text: "%"})
	require.NoError(t, err)
	require.Empty(t, got)
}

func nameList(page *apitoken.TokenPage) []string {
	var names []string
	for _, tok := range page.Tokens {
		names = append(names, tok.Name)
	}
	return names
}

func (s Suite) TestListsFilterByStatusAndRefuseWhatTheyDoNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "active" })
		w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "expired"; g.Expiry = apitoken.In(time.Minute) })
		w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "pending"; g.NotBefore = time.Now().Add(time.Hour) })
		inactive, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "inactive"; g.Expiry = apitoken.In(time.Minute) })
		m := w.auth.As(w.ada)
		_, err := m.Deactivate(t.Context(), inactive.ID)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		for _, status := range []apitoken.Status{apitoken.StatusActive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusInactive} {
			page, err := m.List(t.Context(), apitoken.ListParams{Status: status})
			require.NoError(t, err)
			require.Equal(t, []string{string(status)}, nameList(page))
			require.Equal(t, status, page.Tokens[0].Status)
		}
		for field, l := range map[string]apitoken.ListParams{
			"status": {Status: "gone"},
			"sort":   {Order: "size"},
			"limit":  {Limit: 201},
			"owner":  {AllOwners: true, Owner: "ada"},
			"cursor": {Cursor: "AAAA"},
		} {
			_, err := w.auth.As(w.admin).List(t.Context(), l)
			require.Equal(t, field, fieldOf(err), "%v", err)
		}
		_, err = m.List(t.Context(), apitoken.ListParams{Limit: -1})
		require.Equal(t, "limit", fieldOf(err))
	})
}

func (s Suite) TestPagesComeOneAfterTheOtherInEveryOrder(t *testing.T) {
	w := s.newWorld(t)
	for i := range 23 {
		w.generate(w.ada, func(g *apitoken.GenerateParams) {
			g.Name = fmt.Sprint("token ", i%5)
			if i%3 > 0 {
				g.Expiry = apitoken.In(time.Duration(1+i%4) * time.Hour)
			}
		})
	}
	for _, order := range []apitoken.Order{"", apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed} {
		for _, desc := range []bool{false, true} {
			l := apitoken.ListParams{Order: order, Descending: desc, Limit: 4}
			seen := map[string]int{}
			for pages := 0; ; pages++ {
				require.Less(t, pages, 10)
				page, err := w.auth.As(w.ada).List(t.Context(), l)
				require.NoError(t, err)
				require.Equal(t, 23, page.Count)
				for _, tok := range page.Tokens {
					seen[tok.ID]++
				}
				if l.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			require.Len(t, seen, 23)
			for _, n := range seen {
				require.Equal(t, 1, n)
			}
		}
	}
}

func (s Suite) TestCursorsCannotBeForgedOrCarriedElsewhere(t *testing.T) {
	w := s.newWorld(t)
	for _, actor := range []apitoken.Actor{w.admin, w.eve} {
		for range 3 {
			w.generate(actor)
		}
	}
	list := apitoken.ListParams{AllOwners: true, Limit: 1}
	page, err := w.auth.As(w.admin).List(t.Context(), list)
	require.NoError(t, err)
	require.NotEmpty(t, page.Next)

	with := func(edit func(*apitoken.ListParams)) apitoken.ListParams {
		l := list
		l.Cursor = page.Next
		edit(&l)
		return l
	}
	_, err = w.auth.As(w.admin).List(t.Context(), with(func(*apitoken.ListParams) {}))
	require.NoError(t, err)
	_, err = w.auth.As(w.eve).List(t.Context(), with(func(*apitoken.ListParams) {}))
	require.Equal(t, "cursor", fieldOf(err), "in another environment")
	for what, l := range map[string]apitoken.ListParams{
		"another owner":      with(func(l *apitoken.ListParams) { l.AllOwners = false }),
		"another status":     with(func(l *apitoken.ListParams) { l.Status = apitoken.StatusActive }),
		"another permission": with(func(l *apitoken.ListParams) { l.Permission = "devices:read" }),
		"another text":       with(func(l *apitoken.ListParams) { l.Text = "c" }),
		"another order":      with(func(l *apitoken.ListParams) { l.Order = apitoken.ByCreated }),
		"another direction":  with(func(l *apitoken.ListParams) { l.Descending = true }),
	} {
		_, err := w.auth.As(w.admin).List(t.Context(), l)
		require.Equal(t, "cursor", fieldOf(err), what)
	}
	for i := range page.Next {
		for _, c := range []byte("A_") {
			forged := []byte(page.Next)
			if forged[i] == c {
				continue
			}
			forged[i] = c
			_, err := w.auth.As(w.admin).List(t.Context(), with(func(l *apitoken.ListParams) { l.Cursor = string(forged) }))
			require.Equal(t, "cursor", fieldOf(err), "byte %d", i)
		}
	}
	for _, cursor := range []string{"x", page.Next[1:], page.Next + "A", page.Next + "=", page.Next + "\n", strings.Repeat("A", 1<<16)} {
		_, err := w.auth.As(w.admin).List(t.Context(), with(func(l *apitoken.ListParams) { l.Cursor = cursor }))
		require.Equal(t, "cursor", fieldOf(err), "%.20q", cursor)
	}
}

func (s Suite) TestAStoreThatFailsAChangeIsUnavailableAndTellsTheObserver(t *testing.T) {
	broken := errors.New("disk on fire at 10.0.0.7")
	faulty := &faultyStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = faulty })
	info, _ := w.generate(w.ada)
	for what, fail := range map[string]func(){
		"an error": func() { faulty.err = broken },
		"a panic":  func() { faulty.panics = true },
	} {
		fail()
		for name, err := range attempts(w, w.ada, info.ID) {
			require.ErrorIs(t, err, apitoken.ErrUnavailable, "%s: %s", what, name)
		}
		require.Equal(t, apitoken.ErrUnavailable, w.lastEvent().Reason)
		faulty.err, faulty.panics = nil, false
	}
	require.Equal(t, info.Version, w.stored(info.ID).Version)
}

// A faultyStore fails on demand, before it does anything.
type faultyStore struct {
	apitoken.Store
	err    error
	panics bool
}

func (s *faultyStore) fault() error {
	if s.panics {
		panic("store")
	}
	return s.err
}

func (s *faultyStore) Create(ctx context.Context, rec apitoken.Record) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.Create(ctx, rec)
}

func (s *faultyStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := s.fault(); err != nil {
		return apitoken.Record{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *faultyStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if err := s.fault(); err != nil {
		return apitoken.Page{}, err
	}
	return s.Store.List(ctx, q)
}

func (s Suite) TestACallerThatGoesAwayDoesNotBreakOffAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{Store: s.open(t)}
		w := s.newWorld(t, func(c *apitoken.Config) { c.Store = slow })
		info, _ := w.generate(w.ada)
		slow.delay = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		_, err := w.auth.As(w.ada).Deactivate(ctx, info.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		time.Sleep(5 * time.Second) // and is tried again, which finds that it was made
		require.Equal(t, apitoken.StatusInactive, w.stored(info.ID).Status, "it was under way")
		require.Equal(t, info.Version+1, w.stored(info.ID).Version)
	})
}

type slowStore struct {
	apitoken.Store
	delay time.Duration
}

func (s *slowStore) Replace(ctx context.Context, rec apitoken.Record) error {
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Store.Replace(ctx, rec)
}

func (s Suite) TestAListWithATokenThatWasNotAskedForIsRefused(t *testing.T) {
	lying := &lyingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = lying })
	w.generate(w.eve)
	w.generate(w.grace)
	lying.environment = "other"
	_, err := w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	_, err = w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	lying.environment = "demo"
	_, err = w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	page, err := w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, page.Tokens, 1)
	for field, l := range map[string]apitoken.ListParams{
		"status": {Status: apitoken.StatusExpired}, "permission": {Permission: "devices:write"}, "text": {Text: "no such token"},
	} {
		l.AllOwners = true
		_, err = w.auth.As(w.admin).List(t.Context(), l)
		require.ErrorIs(t, err, apitoken.ErrUnavailable, field)
	}
	lying.halves = true
	page, err = w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusDamaged, page.Tokens[0].Status)
	_, err = w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.ErrorIs(t, err, apitoken.ErrUnavailable, "a damaged token of another owner")
}

// A lyingStore lists all tokens of an environment, whatever it is asked for, or
// halves of them.
type lyingStore struct {
	apitoken.Store
	environment string
	halves      bool
}

func (s *lyingStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	page, err := s.Store.List(ctx, apitoken.Query{Environment: s.environment, Order: q.Order, Limit: q.Limit})
	for i := range page.Records {
		if s.halves {
			page.Records[i].Secrets = nil
		}
	}
	return page, err
}
