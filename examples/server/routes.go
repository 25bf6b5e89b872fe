package main

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// All permissions that the service knows.
var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See the devices of the environment")
	writeDevices = catalog.Define("devices:write", "Add and remove devices")
	readReports  = catalog.Define("reports:read", "See how many devices there are")
	adminReports = catalog.Define("reports:admin", "See reports, and in them who added which devices")
	manageTokens = catalog.Define("tokens:manage", "Manage the tokens of its owner")
)

// newHandler returns the service. Every route says what it needs, in the place
// where it is registered; GET /api/permissions publishes the same table.
func newHandler(auth *apitoken.Authority, signIn *signIn, metrics *metrics) (http.Handler, error) {
	mux := http.NewServeMux()
	routes := auth.Routes(mux)
	handleAPI(routes)

	routes.Open("GET /api/permissions", "Show which permissions each request requires", routes)
	routes.Open("GET /healthz", "Answer ok while the service runs", http.HandlerFunc(healthz))
	if metrics != nil {
		routes.Open("GET /metrics", "Show metrics for Prometheus", metrics.page(auth))
	}
	home := newHome(routes, signIn)
	signIn.failed = home.show
	routes.Open("GET /{$}", "Show the start page", signIn.page(home))
	routes.Open("POST /login", "Sign in: user=...&password=...", signIn.page(http.HandlerFunc(signIn.login)))
	routes.Open("POST /logout", "Sign out", signIn.page(http.HandlerFunc(signIn.logout)))

	api, page, err := newManagement(auth, signIn, routes.Table())
	if err != nil {
		return nil, err
	}
	routes.Open("/manage/api/", "Manage API tokens: the JSON API, which checks who is asking", http.StripPrefix("/manage/api", signIn.session(api)))
	routes.Open("/manage/", "Manage API tokens: the web page, which checks who is signed in", signIn.session(page))

	// Outermost: a token in the query shall reach no log, and no redirect of
	// the mux.
	h := auth.HideQueryToken(mux)
	if metrics != nil {
		h = metrics.Timed(h)
	}
	return h, nil
}

// handleAPI registers what API tokens are for; "server token" asks about these routes, too.
func handleAPI(routes *apitoken.Routes) {
	devices := newDevices()
	routes.Handle("GET /api/devices", "List the devices",
		apitoken.All(readDevices), http.HandlerFunc(devices.list))
	routes.Handle("POST /api/devices", `Add a device: {"name":"..."}`,
		apitoken.All(readDevices, writeDevices), http.HandlerFunc(devices.add))
	routes.Handle("DELETE /api/devices/{id}", "Remove a device",
		apitoken.All(writeDevices), http.HandlerFunc(devices.remove))
	routes.Handle("GET /api/reports", "Count the devices",
		apitoken.Any(readReports, adminReports), http.HandlerFunc(devices.report))
	routes.Handle("GET /api/whoami", "Show what is known of the token of the request",
		apitoken.AnyToken(), http.HandlerFunc(whoami))
}

func healthz(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") }

func whoami(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	names := []string{}
	for _, p := range tok.Permissions() {
		names = append(names, p.Name())
	}
	writeJSON(w, http.StatusOK, struct {
		ID          string   `json:"id"`
		Owner       string   `json:"owner"`
		Environment string   `json:"environment"`
		Name        string   `json:"name"`
		Permissions []string `json:"permissions"`
	}{tok.ID(), tok.Owner(), tok.Environment(), tok.Name(), names})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// writeProblem answers with a problem document (RFC 9457), as the library does.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{
		"title": http.StatusText(status), "status": status, "detail": detail,
	})
}
