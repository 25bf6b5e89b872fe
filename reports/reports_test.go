package reports_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A world is a service with three routes and an open one.
type world struct {
	t                          *testing.T
	catalog                    apitoken.Catalog
	read, write, export, spare apitoken.Permission
	store                      *brokenStore
	auth                       *apitoken.Authority
	routes                     []apitoken.Route
	admin, ada                 apitoken.Actor
	owner                      func(owner string) ([]apitoken.Permission, error)
}

// brokenStore lists pages of two tokens, and in circles or not at all.
type brokenStore struct {
	*memory.Store
	circles, fails bool
	gone           string // an ID that lists have, and Get has not
}

func (s *brokenStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if s.fails {
		return apitoken.Page{}, errors.New("the disk is gone")
	}
	q.Limit = min(q.Limit, 2)
	if s.circles {
		q.After = nil
	}
	return s.Store.List(ctx, q)
}

func (s *brokenStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if id == s.gone {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	return s.Store.Get(ctx, id)
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: &brokenStore{Store: memory.New()}}
	w.read = w.catalog.Define("devices:read", "See devices")
	w.write = w.catalog.Define("devices:write", "Change devices")
	w.export = w.catalog.Define("reports:export", "Export reports")
	w.spare = w.catalog.Define("spare", "Nothing needs it")
	w.owner = func(string) ([]apitoken.Permission, error) { return w.catalog.All(), nil }
	var err error
	w.auth, err = apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &w.catalog, Store: w.store, MaxStaleness: apitoken.NoCache,
		OwnerPermissions: func(_ context.Context, _, owner string) ([]apitoken.Permission, error) { return w.owner(owner) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { w.auth.Close() })
	rt := w.auth.Routes(http.NewServeMux())
	none := http.NotFoundHandler()
	rt.Handle("GET /devices", "List the devices", apitoken.Any(w.read, w.write), none)
	rt.Handle("POST /devices", "Add a device", apitoken.All(w.write, w.read), none)
	rt.Handle("GET /reports", "Export the reports", apitoken.All(w.export), none)
	rt.Handle("GET /me", "Who am I", apitoken.AnyToken(), none)
	rt.Open("GET /healthz", "Health", none)
	w.routes = rt.Table()
	w.admin = apitoken.Actor{User: "admin", Environment: "default", Grants: w.catalog.All(), ManageOthers: true}
	w.ada = apitoken.Actor{User: "ada", Environment: "default", Grants: w.catalog.All()}
	return w
}

func (w *world) generate(actor apitoken.Actor, name string, perms ...apitoken.Permission) string {
	in, _, err := w.auth.As(actor).Generate(w.t.Context(), apitoken.GenerateParams{Name: name, Permissions: perms, Expiry: apitoken.Never()})
	require.NoError(w.t, err)
	return in.ID
}

// names returns the names of the tokens of a report, in order.
func names(t *testing.T, report iter.Seq2[*apitoken.TokenInfo, error]) []string {
	list := []string{}
	for in, err := range report {
		require.NoError(t, err)
		list = append(list, in.Name)
	}
	slices.Sort(list)
	return list
}

// failure returns the error that ends a report.
func failure[T any](report iter.Seq2[T, error]) (last error) {
	for _, err := range report {
		if err == nil && last != nil {
			return errors.New("it went on after an error")
		}
		last = err
	}
	return last
}

func TestWhoCanMakeACallIsWhoseTokenIsAcceptedForIt(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.generate(w.ada, fmt.Sprint("read ", i), w.read)
	}
	w.generate(w.admin, "both", w.read, w.write)
	w.generate(w.admin, "write", w.write)
	off := w.generate(w.ada, "inactive", w.read, w.write)
	_, err := w.auth.As(w.ada).Deactivate(t.Context(), off)
	require.NoError(t, err)
	w.generate(w.admin, "spare", w.spare)
	for _, c := range []struct {
		requirement apitoken.Requirement
		want        []string
	}{
		{apitoken.All(w.read), []string{"both", "read 0", "read 1", "read 2"}},
		{apitoken.All(w.write, w.read), []string{"both"}},
		{apitoken.Any(w.read, w.write), []string{"both", "read 0", "read 1", "read 2", "write"}},
		{apitoken.AnyToken(), []string{"both", "read 0", "read 1", "read 2", "spare", "write"}},
		{apitoken.All(w.export), []string{}},
	} {
		report := reports.WhoCan(t.Context(), w.auth.As(w.admin), c.requirement)
		assert.Equal(t, c.want, names(t, report))
		assert.Equal(t, c.want, names(t, report), "it can be read again")
	}
	assert.Equal(t, []string{"read 0", "read 1", "read 2"}, names(t, reports.WhoCan(t.Context(), w.auth.As(w.ada), apitoken.Any(w.read, w.write))),
		"who may not see others' tokens gets their own")

	w.owner = func(owner string) ([]apitoken.Permission, error) { return []apitoken.Permission{w.spare, w.write}, nil }
	assert.Equal(t, []string{"both", "write"}, names(t, reports.WhoCan(t.Context(), w.auth.As(w.admin), apitoken.Any(w.read, w.write))),
		"what owners have lost, their tokens cannot do")
}

