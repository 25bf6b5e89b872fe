package apitokentest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func TestATokenHasExactlyThePermissionsAskedFor(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	for _, perms := range [][]apitoken.Permission{nil, {readDevices}, {writeDevices}, {readDevices, writeDevices}} {
		r := apitokentest.Request("GET", "/", apitokentest.Token(t, auth, perms...))
		tok, err := auth.Check(r, apitoken.AnyToken())
		require.NoError(t, err)
		assert.ElementsMatch(t, perms, tok.Permissions())
		assert.Equal(t, apitokentest.Owner, tok.Owner())
		assert.Equal(t, apitoken.DefaultEnvironment, tok.Environment())
		assert.False(t, tok.ExpiresAt().IsZero())
	}
	tok, err := auth.Check(apitokentest.Request("GET", "/", apitokentest.TokenOf(t, auth, "ada", "production", readDevices)), apitoken.AnyToken())
	require.NoError(t, err)
	assert.Equal(t, "ada", tok.Owner())
	assert.Equal(t, "production", tok.Environment())
}

func TestARequestWithoutATokenHasNoAuthorization(t *testing.T) {
	assert.NotContains(t, apitokentest.Request("GET", "/", "").Header, "Authorization")
}

func TestATokenOfAnEmptyCatalogFailsTheTest(t *testing.T) {
	auth := apitokentest.New(t, new(apitoken.Catalog))
	said := failures(t, func(t testing.TB) { apitokentest.Token(t, auth) })
	assert.Equal(t, []string{"apitokentest: the catalog is empty"}, said)
}

