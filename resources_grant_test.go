package apitoken_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// forDevices is ada, who may grant what concerns some objects.
func forDevices(only ...string) apitoken.Actor {
	actor := ada
	actor.Only = only
	return actor
}

func (g *rig) generateOnly(t testing.TB, actor apitoken.Actor, only ...string) (*apitoken.TokenInfo, apitoken.Secret, error) {
	t.Helper()
	return g.As(actor).Generate(t.Context(), apitoken.GenerateParams{Name: "child", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(), Only: only})
}

// mustBeField checks that an error is about the field only.
func mustBeField(t testing.TB, err error, problem string, what ...any) {
	t.Helper()
	field, ok := errors.AsType[*apitoken.FieldError](err)
	require.True(t, ok, "%v: %v", what, err)
	assert.Equal(t, "only", field.Field, what...)
	assert.Contains(t, field.Problem, problem, what...)
}

func mustBeForbidden(t testing.TB, err error, rule string, what ...any) {
	t.Helper()
	forbidden, ok := errors.AsType[*apitoken.ForbiddenError](err)
	require.True(t, ok, "%v: %v", what, err)
	assert.Contains(t, forbidden.Rule, rule, what...)
}

func TestTheObjectsOfANewTokenAreStoredInOneForm(t *testing.T) {
	g := newRig(t)
	in, _, err := g.generateOnly(t, ada, "room:1", "device:8", "device:7", "device:8", "device:a:b")
	require.NoError(t, err)
	assert.Equal(t, []string{"device:7", "device:8", "device:a:b", "room:1"}, in.Only)
	in, _, err = g.generateOnly(t, ada)
	require.NoError(t, err)
	assert.Nil(t, in.Only)

	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("device:", i)
	}
	_, _, err = g.generateOnly(t, ada, many[1:]...)
	require.NoError(t, err)
	for problem, only := range map[string][]string{
		"has 101 entries; at most 100 are allowed":                      many,
		`contains "device", which is not a type, a colon and an ID`:     {"device"},
		`contains "Device:7", which`:                                    {"Device:7"},
		`contains ":7", which`:                                          {":7"},
		`contains "device:\n", which`:                                   {"device:\n"},
		`contains "device:\xff", which`:                                 {"device:\xff"},
		"which is not a type":                                           {"device:" + strings.Repeat("7", 129)},
		`contains both "device:", which is none of them, and "device:7`: {"device:7", "device:"},
		`contains an unknown type: "devise" (did you mean "device"?)`:   {"devise:7"},
	} {
		_, _, err := g.generateOnly(t, ada, only...)
		mustBeField(t, err, problem, problem)
		in, _ := g.generate(t)
		_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &only})
		mustBeField(t, err, problem, problem)
	}
}

// Bounds are those of an actor, and those of the token that an actor came by.
func TestWhatIsGrantedLiesWithinTheObjectsOfTheActorAndOfTheActingToken(t *testing.T) {
	for _, c := range []struct {
		name         string
		bound, asked []string
		want         []string // nil: refused
	}{
		{"the same", []string{"device:7", "device:8"}, []string{"device:7", "device:8"}, []string{"device:7", "device:8"}},
		{"fewer", []string{"device:7", "device:8"}, []string{"device:7"}, []string{"device:7"}},
		{"none", []string{"device:7"}, []string{"device:"}, []string{"device:"}},
		{"left out", []string{"device:7", "device:8"}, nil, []string{"device:7", "device:8"}},
		{"another type besides", []string{"device:7"}, []string{"room:1"}, []string{"device:7", "room:1"}},
		{"more", []string{"device:7"}, []string{"device:7", "device:8"}, nil},
		{"another", []string{"device:7"}, []string{"device:8"}, nil},
		{"one that begins alike", []string{"device:7"}, []string{"device:77"}, nil},
		{"one, of none", []string{"device:"}, []string{"device:7"}, nil},
		{"left out, of none", []string{"device:"}, nil, []string{"device:"}},
	} {
		g := newRig(t)
		_, secret, err := g.generateOnly(t, ada, c.bound...)
		require.NoError(t, err)
		byToken := ada
		byToken.Token, err = g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.AnyToken().Filtered(wire.Resources()...))
		require.NoError(t, err)
		both := byToken
		both.Only = []string{"device:7", "device:8", "device:9"}
		for _, actor := range []apitoken.Actor{forDevices(c.bound...), byToken, both} {
			in, _, err := g.generateOnly(t, actor, c.asked...)
			if c.want == nil {
				mustBeField(t, err, "contains objects of the type device that you may not grant", c.name)
				continue
			}
			require.NoError(t, err, c.name)
			assert.Equal(t, c.want, in.Only, c.name)
		}
	}
}

