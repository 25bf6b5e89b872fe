package apitoken_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// The types of objects of the tests.
var (
	wireDevice = wire.Resource("device", "Device")
	wireRoom   = wire.Resource("room", "Room")
)

var (
	onDevice = apitoken.All(wireRead).On(wireDevice, apitoken.PathValue("id"))

	resourceNotAllowed = apitoken.Problem{Type: problemBase + "resource-not-allowed", Title: "Resource not allowed", Status: 403, Resource: "device",
		Detail: "The API token is limited to some objects of the type device, and the request is not about one of these."}
	unknownResource = apitoken.Problem{Type: problemBase + "unknown-resource", Title: "Route misconfigured", Status: 500,
		Detail: "The service could not find out which object the request is about. No API token is accepted here until the service is corrected."}
)

// limitedTo adds a token with devices:read that is limited to objects.
func (g *rig) limitedTo(t testing.TB, only ...string) string {
	t.Helper()
	m := mint("limited to " + strings.Join(only, " "))
	rec := m.record(wireRead)
	rec.Only = only
	require.NoError(t, g.store.Create(t.Context(), rec))
	return m.text
}

// askObject asks for an object on a route with a requirement.
func (g *rig) askObject(t testing.TB, requirement apitoken.Requirement, id, token string) (answer, *spy) {
	t.Helper()
	r := newRequest("/devices/x", "apiToken "+token)
	r.SetPathValue("id", id)
	r.Pattern = "GET /devices/{id}"
	return askGuard(t, g.Guard(requirement), r)
}

func TestATokenReachesOnlyItsObjectsOnEveryKindOfRoute(t *testing.T) {
	g := newRig(t, noCache)
	const ok, denied, broken = 204, 403, 500
	tokens := []struct {
		name string
		text string
	}{
		{"without limits", goodToken.text},
		{"limited to device 7", g.limitedTo(t, "device:7")},
		{"limited to devices 7 and 8", g.limitedTo(t, "device:7", "device:8")},
		{"limited to no device", g.limitedTo(t, "device:")},
		{"limited to a room", g.limitedTo(t, "room:7")},
		{"limited to a device and a room", g.limitedTo(t, "device:7", "room:1")},
		{"limited to a type that the catalog does not have", g.limitedTo(t, "gone:7")},
	}
	read, path := apitoken.All(wireRead), apitoken.PathValue("id")
	panics := func(*http.Request) string { panic("a bug") }
	for _, route := range []struct {
		name        string
		requirement apitoken.Requirement
		id          string
		want        [7]int
	}{
		{"on device 7", onDevice, "7", [7]int{ok, ok, ok, denied, denied, denied, denied}},
		{"on device 8", onDevice, "8", [7]int{ok, denied, ok, denied, denied, denied, denied}},
		{"on device 07", onDevice, "07", [7]int{ok, denied, denied, denied, denied, denied, denied}},
		{"on a device with colons", onDevice, "device:7", [7]int{ok, denied, denied, denied, denied, denied, denied}},
		{"on an ID of the program", read.On(wireDevice, apitoken.ID("7")), "", [7]int{ok, ok, ok, denied, denied, denied, denied}},
		{"filtered", read.Filtered(wireDevice), "", [7]int{ok, ok, ok, ok, denied, denied, denied}},
		{"filtered by both", read.Filtered(wireDevice, wireRoom), "", [7]int{ok, ok, ok, ok, ok, ok, denied}},
		{"filtered by nothing", read.Filtered(), "", [7]int{ok, denied, denied, denied, denied, denied, denied}},
		{"on a device, filtered by room", onDevice.Filtered(wireRoom), "7", [7]int{ok, ok, ok, denied, ok, ok, denied}},
		{"on a device and a room", onDevice.On(wireRoom, apitoken.ID("1")), "7", [7]int{ok, ok, ok, denied, denied, ok, denied}},
		{"on two devices", onDevice.On(wireDevice, apitoken.ID("8")), "7", [7]int{ok, denied, ok, denied, denied, denied, denied}},
		{"on a device, and filtered", onDevice.Filtered(wireDevice), "8", [7]int{ok, denied, ok, denied, denied, denied, denied}},
		{"saying nothing", read, "7", [7]int{ok, denied, denied, denied, denied, denied, denied}},
		{"of any token, saying nothing", apitoken.AnyToken(), "7", [7]int{ok, denied, denied, denied, denied, denied, denied}},
		{"on an empty value", onDevice, "", [7]int{broken, broken, broken, broken, broken, broken, broken}},
		{"on a value that is too long", onDevice, strings.Repeat("7", 129), [7]int{broken, broken, broken, broken, broken, broken, broken}},
		{"on the longest value", onDevice, strings.Repeat("7", 128), [7]int{ok, denied, denied, denied, denied, denied, denied}},
		{"on a value that is not UTF-8", onDevice, "\xff", [7]int{broken, broken, broken, broken, broken, broken, broken}},
		{"on a value with a control character", onDevice, "7\n", [7]int{broken, broken, broken, broken, broken, broken, broken}},
		{"on a function that panics", read.On(wireDevice, panics), "", [7]int{broken, broken, broken, broken, broken, broken, broken}},
		{"on another device and an empty value", read.On(wireDevice, apitoken.ID("9")).On(wireRoom, path), "", [7]int{broken, broken, broken, broken, broken, broken, broken}},
	} {
		for i, token := range tokens {
			a, s := g.askObject(t, route.requirement, route.id, token.text)
			assert.Equal(t, route.want[i], a.status, "a route %s, a token %s", route.name, token.name)
			assert.Equal(t, route.want[i] == ok, s.called() == 1, "calls of the handler: a route %s, a token %s", route.name, token.name)
		}
	}
}