func TestRoutesAreProtectedOrDeclaredOpen(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	answer := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	}
	for _, tt := range []struct {
		name     string
		register func(*apitoken.Routes, *http.ServeMux) // with the table, or past it
		walked   []apitoken.Route                       // instead of the table
		open     []string
		fails    []string // a part of each failure
	}{
		{"all are protected", func(r *apitoken.Routes, _ *http.ServeMux) {
			r.Handle("GET /devices/{id}", "See", apitoken.All(readDevices), answer(200))
			r.Handle("/files/{rest...}", "See", apitoken.AnyToken(), answer(200))
			r.Handle("GET /start/{$}", "See", apitoken.AnyToken().HeaderOnly(), answer(200))
			r.Handle("GET example.com/", "See", apitoken.Any(readDevices, writeDevices), answer(200))
			r.Handle("POST host.example/x", "See", apitoken.AnyToken(), answer(200))
		}, nil, nil, nil},
		{"one is open, as declared", func(r *apitoken.Routes, _ *http.ServeMux) {
			r.Open("GET /healthz", "Live", answer(200))
			r.Open("/static/", "Files", answer(200))
		}, nil, []string{"GET /healthz", "/static/"}, nil},
		{"one is open and not declared", func(r *apitoken.Routes, _ *http.ServeMux) {
			r.Open("GET /healthz", "Live", answer(200))
		}, nil, nil, []string{"GET /healthz needs no token, and is not declared open"}},
		{"it is declared for another method", func(r *apitoken.Routes, _ *http.ServeMux) {
			r.Open("GET /healthz", "Live", answer(200))
		}, nil, []string{"POST /healthz"}, []string{"GET /healthz needs no token", "POST /healthz is declared open, but there is no such route"}},
		{"what is declared open is protected", func(r *apitoken.Routes, _ *http.ServeMux) {
			r.Handle("GET /x", "See", apitoken.AnyToken(), answer(200))
		}, nil, []string{"GET /x"}, []string{"GET /x is declared open, but needs a token"}},
		{"another login refuses, or leads to itself", func(r *apitoken.Routes, _ *http.ServeMux) {
			for path, status := range map[string]int{"/a": 401, "/b": 403, "/c": 302, "/d": 303} {
				login := func(http.Handler) http.Handler { return answer(status) }
				r.HandleOr(path, "See", apitoken.AnyToken(), login, answer(200))
			}
		}, nil, nil, nil},
		{"another login lets everybody in", func(r *apitoken.Routes, _ *http.ServeMux) {
			everybody := func(next http.Handler) http.Handler { return next }
			r.HandleOr("/a", "See", apitoken.AnyToken(), everybody, answer(200))
			r.HandleOr("/b", "See", apitoken.AnyToken(), everybody, answer(200))
		}, nil, []string{"/b"}, []string{"/a is not protected, and is not declared open"}},
		{"a route with another login is not there", func(r *apitoken.Routes, _ *http.ServeMux) {
			r.HandleOr("/a", "See", apitoken.AnyToken(), func(http.Handler) http.Handler { return answer(404) }, answer(200))
		}, nil, nil, []string{"/a was not found to be protected"}},
		{"nothing", func(*apitoken.Routes, *http.ServeMux) {}, nil, nil, []string{"there are no routes"}},

		{"a walk, and one is open", func(_ *apitoken.Routes, m *http.ServeMux) {
			m.Handle("/a/{id}", answer(204))
			m.Handle("/b/{id}", auth.Guard(apitoken.AnyToken())(answer(204)))
		}, []apitoken.Route{{Method: "PUT", Pattern: "/a/:id"}, {Method: "*", Pattern: "/b/{id:[0-9]{1,3}}"}}, nil,
			[]string{"PUT /a/:id is not protected, and is not declared open: PUT /a/1 without a token is answered with 204"}},
		{"a walk, and a route is not reached", func(_ *apitoken.Routes, m *http.ServeMux) {
			m.Handle("GET /b/{id}", auth.Guard(apitoken.AnyToken())(answer(204)))
		}, []apitoken.Route{{Method: "GET", Pattern: "/nowhere/*"}, {Method: "PUT", Pattern: "/b/{id}"}}, nil,
			[]string{"GET /nowhere/1 without a token is answered with 404", "PUT /b/1 without a token is answered with 405"}},
		{"a 401 without a challenge is no protection", func(_ *apitoken.Routes, m *http.ServeMux) {
			m.Handle("/a", answer(401))
		}, []apitoken.Route{{Method: "GET", Pattern: "/a"}}, nil, []string{"GET /a is not protected"}},
		{"a handler that panics was called", func(_ *apitoken.Routes, m *http.ServeMux) {
			m.Handle("/a", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no token") }))
		}, []apitoken.Route{{Method: "GET", Pattern: "/a"}}, nil, []string{"GET /a is not protected: the handler of /a panicked"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mux := http.NewServeMux()
			routes := auth.Routes(mux)
			tt.register(routes, mux)
			table := routes.Table()
			if tt.walked != nil {
				table = tt.walked
			}
			said := failures(t, func(t testing.TB) { apitokentest.CheckRoutes(t, mux, table, tt.open...) })
			require.Len(t, said, len(tt.fails), "%q", said)
			for i, part := range tt.fails {
				assert.Contains(t, said[i], part)
			}
		})
	}
}

func TestARouteThatTheTableHasAsProtectedIsAskedAllTheSame(t *testing.T) {
	mux := http.NewServeMux() // serves something else than the table says
	mux.Handle("GET /x", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	said := failures(t, func(t testing.TB) {
		apitokentest.CheckRoutes(t, mux, []apitoken.Route{{Method: "GET", Pattern: "/x", Match: "all", Permissions: []string{"devices:read"}}})
	})
	require.Len(t, said, 1)
	assert.Contains(t, said[0], "GET /x is not protected")
}

// failures runs a test that may fail, and returns what it said.
func failures(t *testing.T, test func(testing.TB)) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // since Fatal ends the goroutine
		defer close(done)
		test(r)
	}()
	<-done
	return r.said
}

type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Error(args ...any)            { r.said = append(r.said, fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, args ...any) { r.said = append(r.said, fmt.Sprintf(f, args...)) }
func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func Example() {
	test := func(t *testing.T) {
		auth := apitokentest.New(t, &catalog)
		h := auth.Require(readDevices)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))

		w := httptest.NewRecorder()
		h.ServeHTTP(w, apitokentest.Request("GET", "/devices", apitokentest.Token(t, auth, writeDevices)))
		if w.Code != http.StatusForbidden {
			t.Errorf("status %d", w.Code)
		}
	}
	_ = test
}