func TestAnActingTokenThatWasNarrowedSinceGrantsNoMoreThanItHas(t *testing.T) {
	g := newRig(t)
	acting, secret, err := g.generateOnly(t, ada, "device:7", "device:8")
	require.NoError(t, err)
	actor := ada
	actor.Token, err = g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.AnyToken().Filtered(wireDevice))
	require.NoError(t, err)
	_, err = g.As(ada).Update(t.Context(), acting.ID, apitoken.UpdateParams{Only: &[]string{"device:7"}})
	require.NoError(t, err)
	_, _, err = g.generateOnly(t, actor, "device:8")
	mustBeField(t, err, "that you may not grant")
	in, _, err := g.generateOnly(t, actor)
	require.NoError(t, err)
	assert.Equal(t, []string{"device:7"}, in.Only)
}

func TestAnActorWithAnEmptyOrMalformedListOfObjectsMayDoNothing(t *testing.T) {
	g := newRig(t)
	for _, only := range [][]string{{}, {"device"}, {"device:7", "device:"}} {
		_, _, err := g.generateOnly(t, forDevices(only...), "device:7")
		if len(only) == 0 {
			actor := ada
			actor.Only = only
			_, _, err = g.generateOnly(t, actor)
		}
		mustBeForbidden(t, err, "is malformed, or empty", only)
	}
	_, _, err := g.generateOnly(t, forDevices("devise:7"))
	mustBeField(t, err, `unknown type: "devise"`)
}

// A wide token exists already: what an actor who has fewer objects does with it.
func TestToGrantAnExistingTokenTakesItsObjects(t *testing.T) {
	const rule = "you may not grant what you do not have: objects of the type device"
	for _, wide := range [][]string{nil, {"device:7", "device:8"}} {
		g := newRig(t)
		in, _, err := g.generateOnly(t, ada, wide...)
		require.NoError(t, err)
		m := g.As(forDevices("device:7"))
		update := func(u apitoken.UpdateParams) error {
			_, err := m.Update(t.Context(), in.ID, u)
			return err
		}
		soon := apitoken.At(farOff)
		_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: soon})
		require.NoError(t, err)

		_, _, err = m.Rotate(t.Context(), in.ID, 0, "")
		mustBeForbidden(t, err, rule, "rotate")
		mustBeForbidden(t, update(apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireRead, wireWrite}}), rule, "add a permission")
		mustBeForbidden(t, update(apitoken.UpdateParams{Expiry: apitoken.Never()}), rule, "extend")
		if wide == nil {
			mustBeForbidden(t, update(apitoken.UpdateParams{Only: &[]string{"room:1"}, Expiry: apitoken.Never()}), rule, "extend and narrow another type")
		} else {
			mustBeForbidden(t, update(apitoken.UpdateParams{Only: &[]string{"device:7", "device:9"}}), rule, "add an object")
			mustBeForbidden(t, update(apitoken.UpdateParams{Only: &[]string{}}), rule, "remove the limit")
		}
		assert.NoError(t, update(apitoken.UpdateParams{Name: new("renamed")}))
		assert.NoError(t, update(apitoken.UpdateParams{Active: new(false)}))
		mustBeForbidden(t, update(apitoken.UpdateParams{Active: new(true)}), rule, "activate")
		_, err = m.Bulk(t.Context(), apitoken.BulkParams{Action: "activate", IDs: []string{in.ID}})
		mustBeForbidden(t, err, rule, "activate in bulk")

		require.NoError(t, update(apitoken.UpdateParams{Only: &[]string{"device:7"}}), "narrow")
		require.NoError(t, update(apitoken.UpdateParams{Active: new(true), Expiry: apitoken.Never(), Permissions: &[]apitoken.Permission{wireRead, wireWrite}}))
		_, _, err = m.Rotate(t.Context(), in.ID, 3600e9, "")
		require.NoError(t, err)

		_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:8"}})
		require.NoError(t, err)
		_, err = m.UndoRotation(t.Context(), in.ID)
		mustBeForbidden(t, err, rule, "undo a rotation")
		_, err = m.EndOverlap(t.Context(), in.ID)
		assert.NoError(t, err)
		assert.NoError(t, m.Delete(t.Context(), in.ID))
	}
}

