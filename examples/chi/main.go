// Chi shows apitoken with github.com/go-chi/chi, which takes the middleware as
// it is.
//
//	go run ./examples/chi
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func main() {
	auth := demo.Authority(&catalog)
	log.Fatal(http.ListenAndServe(demo.Address, newHandler(auth)))
}

func newHandler(auth *apitoken.Authority) http.Handler {
	return auth.HideQueryToken(newRouter(auth))
}

func newRouter(auth *apitoken.Authority) chi.Router {
	r := chi.NewRouter()
	r.Get("/healthz", func(w http.ResponseWriter, r *http.Request) {})
	r.With(auth.GuardOr(apitoken.All(readDevices), demo.Sessions)).Get("/devices", devices)
	r.With(auth.Require(readDevices)).Get("/devices/{id}", device)
	r.With(auth.Require(writeDevices)).Delete("/devices/{id}", device)
	return r
}

// devices is for those who come with a token, and for those who have signed in.
func devices(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s asks for all devices\n", demo.Who(r.Context()))
}

func device(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	fmt.Fprintf(w, "%s asks for device %s (%s)\n", tok.Owner(), chi.URLParam(r, "id"), r.RequestURI)
}