func TestARefusalForAnObjectNamesItsTypeAndNoID(t *testing.T) {
	g := newRig(t)
	token := g.limitedTo(t, "device:7")
	var bodies []string
	for _, id := range []string{"8", "secret-device", "9"} {
		a, s := g.askObject(t, onDevice, id, token)
		mustRefuse(t, a, s, resourceNotAllowed, "")
		bodies = append(bodies, a.body)
		ev := g.event(t)
		assert.Equal(t, apitoken.ErrResourceNotAllowed, ev.Reason)
		assert.Equal(t, "GET /devices/{id}", ev.Pattern)
		assert.NotZero(t, ev.Token)
		assert.NoError(t, ev.Err)
	}
	assert.Equal(t, bodies[0], bodies[1], "for every object of the request")
	assert.Equal(t, bodies[0], bodies[2])
	a, s := g.askObject(t, apitoken.All(wireRead), "7", token)
	mustRefuse(t, a, s, resourceNotAllowed, "")
	assert.EqualValues(t, 4, g.Stats().Refused[apitoken.ErrResourceNotAllowed])
}

func TestARouteThatDoesNotKnowItsObjectIsFoundAtOnce(t *testing.T) {
	g := newRig(t)
	var logged bytes.Buffer
	write := apitoken.LogEvents(slog.New(slog.NewTextHandler(&logged, nil)))
	for _, token := range []string{goodToken.text, g.limitedTo(t, "device:7"), g.limitedTo(t, "device:")} {
		a, s := g.askObject(t, onDevice, "", token)
		mustRefuse(t, a, s, unknownResource, "")
		ev := g.event(t)
		assert.Equal(t, apitoken.Reason("unknown_resource"), ev.Reason)
		assert.Equal(t, "GET /devices/{id}", ev.Pattern)
		assert.EqualError(t, ev.Err, `apitoken: the route does not know which device the request is about: "" is not an ID`)
		write(t.Context(), ev)
	}
	assert.Equal(t, 3, strings.Count(logged.String(), "level=ERROR"))
	_, err := g.Check(newRequest("/", "apiToken "+goodToken.text), onDevice)
	assert.False(t, errors.Is(err, apitoken.ErrUnavailable), "nobody is to try again")
	assert.False(t, errors.Is(err, apitoken.ErrInvalidToken))

	g.askObject(t, apitoken.All(wireRead).On(wireDevice, func(*http.Request) string { panic("a bug") }), "", goodToken.text)
	g.events = g.events[1:]
	assert.EqualError(t, g.event(t).Err, "apitoken: the route does not know which device the request is about: apitoken: the function of Requirement.On panicked: a bug")
}

