package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/mux"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

// variable reads a variable of gorilla/mux.
func variable(name string) func(*http.Request) string {
	return func(r *http.Request) string { return mux.Vars(r)[name] }
}

func TestALimitedTokenGetsNothingElseFromAServiceOfGorilla(t *testing.T) {
	s := resourcetest.New(t, 1, 100, resourcetest.Framework{
		Param: func(name string) string { return "{" + name + "}" }, Rest: func(name string) string { return "{" + name + ":.*}" },
		Value: variable, RestValue: variable,
	})
	root := mux.NewRouter()
	for _, r := range s.Routes {
		router, last := root, len(r.Guards)-1
		for i, guard := range r.Guards[:last] {
			router = router.PathPrefix(r.Prefixes[i]).Subrouter()
			router.Use(mux.MiddlewareFunc(s.Auth.Guard(guard)))
		}
		answer := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			tok, _ := apitoken.FromContext(req.Context())
			status, body := r.Answer(tok, mux.Vars(req)["id"])
			w.WriteHeader(status)
			w.Write([]byte(body))
		})
		router.Handle(r.Prefixes[last], s.Auth.Guard(r.Guards[last])(answer))
	}
	s.Check(t, func(c resourcetest.Call) (int, string) {
		w := httptest.NewRecorder()
		root.ServeHTTP(w, c.Request())
		return w.Code, w.Body.String()
	})
}