func TestAReportIsNoWholeAnswerIfSomethingFailed(t *testing.T) {
	w := newWorld(t)
	id := w.generate(w.ada, "one", w.read)
	w.generate(w.ada, "two", w.read)
	w.generate(w.ada, "three", w.read)
	m := w.auth.As(w.admin)
	w.store.gone = id
	assert.Equal(t, []string{"three", "two"}, names(t, reports.WhoCan(t.Context(), m, apitoken.All(w.read))), "a token that was deleted meanwhile is none")
	w.store.gone = ""

	w.owner = func(string) ([]apitoken.Permission, error) { return nil, errors.New("ldap is down") }
	assert.ErrorIs(t, failure(reports.WhoCan(t.Context(), m, apitoken.All(w.read))), apitoken.ErrUnavailable)
	assert.ErrorAs(t, failure(reports.WhoCan(t.Context(), m, apitoken.Requirement{})), new(*apitoken.FieldError))
	w.owner = func(string) ([]apitoken.Permission, error) { return w.catalog.All(), nil }
	for what, set := range map[string]*bool{"fails": &w.store.fails, "lists in circles": &w.store.circles} {
		*set = true
		assert.ErrorIs(t, failure(reports.WhoCan(t.Context(), m, apitoken.All(w.read))), apitoken.ErrUnavailable, what)
		assert.ErrorIs(t, failure(reports.PreviewPolicy(t.Context(), m, apitoken.Policy{})), apitoken.ErrUnavailable, what)
		assert.ErrorIs(t, failure(reports.PreviewCatalog(t.Context(), m, nil, "devices:read")), apitoken.ErrUnavailable, what)
		*set = false
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, failure(reports.PreviewPolicy(canceled, m, apitoken.Policy{})), apitoken.ErrUnavailable)
}

func TestAReportEndsWhereItsReaderDoes(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.generate(w.ada, "one", w.read)
	}
	m, n := w.auth.As(w.admin), 0
	for range reports.WhoCan(t.Context(), m, apitoken.All(w.read)) {
		n++
		break
	}
	for range reports.PreviewPolicy(t.Context(), m, apitoken.Policy{MaxLifetime: time.Nanosecond}) {
		n++
		break
	}
	for range reports.PreviewCatalog(t.Context(), m, nil, "devices:read") {
		n++
		break
	}
	assert.Equal(t, 3, n)
}

func TestAPolicyIsPreviewedByAdministratorsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.generate(w.ada, "old", w.read)
		off := w.generate(w.ada, "inactive", w.read)
		_, err := w.auth.As(w.ada).Deactivate(t.Context(), off)
		require.NoError(t, err)
		time.Sleep(48 * time.Hour)
		w.generate(w.ada, "new", w.read)
		m := w.auth.As(w.admin)
		assert.Equal(t, []string{"old"}, names(t, reports.PreviewPolicy(t.Context(), m, apitoken.Policy{MaxLifetime: 24 * time.Hour})))
		assert.Equal(t, []string{"old"}, names(t, reports.PreviewPolicy(t.Context(), m, apitoken.Policy{MaxIdle: 24 * time.Hour})))
		assert.Empty(t, names(t, reports.PreviewPolicy(t.Context(), m, apitoken.Policy{MaxLifetime: 72 * time.Hour})))
		assert.ErrorAs(t, failure(reports.PreviewPolicy(t.Context(), w.auth.As(w.ada), apitoken.Policy{})), new(*apitoken.ForbiddenError))
		assert.ErrorAs(t, failure(reports.PreviewPolicy(t.Context(), m, apitoken.Policy{MaxIdle: -1})), new(*apitoken.FieldError))
		w.auth.Close()
	})
}

func TestAPreviewOfTheCatalogNamesTheTokensAndTheRoutesTheyLose(t *testing.T) {
	w := newWorld(t)
	w.generate(w.ada, "read", w.read)
	w.generate(w.admin, "both", w.read, w.write)
	w.generate(w.admin, "export", w.export)
	off := w.generate(w.ada, "inactive", w.read)
	_, err := w.auth.As(w.ada).Deactivate(t.Context(), off)
	require.NoError(t, err)

	lost := func(actor apitoken.Actor, without ...string) []string {
		list := []string{}
		for loss, err := range reports.PreviewCatalog(t.Context(), w.auth.As(actor), w.routes, without...) {
			require.NoError(t, err)
			text := fmt.Sprint(loss.Token.Name, loss.Permissions)
			for _, rt := range loss.Routes {
				text += " " + reports.NameOf(rt)
			}
			list = append(list, text)
		}
		slices.Sort(list)
		return list
	}
	assert.Equal(t, []string{"both[devices:read] POST /devices", "read[devices:read] GET /devices"}, lost(w.admin, "devices:read"), "one of an Any is enough")
	assert.Equal(t, []string{"both[devices:read devices:write] GET /devices POST /devices", "export[reports:export] GET /reports", "read[devices:read] GET /devices"},
		lost(w.admin, "devices:read", "devices:write", "reports:export"), "each token once")
	assert.Equal(t, []string{"read[devices:read] GET /devices"}, lost(w.ada, "devices:read"))
	assert.Empty(t, lost(w.admin, "no:such"))
	assert.Empty(t, lost(w.admin))
}