func TestWhatElseStandsAgainstATokenComesBeforeItsObjects(t *testing.T) {
	for name, owners := range map[string]func(context.Context, string, string) ([]apitoken.Permission, error){
		"without owners": nil, "with owners": ownersByName,
	} {
		g := newRig(t, noCache, func(c *apitoken.Config) { c.OwnerPermissions = owners })
		only := g.limitedTo(t, "device:7")
		write := apitoken.All(wireWrite).On(wireDevice, apitoken.PathValue("id"))
		for _, c := range []struct {
			what, token, id string
			requirement     apitoken.Requirement
			status          int
		}{
			{"expired", expiredToken.text, "", onDevice, 401},
			{"unknown", unknownToken.text, "", onDevice, 401},
			{"a missing permission", only, "8", write, 403},
			{"a missing permission, on a broken route", goodToken.text, "", write, 403},
			{"nothing", goodToken.text, "7", onDevice, 204},
			{"another device", only, "8", onDevice, 403},
			{"a broken route", only, "", onDevice, 500},
		} {
			a, _ := g.askObject(t, c.requirement, c.id, c.token)
			assert.Equal(t, c.status, a.status, "%s: %s", name, c.what)
			assert.Equal(t, c.what == "another device", strings.Contains(a.body, "resource-not-allowed"), "%s: %s", name, c.what)
		}
	}
}

func TestTheOwnerIsAskedBeforeTheObjects(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.OwnerPermissions = ownersByName })
	for owner, want := range map[string]apitoken.Reason{
		"gone": apitoken.ErrNoOwner, "idle": apitoken.ErrMissingPermission, "broken": apitoken.ErrUnavailable, "less": apitoken.ErrResourceNotAllowed,
	} {
		m := mint("owned by " + owner)
		rec := m.record(wireRead)
		rec.Owner, rec.Only = owner, []string{"device:7"}
		require.NoError(t, g.store.Create(t.Context(), rec))
		r := newRequest("/", "apiToken "+m.text)
		r.SetPathValue("id", "8")
		_, err := g.Check(r, onDevice)
		assert.ErrorIs(t, err, want, owner)
	}
}

func TestARequestForAnotherObjectTakesNothingFromTheLimitAndIsAUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		g := newRig(t, limited, func(c *apitoken.Config) { c.Store = store })
		g.store.Store = store
		only, other, never := g.limitedTo(t, "device:7"), g.limitedTo(t, "device:9"), g.limitedTo(t, "device:")
		for range 9 {
			a, _ := g.askObject(t, onDevice, "8", only)
			require.Equal(t, 403, a.status)
			a, _ = g.askObject(t, onDevice, "", only)
			require.Equal(t, 500, a.status)
		}
		a, _ := g.askObject(t, onDevice, "7", only)
		require.Equal(t, 204, a.status)

		g.askObject(t, onDevice, "8", other)
		g.askObject(t, onDevice, "", never)
		require.NoError(t, g.Close())
		for text, uses := range map[string]int{other: 1, never: 0} {
			id, _ := g.IDOf(apitoken.NewSecret(text))
			rec, err := store.Get(t.Context(), id)
			require.NoError(t, err)
			assert.Len(t, rec.Uses, uses)
		}
	})
}

