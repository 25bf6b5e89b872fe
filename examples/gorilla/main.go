// Gorilla shows apitoken with github.com/gorilla/mux, which takes the middleware
// as it is: around a handler, or with Use for all routes of a subrouter.
//
//	go run ./examples/gorilla
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/gorilla/mux"

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

func newRouter(auth *apitoken.Authority) *mux.Router {
	r := mux.NewRouter()
	r.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {}).Methods("GET")
	r.Handle("/devices", auth.GuardOr(apitoken.All(readDevices), demo.Sessions)(http.HandlerFunc(devices))).Methods("GET")
	r.Handle("/devices/{id}", auth.Require(readDevices)(http.HandlerFunc(device))).Methods("GET")
	r.Handle("/devices/{id}", auth.Require(writeDevices)(http.HandlerFunc(device))).Methods("DELETE")
	r.Use(pattern)
	return r
}

// pattern tells events, and with them logs and metrics, which route it is:
// mux itself does not set http.Request.Pattern.
func pattern(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if route := mux.CurrentRoute(r); route != nil {
			r.Pattern, _ = route.GetPathTemplate()
		}
		next.ServeHTTP(w, r)
	})
}

// devices is for those who come with a token, and for those who have signed in.
func devices(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s asks for all devices\n", demo.Who(r.Context()))
}

func device(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	fmt.Fprintf(w, "%s asks for device %s (%s)\n", tok.Owner(), mux.Vars(r)["id"], r.RequestURI)
}
