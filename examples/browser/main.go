// Browser shows derived tokens where a browser can send no header field: a page opens an
// EventSource and offers a download. See docs/derived.md.
//
//	go run -v ./examples/browser
//
// It keeps tokens in memory, and prints a token to put into the page. The page sends that
// in a header field, for a token of five minutes that may stand in a URL.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See devices")

	//go:embed page.html
	page string
)

func main() {
	auth, err := newAuthority()
	if err != nil {
		log.Fatal(err)
	}
	ada := apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: catalog.All()}
	_, secret, err := auth.As(ada).Generate(context.Background(), apitoken.GenerateParams{
		Name: "first", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.In(24 * time.Hour),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Open http://%s and paste this token: %s\n", demo.Address, secret.Reveal())
	log.Fatal(http.ListenAndServe(demo.Address, newHandler(auth)))
}

func newAuthority() (*apitoken.Authority, error) {
	secret := make([]byte, 32) // in life it comes from where secrets are kept, and is the same on every node
	rand.Read(secret)
	key, err := apitoken.NewKey("first", secret)
	if err != nil {
		return nil, err
	}
	return apitoken.New(apitoken.Config{
		Prefix: "demo", Permissions: &catalog, Store: memory.New(), IntegrityKeys: []apitoken.Key{key},
		Observe: apitoken.LogEvents(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	})
}

func newHandler(auth *apitoken.Authority) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) })
	inQuery := auth.Guard(apitoken.All(readDevices).DerivedInQuery())
	mux.Handle("GET /events", inQuery(events(auth)))
	mux.Handle("GET /devices.csv", inQuery(http.HandlerFunc(download)))
	mux.Handle("POST /links/events", derive(auth, "GET /events"))
	mux.Handle("POST /links/devices.csv", derive(auth, "GET /devices.csv"))
	return auth.HideQueryToken(mux)
}

// derive answers with a token for one route.
func derive(auth *apitoken.Authority, route string) http.Handler {
	return auth.Handler(func(w http.ResponseWriter, r *http.Request, tok apitoken.Token) {
		secret, err := auth.Derive(tok, apitoken.Derived{
			Permissions: []apitoken.Permission{readDevices}, For: 5 * time.Minute, Route: route, Label: "browser",
		})
		if err != nil { // such as a token that ends in a minute, or one that is derived
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, secret.Reveal())
	}, readDevices)
}

// events sends an event a second until the token ends.
func events(auth *apitoken.Authority) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 1; ; n++ {
			if _, err := auth.Recheck(r.Context(), tok, apitoken.All(readDevices)); err != nil {
				return
			}
			fmt.Fprintf(w, "data: device %d of %s\n\n", n, tok.Owner())
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

func download(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Disposition", `attachment; filename="devices.csv"`)
	io.WriteString(w, "id,name\n1,thermometer\n")
}