func TestVerifyAndRecheckKnowOnlyWhatTheProgramKnows(t *testing.T) {
	g := newRig(t)
	only := g.limitedTo(t, "device:7")
	read := apitoken.All(wireRead)
	type key struct{}
	ofContext := func(r *http.Request) string { id, _ := r.Context().Value(key{}).(string); return id }
	for _, c := range []struct {
		name        string
		requirement apitoken.Requirement
		want        apitoken.Reason
	}{
		{"its device", read.On(wireDevice, apitoken.ID("7")), ""},
		{"another one", read.On(wireDevice, apitoken.ID("8")), apitoken.ErrResourceNotAllowed},
		{"no ID", read.On(wireDevice, apitoken.ID("")), "unknown_resource"},
		{"nothing", read, apitoken.ErrResourceNotAllowed},
		{"filtered", read.Filtered(wireDevice), ""},
		{"a value of the path", onDevice, "unknown_resource"},
		{"a value of the query", read.On(wireDevice, func(r *http.Request) string { return r.URL.Query().Get("id") }), "unknown_resource"},
		{"a value of the context", read.On(wireDevice, ofContext), ""},
	} {
		ctx := context.WithValue(t.Context(), key{}, "7")
		for _, text := range []string{only, goodToken.text} {
			tok, err := g.Verify(ctx, apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production"}, read.Filtered(wireDevice))
			require.NoError(t, err)
			_, verified := g.Verify(ctx, apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production"}, c.requirement)
			_, rechecked := g.Recheck(ctx, tok, c.requirement)
			want := c.want
			if text == goodToken.text && want == apitoken.ErrResourceNotAllowed {
				want = ""
			}
			for _, err := range []error{verified, rechecked} {
				if want == "" {
					assert.NoError(t, err, c.name)
				} else {
					assert.ErrorIs(t, err, want, c.name)
				}
			}
		}
	}
}

func TestRecheckGoesByTheObjectsOfNow(t *testing.T) {
	g := newRig(t, noCache)
	in, secret := g.generate(t)
	on7 := apitoken.All(wireRead).On(wireDevice, apitoken.ID("7"))
	tok, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), on7)
	require.NoError(t, err)
	_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:8"}})
	require.NoError(t, err)
	_, err = g.Recheck(t.Context(), tok, on7)
	assert.ErrorIs(t, err, apitoken.ErrResourceNotAllowed)
}

func TestATokenTellsItsObjects(t *testing.T) {
	g := newRig(t)
	check := func(text string) apitoken.Token {
		tok, err := g.Check(newRequest("/", "apiToken "+text), apitoken.AnyToken().Filtered(wire.Resources()...))
		require.NoError(t, err)
		return tok
	}
	var other apitoken.Catalog
	for _, c := range []struct {
		name    string
		tok     apitoken.Token
		of      apitoken.Resource
		ids     []string
		limited bool
	}{
		{"two devices", check(g.limitedTo(t, "device:7", "device:8", "room:1")), wireDevice, []string{"7", "8"}, true},
		{"none", check(g.limitedTo(t, "device:")), wireDevice, nil, true},
		{"another type", check(g.limitedTo(t, "room:1")), wireDevice, nil, false},
		{"no limits", check(goodToken.text), wireDevice, nil, false},
		{"the zero Token", apitoken.Token{}, wireDevice, nil, true},
		{"the zero Resource", check(goodToken.text), apitoken.Resource{}, nil, true},
		{"one of another catalog", check(goodToken.text), other.Resource("device", "Device"), nil, true},
	} {
		ids, limited := c.tok.Only(c.of)
		assert.Equal(t, c.ids, ids, c.name)
		assert.Equal(t, c.limited, limited, c.name)
	}
	tok := check(g.limitedTo(t, "device:1", "device:2"))
	ids, _ := tok.Only(wireDevice)
	ids[0] = "2"
	_, err := g.Recheck(t.Context(), tok, apitoken.AnyToken().On(wireDevice, apitoken.ID("1")))
	assert.NoError(t, err, "they are a copy")
}

