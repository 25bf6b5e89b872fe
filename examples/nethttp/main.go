// Nethttp shows apitoken with the standard library alone.
//
//	go run -v ./examples/nethttp
//
// It keeps tokens in memory, generates one when it starts, and prints curl
// commands that use it, each with the status of its answer. Ctrl-C ends it after
// the requests that are running.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
	readMetrics  = catalog.Define("metrics:read", "See the metrics of the service")
)

func main() {
	address := flag.String("addr", demo.Address, "listen on `HOST:PORT`; port 0 means any free port")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address string, out io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer listener.Close()
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "demo",
		Permissions: &catalog,
		Store:       memory.New(),
		Observe:     apitoken.LogEvents(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	})
	if err != nil {
		return err
	}
	defer auth.Close()

	ada := apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: catalog.All()}
	_, secret, err := auth.As(ada).Generate(ctx, apitoken.GenerateParams{
		Name:        "first",
		Permissions: []apitoken.Permission{readDevices, readMetrics},
		Expiry:      apitoken.In(24 * time.Hour),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, greeting, listener.Addr(), secret.Reveal())
	return serve(ctx, listener, newHandler(auth))
}

// greeting has the address and the token to be filled in.
const greeting = `Listening on http://%[1]s. Paste these commands into another terminal; Ctrl-C ends the server.

# 200: the token has devices:read
curl -i -H 'Authorization: apiToken %[2]s' http://%[1]s/devices/42
# 200: the same token in the query
curl -i 'http://%[1]s/devices/42?apiToken=%[2]s'
# 401: no token
curl -i http://%[1]s/devices/42
# 403: the token lacks devices:write
curl -i -X DELETE -H 'Authorization: apiToken %[2]s' http://%[1]s/devices/42
`

// serve answers requests until ctx is done, and then lets running requests finish,
// for 10 seconds at most.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(wait)
}

func newHandler(auth *apitoken.Authority) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.GuardOr(apitoken.All(readDevices), demo.Sessions)(http.HandlerFunc(devices)))
	mux.Handle("GET /devices/{id}", auth.Require(readDevices)(http.HandlerFunc(device)))
	mux.Handle("DELETE /devices/{id}", auth.Require(writeDevices)(http.HandlerFunc(device)))
	mux.Handle("GET /metrics", auth.Require(readMetrics)(http.HandlerFunc(metrics)))
	return auth.HideQueryToken(mux)
}

// devices is for those who come with a token, and for those who have signed in.
func devices(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s asks for all devices\n", demo.Who(r.Context()))
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
