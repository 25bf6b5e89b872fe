package apitokentest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
)

// CheckRoutes fails the test for every route that is neither protected nor
// declared open. The routes are what [apitoken.Routes.Table] returns, or what a
// router lists; of each, Method and Pattern count. For chi:
//
//	var routes []apitoken.Route
//	chi.Walk(r, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
//		routes = append(routes, apitoken.Route{Method: method, Pattern: pattern})
//		return nil
//	})
//	apitokentest.CheckRoutes(t, r, routes, "GET /healthz")
//
// Those in open are written as method, space and pattern, or as the pattern alone
// if the route has no method. A declaration that no route is meant by, and one
// of a route whose Match is not "open", fail as well.
//
// A route is protected if the handler answers a request for it, that has no
// token, with 401 and a challenge; one with another login, if the answer is 401, 403 or a
// redirect to it (302, 303). Where another login lets everybody in, declare the route open. So this calls the handlers of routes that are
// found to be open, and what they do, they do. The path is made of the pattern,
// with 1 in the place of every variable; give a path instead of a pattern where
// that does not do.
func CheckRoutes(t testing.TB, h http.Handler, routes []apitoken.Route, open ...string) {
	t.Helper()
	if len(routes) == 0 {
		t.Error("apitokentest: there are no routes")
	}
	var meant []string
	for _, route := range routes {
		name := strings.TrimPrefix(route.Method+" "+route.Pattern, " ")
		if slices.Contains(open, name) {
			meant = append(meant, name)
			if route.Match != "" && route.Match != "open" && !route.OtherLogin {
				t.Errorf("apitokentest: %s is declared open, but needs a token", name)
			}
			continue
		}
		if route.Match == "open" {
			t.Errorf("apitokentest: %s needs no token, and is not declared open", name)
			continue
		}
		checkRoute(t, h, route, name)
	}
	for _, name := range open {
		if !slices.Contains(meant, name) {
			t.Errorf("apitokentest: %s is declared open, but there is no such route", name)
		}
	}
}

func checkRoute(t testing.TB, h http.Handler, route apitoken.Route, name string) {
	t.Helper()
	method := route.Method
	if method == "" || method == "*" {
		method = http.MethodGet
	}
	path := pathFor(route.Pattern)
	r := httptest.NewRequestWithContext(t.Context(), method, "http://example.com"+path, nil)
	if host, _, ok := strings.Cut(route.Pattern, "/"); ok && host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil {
				w.Code = 0
				t.Errorf("apitokentest: %s is not protected: the handler of %s panicked without a token: %v", name, path, p)
			}
		}()
		h.ServeHTTP(w, r)
	}()
	switch {
	case w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") != "", w.Code == 0:
	case route.OtherLogin && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusFound, http.StatusSeeOther}, w.Code):
	case w.Code == http.StatusNotFound, w.Code == http.StatusMethodNotAllowed, w.Code/100 == 3:
		t.Errorf("apitokentest: %s was not found to be protected: %s %s without a token is answered with %d; give a path that the route serves", name, method, path, w.Code)
	default:
		t.Errorf("apitokentest: %s is not protected, and is not declared open: %s %s without a token is answered with %d", name, method, path, w.Code)
	}
}

// pathFor makes a path that a pattern matches: {id}, {id:[0-9]+}, {rest...} and
// {$} as in net/http, chi and gorilla/mux, :id and *rest as in gin, echo and
// fiber.
func pathFor(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i > 0 {
		pattern = pattern[i:] // after the host
	}
	var path strings.Builder
	for i := 0; i < len(pattern); i++ {
		segment := i > 0 && pattern[i-1] == '/'
		switch c := pattern[i]; {
		case c == '{':
			end := closing(pattern[i:])
			if pattern[i:i+end] != "{$" {
				path.WriteByte('1')
			}
			i += end
		case c == '*', c == ':' && segment:
			path.WriteByte('1')
			for i+1 < len(pattern) && pattern[i+1] != '/' {
				i++
			}
		default:
			path.WriteByte(c)
		}
	}
	return path.String()
}

// closing returns the index of the brace that closes the first one, or the last
// index if none does.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(s) - 1
}