func TestMistakesWithResourcesPanicAtTheStart(t *testing.T) {
	var c, other apitoken.Catalog
	read := c.Define("devices:read", "See devices")
	device := c.Resource("device", "Device")
	foreign := other.Resource("device", "Device")
	assert.Equal(t, "device Device device", device.Name()+" "+device.Label()+" "+device.String())
	assert.Empty(t, apitoken.Resource{}.Name()+apitoken.Resource{}.Label())
	c.Resource("a-z_09", "Type")
	assert.Len(t, c.Resources(), 2)
	for _, name := range []string{"", "Device", "device:", "de vice", "gerät", strings.Repeat("x", 33)} {
		mustPanic(t, func() { c.Resource(name, "Device") }, "resources_test.go", "resource name")
	}
	mustPanic(t, func() { c.Resource("x", " ") }, "label", "has no visible character")
	mustPanic(t, func() { c.Resource("x", strings.Repeat("x", 101)) }, "label", "at most 100")
	mustPanic(t, func() { c.Resource("device", "Again") }, `resource "device" is defined already at`)
	mustPanic(t, func() { apitoken.All(read).On(apitoken.Resource{}, apitoken.ID("7")) }, "zero Resource")
	mustPanic(t, func() { apitoken.All(read).Filtered(apitoken.Resource{}) }, "zero Resource")
	mustPanic(t, func() { apitoken.All(read).On(device, nil) }, "resources_test.go", "use PathValue or ID")

	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &c, Store: memory.New()})
	require.NoError(t, err)
	defer auth.Close()
	mustPanic(t, func() { c.Resource("late", "Late") }, "after the catalog was closed by New")
	mustPanic(t, func() { auth.Guard(apitoken.All(read).Filtered(foreign)) }, `resource "device", defined at`, "is not of the catalog")
	_, _, err = auth.As(apitoken.Actor{User: "ada", Environment: "production", Grants: c.All()}).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: c.All(), Expiry: apitoken.Never()})
	require.NoError(t, err)
	_, err = auth.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.All(read).Filtered(foreign))
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
}

func TestARequirementIsNotChangedByOnAndFiltered(t *testing.T) {
	g := newRig(t)
	only := g.limitedTo(t, "device:7", "room:1")
	both := onDevice.Filtered(wireRoom)
	onDevice.On(wireRoom, apitoken.ID("2"))
	a, _ := g.askObject(t, both, "7", only)
	assert.Equal(t, 204, a.status)
	a, _ = g.askObject(t, onDevice, "7", only)
	assert.Equal(t, 403, a.status)
}

func TestTheTableOfRoutesSaysWhichObjectsTheyAreAbout(t *testing.T) {
	g := newRig(t)
	rt := g.Routes(http.NewServeMux())
	rt.Handle("GET /devices/{id}", "See", onDevice.On(wireDevice, apitoken.PathValue("id")).Filtered(wireRoom), new(spy))
	rt.Handle("GET /", "All", apitoken.All(wireRead), new(spy))
	table := rt.Table()
	table[0].Resources[0], table[0].Filtered[0] = "x", "x"
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, newRequest("/"))
	assert.JSONEq(t, `{"routes":[
		{"method":"GET","pattern":"/devices/{id}","permissions":["devices:read"],"match":"all","resources":["device"],"filtered":["room"],"description":"See"},
		{"method":"GET","pattern":"/","permissions":["devices:read"],"match":"all","description":"All"}]}`, w.Body.String())
}

