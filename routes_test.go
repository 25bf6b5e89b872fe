package apitoken_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestTheTableOfRoutesIsWhatIsEnforced(t *testing.T) {
	g := newRig(t)
	mux := http.NewServeMux()
	routes := g.Routes(mux)
	var s spy
	routes.Handle("GET /devices", "List devices", apitoken.All(wireRead), &s)
	routes.Handle("POST /devices", "Add a device", apitoken.All(wireRead, wireWrite), &s)
	routes.Handle("GET /reports", "See reports", apitoken.Any(wireReports, wireReportsAd).HeaderOnly(), &s)
	routes.Handle("/whoami", "Say whose token it is", apitoken.AnyToken(), &s)
	routes.Open("GET /healthz", "Say that the service is up", &s)
	routes.Open("GET /permissions", "List what routes require", routes)
	routes.Handle("DELETE example.com/devices/{id}", "Remove a device", apitoken.All(wireWrite), &s)

	want := []apitoken.Route{
		{Method: "GET", Pattern: "/devices", Permissions: []string{"devices:read"}, Match: "all", Description: "List devices"},
		{Method: "POST", Pattern: "/devices", Permissions: []string{"devices:read", "devices:write"}, Match: "all", Description: "Add a device"},
		{Method: "GET", Pattern: "/reports", Permissions: []string{"reports:read", "reports:admin"}, Match: "any", HeaderOnly: true, Description: "See reports"},
		{Method: "", Pattern: "/whoami", Permissions: []string{}, Match: "token", Description: "Say whose token it is"},
		{Method: "GET", Pattern: "/healthz", Permissions: []string{}, Match: "open", Description: "Say that the service is up"},
		{Method: "GET", Pattern: "/permissions", Permissions: []string{}, Match: "open", Description: "List what routes require"},
		{Method: "DELETE", Pattern: "example.com/devices/{id}", Permissions: []string{"devices:write"}, Match: "all", Description: "Remove a device"},
	}
	require.Equal(t, want, routes.Table())
	table := routes.Table()
	table[0].Pattern, table[1].Permissions[0] = "x", "x"
	require.Equal(t, want, routes.Table(), "Table returns a copy")

	ask := func(method, target, token string) (int, int) {
		r := httptest.NewRequest(method, target, nil)
		if token != "" {
			r.Header.Set("Authorization", "apiToken "+token)
		}
		before, w := s.called(), httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code, s.called() - before
	}
	for _, c := range []struct {
		method, target, token string
		status                int
	}{
		{"GET", "/devices", goodToken.text, 204}, {"GET", "/devices", lackingToken.text, 403}, {"GET", "/devices", "", 401},
		{"POST", "/devices", bothToken.text, 204}, {"POST", "/devices", goodToken.text, 403},
		{"GET", "/reports", lackingToken.text, 204}, {"GET", "/reports", goodToken.text, 403}, {"GET", "/reports?apiToken=" + lackingToken.text, "", 400},
		{"PUT", "/whoami", emptyToken.text, 204}, {"PUT", "/whoami", "", 401},
		{"GET", "/healthz", "", 204}, {"DELETE", "http://example.com/devices/7", bothToken.text, 204}, {"DELETE", "http://example.com/devices/7", goodToken.text, 403},
	} {
		status, calls := ask(c.method, c.target, c.token)
		assert.Equal(t, c.status, status, "%s %s", c.method, c.target)
		assert.Equal(t, c.status == 204, calls == 1, "%s %s", c.method, c.target)
	}

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/permissions", nil))
	assert.Equal(t, 200, w.Code)
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var served struct{ Routes []apitoken.Route }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &served))
	assert.Equal(t, want, served.Routes)
	assert.Contains(t, w.Body.String(), `{"method":"","pattern":"/whoami","permissions":[],"match":"token","description":"Say whose token it is"}`)
}

func TestPatternsAreSplitAsTheMuxSplitsThem(t *testing.T) {
	g := newRig(t)
	mux := http.NewServeMux()
	routes := g.Routes(mux)
	for _, pattern := range []string{"GET  /a", "GET\t/b", "GET \t /c", "/d"} {
		routes.Handle(pattern, "For the test", apitoken.AnyToken(), new(spy))
	}
	var got [][2]string
	for _, r := range routes.Table() {
		got = append(got, [2]string{r.Method, r.Pattern})
	}
	assert.Equal(t, [][2]string{{"GET", "/a"}, {"GET", "/b"}, {"GET", "/c"}, {"", "/d"}}, got)
}

func TestATableWithoutRoutesIsAnEmptyList(t *testing.T) {
	w := httptest.NewRecorder()
	newRig(t).Routes(http.NewServeMux()).ServeHTTP(w, newRequest("/permissions"))
	assert.JSONEq(t, `{"routes":[]}`, w.Body.String())
}

func TestMistakesInTheTableOfRoutesPanicAndRegisterNothing(t *testing.T) {
	g := newRig(t)
	var other apitoken.Catalog
	alien := other.Define("devices:read", "The same name in another catalog")
	registered := 0
	routes := g.Routes(muxFunc(func(string, http.Handler) { registered++ }))
	mustPanic(t, func() { routes.Handle("GET /a", "", apitoken.AnyToken(), new(spy)) }, "GET /a", "no description", "routes_test.go:")
	mustPanic(t, func() { routes.Open("GET /a", "", new(spy)) }, "GET /a", "no description", "routes_test.go:")
	mustPanic(t, func() { routes.Handle("GET /a", "x", apitoken.Requirement{}, new(spy)) }, "zero Requirement", "routes_test.go:")
	mustPanic(t, func() { routes.Handle("GET /a", "x", apitoken.All(alien), new(spy)) }, "not of the catalog", "routes_test.go:")
	mustPanic(t, func() { routes.Handle("GET /a", "x", apitoken.AnyToken(), nil) }, "nil handler", "routes_test.go:")
	assert.Zero(t, registered)
	assert.Empty(t, routes.Table())

	strict := g.Routes(http.NewServeMux())
	strict.Open("GET /a", "x", new(spy))
	mustPanic(t, func() { strict.Open("GET /a", "y", new(spy)) }, "GET /a")
	assert.Len(t, strict.Table(), 1, "what the mux refused is not in the table")
}

type muxFunc func(string, http.Handler)

func (f muxFunc) Handle(pattern string, h http.Handler) { f(pattern, h) }
