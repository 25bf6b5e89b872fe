// Nethttp shows apitoken with the standard library alone.
//
//	go run ./examples/nethttp
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
	readMetrics  = catalog.Define("metrics:read", "See the metrics of the service")
)

func main() {
	auth := demo.Authority(&catalog)
	log.Fatal(http.ListenAndServe(demo.Address, newHandler(auth)))
}

func newHandler(auth *apitoken.Authority) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /devices/{id}", auth.Require(readDevices)(http.HandlerFunc(device)))
	mux.Handle("DELETE /devices/{id}", auth.Require(writeDevices)(http.HandlerFunc(device)))
	mux.Handle("GET /metrics", auth.Require(readMetrics)(http.HandlerFunc(metrics)))
	return auth.HideQueryToken(mux)
}

func device(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	fmt.Fprintf(w, "%s asks for device %s (%s)\n", tok.Owner(), r.PathValue("id"), r.RequestURI)
}

// metrics are in the text format of Prometheus.
func metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprint(w, "# TYPE devices gauge\ndevices 42\n")
}
