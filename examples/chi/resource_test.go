package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

// urlParam reads a parameter of chi.
func urlParam(name string) func(*http.Request) string {
	return func(r *http.Request) string { return chi.URLParam(r, name) }
}

func TestALimitedTokenGetsNothingElseFromAServiceOfChi(t *testing.T) {
	s := resourcetest.New(t, 1, 100, resourcetest.Framework{
		Param: func(name string) string { return "{" + name + "}" }, Rest: func(string) string { return "*" },
		Value: urlParam,
		RestValue: func(name string) func(*http.Request) string {
			if name == "id" {
				name = "*"
			}
			return urlParam(name)
		},
	})
	router := chi.NewRouter()
	for _, r := range s.Routes {
		last := len(r.Guards) - 1
		answer := func(w http.ResponseWriter, req *http.Request) {
			tok, _ := apitoken.FromContext(req.Context())
			id := chi.URLParam(req, "id")
			if r.IsRest() {
				id = chi.URLParam(req, "*")
			}
			status, body := r.Answer(tok, id)
			w.WriteHeader(status)
			w.Write([]byte(body))
		}
		var within func(router chi.Router, i int)
		within = func(router chi.Router, i int) {
			if i == last {
				router.With(s.Auth.Guard(r.Guards[i])).Get(r.Prefixes[i], answer)
				return
			}
			router.Route(r.Prefixes[i], func(router chi.Router) {
				router.Use(s.Auth.Guard(r.Guards[i]))
				within(router, i+1)
			})
		}
		within(router, 0)
	}
	s.Check(t, func(c resourcetest.Call) (int, string) {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, c.Request())
		return w.Code, w.Body.String()
	})
}
