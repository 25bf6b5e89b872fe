// Host shows the web page inside of another application: in its layout, its colors and
// its language, German, and beside its CSRF middleware.
//
//	go run -v ./examples/host
//
// It keeps tokens in memory. Sign in as ada or grace, without a password. Ctrl-C ends
// it.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // for readers in Berlin, on machines without time zones

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "Geräte und ihren Zustand sehen")
	_           = catalog.Define("devices:write", "Geräte ändern")
	_           = catalog.Define("reports:read", "Berichte sehen")
	device      = catalog.Resource("device", "Gerät")
)

//go:embed pages static
var files embed.FS

// pages are the pages of the application. Each, and the page about API tokens, stands in
// its layout.
var pages = template.Must(template.ParseFS(files, "pages/*.html"))

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
	auth, err := apitoken.New(apitoken.Config{Prefix: "haus", Permissions: &catalog, Store: memory.New()})
	if err != nil {
		return err
	}
	defer auth.Close()
	handler, err := newHandler(auth)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Listening on http://%s. Ctrl-C ends the server.\n", listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// newHandler returns the application: its own pages behind its CSRF middleware, and the
// page about API tokens and the API beside that.
func newHandler(auth *apitoken.Authority) (http.Handler, error) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return nil, err
	}
	logo, err := files.ReadFile("static/logo.svg")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	routes := auth.Routes(mux)
	routes.Handle("GET /api/devices", "Geräte auflisten", apitoken.All(readDevices).Filtered(device), http.HandlerFunc(devices))
	routes.Handle("GET /api/devices/{id}", "Ein Gerät zeigen", apitoken.All(readDevices).On(device, apitoken.PathValue("id")), http.HandlerFunc(oneDevice))
	tokens, err := manage.NewUI(manage.Config{
		Authority: auth,
		Identify:  identify,
		SignIn:    http.RedirectHandler("/", http.StatusSeeOther),
		Routes:    routes.Table(),
		// Forms offer these devices for tokens that are limited to some.
		ListResources: listDevices,
		Service:       "Gerätehaus",
		Home:          "/",
		Page: manage.Page{
			Layout:   pages.Lookup("layout"),
			Words:    &german,
			Style:    map[string]string{"accent": "light-dark(#0b6e4f, #2fa37a)", "radius": "4px", "radius-small": "3px"},
			Logo:     logo,
			Path:     []manage.Crumb{{Label: "Einstellungen", Link: "/einstellungen"}, {Label: "Zugriff", Link: "/einstellungen#zugriff"}},
			Users:    names,
			Location: func(*http.Request) *time.Location { return berlin },
		},
	})
	if err != nil {
		return nil, err
	}

	own := http.NewServeMux()
	own.HandleFunc("GET /{$}", show("Start", "home"))
	own.HandleFunc("GET /einstellungen", show("Einstellungen", "settings"))
	own.HandleFunc("POST /anmelden", signIn)
	own.HandleFunc("POST /abmelden", signOut)

	mux.Handle("/", protect(own))
	// Not behind protect: the forms of the page do not have its token. The page detects
	// requests from other sites itself.
	mux.Handle("/einstellungen/api-token/", tokens)
	mux.Handle("GET /static/", http.FileServerFS(files))
	return auth.HideQueryToken(mux), nil
}

// things are the devices of the application.
var things = []manage.Choice{{ID: "heizung", Label: "Heizung im Keller"}, {ID: "lampe", Label: "Lampe am Tor"}, {ID: "tür-1", Label: "Haustür"}}

func listDevices(_ context.Context, _ apitoken.Actor, _, search string) (found []manage.Choice, err error) {
	for _, thing := range things {
		if thing.ID == search || strings.Contains(strings.ToLower(thing.Label), strings.ToLower(search)) {
			found = append(found, thing)
		}
	}
	return found, nil
}

func devices(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	only, limited := tok.Only(device)
	for _, thing := range things {
		if !limited || slices.Contains(only, thing.ID) {
			fmt.Fprintln(w, thing.Label)
		}
	}
}

func oneDevice(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(things, func(thing manage.Choice) bool { return thing.ID == r.PathValue("id") })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, things[i].Label)
}

// people are the users of the application, by their names in it.
var people = map[string]string{"u-1815": "Ada Lovelace", "u-1906": "Grace Hopper"}

// names returns the names of users for the page, as a database would: many at once.
func names(_ context.Context, users []string) (map[string]string, error) {
	found := map[string]string{}
	for _, id := range users {
		if name, ok := people[id]; ok {
			found[id] = name
		}
	}
	return found, nil
}

// identify tells the page who is signed in. Real applications look a session up.
func identify(r *http.Request) (apitoken.Actor, error) {
	user, err := r.Cookie("user")
	if err != nil || people[user.Value] == "" {
		return apitoken.Actor{}, manage.ErrNotSignedIn
	}
	return apitoken.Actor{
		User: user.Value, Environment: "Werk 1", Grants: catalog.All(),
		ManageOthers: user.Value == "u-1906",
	}, nil
}