func TestAdministratorsTakeObjectsAwayAndGiveNone(t *testing.T) {
	g := newRig(t)
	in, _, err := g.generateOnly(t, ada)
	require.NoError(t, err)
	eve := apitoken.Actor{User: "eve", Environment: "production", ManageOthers: true, Grants: wire.All()}
	change := func(actor apitoken.Actor, only ...string) error {
		_, err := g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &only})
		return err
	}
	const rule = "only its owner may change the only of a token this way"
	require.NoError(t, change(eve, "device:7", "device:8"))
	require.NoError(t, change(eve, "device:7"))
	require.NoError(t, change(eve, "device:7", "room:1"))
	mustBeForbidden(t, change(eve, "device:7", "device:8", "room:1"), rule)
	mustBeForbidden(t, change(eve, "device:7"), rule, "without rooms")
	mustBeForbidden(t, change(eve), rule)
	require.NoError(t, change(eve, "device:", "room:1"))
	got, err := g.As(ada).Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{"device:", "room:1"}, got.Only)
	assert.Equal(t, []string{"only"}, got.History[0].Fields)
	assert.Equal(t, "eve", got.History[0].By)
	require.NoError(t, change(ada))
	require.NoError(t, change(ada))
	got, err = g.As(ada).Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Nil(t, got.Only)
}

func TestByAnApiTokenObjectsCanOnlyBeTakenAway(t *testing.T) {
	g := newRig(t)
	_, secret, err := g.generateOnly(t, ada, "device:7")
	require.NoError(t, err)
	actor := ada
	actor.Token, err = g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.AnyToken().Filtered(wireDevice))
	require.NoError(t, err)
	in, _, err := g.generateOnly(t, ada, "device:7", "device:8")
	require.NoError(t, err)
	change := func(only ...string) error {
		_, err := g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &only})
		return err
	}
	const rule = "by API token you may only narrow"
	mustBeForbidden(t, change("device:7", "device:9"), rule)
	mustBeForbidden(t, change(), rule)
	mustBeForbidden(t, change("room:1"), rule)
	require.NoError(t, change("device:8"), "what the acting token does not reach itself may be narrowed, too")
	_, err = g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Active: new(false)})
	require.NoError(t, err)
	_, err = g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Active: new(true)})
	mustBeForbidden(t, err, rule)
	_, _, err = g.As(actor).Rotate(t.Context(), in.ID, 0, "")
	mustBeForbidden(t, err, "by API token you may rotate that very token")
}

func TestAnImportIsBoundAsWell(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} })
	earlier := func(n int, only ...string) apitoken.ImportParams {
		return apitoken.ImportParams{
			GenerateParams: apitoken.GenerateParams{Name: "earlier", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(), Only: only},
			Secret:         apitoken.NewSecret(fmt.Sprintf("earlier-%022d", n)),
		}
	}
	m := g.As(forDevices("device:7"))
	mustBeField(t, m.CheckImport(t.Context(), earlier(1, "device:8")), "that you may not grant")
	tokens, errs := m.ImportAll(t.Context(), []apitoken.ImportParams{earlier(2, "device:7"), earlier(3, "device:8"), earlier(4)})
	require.NoError(t, errs[0])
	mustBeField(t, errs[1], "that you may not grant")
	require.NoError(t, errs[2])
	assert.Equal(t, []string{"device:7"}, tokens[0].Only)
	assert.Equal(t, []string{"device:7"}, tokens[2].Only)
	a, _ := g.askObject(t, onDevice, "7", fmt.Sprintf("earlier-%022d", 4))
	assert.Equal(t, 204, a.status)
	a, _ = g.askObject(t, onDevice, "8", fmt.Sprintf("earlier-%022d", 4))
	assert.Equal(t, 403, a.status)
}

func TestAnIdempotencyKeyIsOfOneListOfObjects(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.EncryptionKeys = []apitoken.Key{testKeyNamed(t, "a")} })
	ask := func(only ...string) error {
		_, _, err := g.As(ada).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(), Only: only, IdempotencyKey: "k"})
		return err
	}
	require.NoError(t, ask("device:8", "device:7"))
	require.NoError(t, ask("device:7", "device:8"))
	require.ErrorIs(t, ask("device:7"), apitoken.ErrExists)
	require.ErrorIs(t, ask(), apitoken.ErrExists)
}

// A type that the catalog has lost stays in a record until its owner takes it away.
func TestObjectsOfATypeThatTheCatalogHasLostStayUntilTheyAreTakenAway(t *testing.T) {
	g := newRig(t, noCache)
	m := mint("limited to gone:1 room:1")
	text := g.limitedTo(t, "gone:1", "room:1")
	get := func() int {
		a, _ := g.askObject(t, apitoken.AnyToken().Filtered(wire.Resources()...), "", text)
		return a.status
	}
	require.Equal(t, 403, get())
	change := func(only ...string) error {
		_, err := g.As(ada).Update(t.Context(), m.id, apitoken.UpdateParams{Only: &only})
		return err
	}
	require.NoError(t, change("device:7", "gone:1", "room:1"))
	mustBeField(t, change("gone:2"), `unknown type: "gone"`)
	require.Equal(t, 403, get())
	require.NoError(t, change("device:7"))
	require.Equal(t, 204, get())
}