func TestReachSaysOfEveryRouteWhetherTheTokenIsAcceptedThere(t *testing.T) {
	w := newWorld(t)
	id := w.generate(w.ada, "ci", w.write)
	calls := 0
	w.owner = func(string) ([]apitoken.Permission, error) {
		calls++
		return []apitoken.Permission{w.read, w.write}, nil
	}
	routes := append(slices.Clone(w.routes), w.routes[0])
	reached, err := reports.Reach(t.Context(), w.auth.As(w.admin), id, &w.catalog, routes)
	require.NoError(t, err)
	said := []string{}
	for _, r := range reached {
		said = append(said, fmt.Sprintf("%s %q %q %q", reports.NameOf(r.Route), r.Reasons, r.MissingFromToken, r.MissingFromOwner))
	}
	assert.Equal(t, []string{
		`GET /devices [] [] []`,
		`POST /devices ["apitoken: missing_permission"] ["devices:read"] []`,
		`GET /reports ["apitoken: missing_permission"] ["reports:export"] ["reports:export"]`,
		`GET /me [] [] []`,
		`GET /healthz [] [] []`,
		`GET /devices [] [] []`,
	}, said)
	assert.Equal(t, 5, calls, "one for each requirement, and one for what the owner may do")

	for _, table := range [][]apitoken.Route{w.routes, w.routes[4:]} {
		_, err = reports.Reach(t.Context(), w.auth.As(apitoken.Actor{User: "bob", Environment: "default"}), id, &w.catalog, table)
		assert.ErrorIs(t, err, apitoken.ErrNotFound, "also where all is open")
	}
	for _, wrong := range []apitoken.Route{{Permissions: []string{"no:such"}, Match: "all"}, {Match: "all"}} {
		_, err = reports.Reach(t.Context(), w.auth.As(w.admin), id, &w.catalog, []apitoken.Route{wrong})
		assert.ErrorAs(t, err, new(*apitoken.FieldError))
	}
	require.NoError(t, w.auth.As(w.ada).Delete(t.Context(), id))
	_, err = reports.Reach(t.Context(), w.auth.As(w.admin), id, &w.catalog, w.routes)
	assert.ErrorIs(t, err, apitoken.ErrNotFound)
}

func TestAPermissionThatNoRouteNamesIsUnused(t *testing.T) {
	w := newWorld(t)
	assert.Equal(t, []apitoken.Permission{w.spare}, reports.UnusedPermissions(&w.catalog, w.routes))
	assert.Equal(t, w.catalog.All(), reports.UnusedPermissions(&w.catalog, nil))
}

func TestRoutesThatSayNothingOfATypeOfObjectsAreListed(t *testing.T) {
	var c apitoken.Catalog
	read := c.Define("devices:read", "See devices")
	device, room := c.Resource("device", "Device"), c.Resource("room", "Room")
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &c, Store: memory.New()})
	require.NoError(t, err)
	defer auth.Close()
	rt, none := auth.Routes(http.NewServeMux()), http.NotFoundHandler()
	rt.Handle("GET /devices/{id}", "See", apitoken.All(read).On(device, apitoken.PathValue("id")), none)
	rt.Handle("GET /rooms", "List", apitoken.All(read).Filtered(room, device), none)
	rt.Handle("GET /forgotten", "Forgotten", apitoken.All(read), none)
	rt.Open("GET /healthz", "Health", none)
	names := func(routes []apitoken.Route) (list []string) {
		for _, r := range routes {
			list = append(list, r.Pattern)
		}
		return list
	}
	assert.Equal(t, []string{"/forgotten"}, names(reports.RoutesWithout(device, rt.Table())))
	assert.Equal(t, []string{"/devices/{id}", "/forgotten"}, names(reports.RoutesWithout(room, rt.Table())))

	ada := apitoken.Actor{User: "ada", Environment: "default", Grants: c.All()}
	in, _, err := auth.As(ada).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: c.All(), Expiry: apitoken.Never(), Only: []string{"device:7"}})
	require.NoError(t, err)
	reached, err := reports.Reach(t.Context(), auth.As(ada), in.ID, &c, rt.Table())
	require.NoError(t, err)
	said := []string{}
	for _, r := range reached {
		said = append(said, fmt.Sprintln(r.Pattern, r.Reasons, r.Only))
	}
	assert.Equal(t, []string{"/devices/{id} [] [device:7]\n", "/rooms [] [device:7]\n", "/forgotten [apitoken: resource_not_allowed] []\n", "/healthz [] []\n"}, said)

	_, err = reports.RequirementOf(&c, apitoken.Route{Match: "token", Resources: []string{"gone"}})
	assert.ErrorContains(t, err, `is about the type "gone"`)
}