func TestExplainTellsForWhichObjectsATokenPassesARoute(t *testing.T) {
	g := newRig(t, noCache)
	read := apitoken.All(wireRead)
	denied := []apitoken.Reason{apitoken.ErrResourceNotAllowed}
	for _, c := range []struct {
		name        string
		token       []string
		requirement apitoken.Requirement
		reasons     []apitoken.Reason
		only        []string
	}{
		{"no limits", nil, onDevice, nil, nil},
		{"a value of the path", []string{"device:7", "device:8"}, onDevice, nil, []string{"device:7", "device:8"}},
		{"a value of the path, and no device", []string{"device:"}, onDevice, denied, nil},
		{"filtered, and no device", []string{"device:"}, read.Filtered(wireDevice), nil, []string{"device:"}},
		{"its device", []string{"device:7"}, read.On(wireDevice, apitoken.ID("7")), nil, []string{"device:7"}},
		{"another device", []string{"device:7"}, read.On(wireDevice, apitoken.ID("8")), denied, nil},
		{"nothing of devices", []string{"device:7"}, read, denied, nil},
		{"nothing of rooms", []string{"device:7", "room:1"}, onDevice, denied, nil},
		{"an unknown type", []string{"gone:1"}, onDevice, denied, nil},
	} {
		rec := mint("explained: " + c.name).record(wireRead)
		rec.Only = c.token
		require.NoError(t, g.store.Create(t.Context(), rec))
		x, err := g.As(ada).Explain(t.Context(), rec.ID, c.requirement, netip.Addr{})
		require.NoError(t, err)
		assert.Equal(t, c.reasons, x.Reasons, c.name)
		assert.Equal(t, c.only, x.Only, c.name)
	}
	var other apitoken.Catalog
	_, err := g.As(ada).Explain(t.Context(), goodToken.id, read.Filtered(other.Resource("x", "X")), netip.Addr{})
	assert.ErrorContains(t, err, "is not of the catalog")
}

func TestANarrowingByAnotherNodeHoldsWhenTheFeedReportsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		a := newRig(t, func(c *apitoken.Config) { c.Store = store })
		b := newRig(t, func(c *apitoken.Config) { c.Store = store })
		in, secret := a.generate(t)
		r := newRequest("/", "apiToken "+secret.Reveal())
		r.SetPathValue("id", "7")
		_, err := b.Check(r, onDevice)
		require.NoError(t, err)
		_, err = a.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:8"}})
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = b.Check(r, onDevice)
		assert.ErrorIs(t, err, apitoken.ErrResourceNotAllowed)
	})
}

func TestARecordWithoutObjectsIsEncodedAsBefore(t *testing.T) {
	rec := goodToken.record(wireRead)
	without := encode(t, rec)
	rec.Only = []string{"device:7", "room:1"}
	with := encode(t, rec)
	field := "\x1c\x10\x08device:7\x06room:1" // tag 28, which is even: an older program refuses the record
	assert.Equal(t, string(without), strings.Replace(string(with), field, "", 1))
	var back apitoken.Record
	require.NoError(t, back.UnmarshalBinary(with))
	assert.Equal(t, rec.Only, back.Only)
	assert.Error(t, back.UnmarshalBinary([]byte(strings.Replace(string(with), field, "\x1c\x00", 1))), "an empty list is not written")
}

func TestObjectsThatSomebodyTookFromARecordBreakItsMAC(t *testing.T) {
	g := newRig(t, noCache, func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{testKeyNamed(t, "a")} })
	in, secret := g.generate(t, func(p *apitoken.GenerateParams) { p.Only = []string{"device:7"} })
	for _, only := range [][]string{nil, {"device:7", "device:8"}, {"device:8"}} {
		rec, err := g.store.Store.Get(t.Context(), in.ID)
		require.NoError(t, err)
		rec.Only = only
		require.ErrorIs(t, g.present(rec, secret), apitoken.ErrUnavailable)
	}
}

func TestARecordWithObjectsThatNobodyCouldReadIsRefused(t *testing.T) {
	for _, only := range [][]string{{"x"}, {""}, {":7"}, {"Device:7"}, {"device:7", "device:7"}, {"device:8", "device:7"}, {"device:", "device:7"}, {"device:\x00"}} {
		g := newRig(t)
		_, err := g.Check(newRequest("/", "apiToken "+g.limitedTo(t, only...)), apitoken.AnyToken().Filtered(wireDevice))
		assert.ErrorIs(t, err, apitoken.ErrUnavailable, only)
	}
}

func TestAProblemOfAnObjectHasNoMembersOfPermissions(t *testing.T) {
	g := newRig(t)
	a, _ := g.askObject(t, onDevice, "8", g.limitedTo(t, "device:7"))
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &members))
	assert.Len(t, members, 5)
	assert.Equal(t, "device", members["resource"])
}
