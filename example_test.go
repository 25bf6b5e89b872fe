package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// The permissions of the service of the examples.
var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices and their state")
	writeDevices = catalog.Define("devices:write", "Add, change and remove devices")
	readReports  = catalog.Define("reports:read", "See reports")
)

// newService returns the Authority of the examples and a token of alice's with
// the given permissions.
func newService(perms ...apitoken.Permission) (*apitoken.Authority, apitoken.Secret) {
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "acme",
		Permissions: &catalog,
		Store:       memory.New(),
	})
	if err != nil {
		panic(err)
	}
	_, secret, err := auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name: "example", Permissions: perms, Expiry: apitoken.Never(),
	})
	if err != nil {
		panic(err)
	}
	return auth, secret
}

// alice is the user whom the application has signed in.
var alice = apitoken.Actor{
	User:        "alice",
	Environment: apitoken.DefaultEnvironment,
	Grants:      []apitoken.Permission{readDevices, writeDevices, readReports},
}

// call sends a GET request and prints status and body.
func call(h http.Handler, target string, secret apitoken.Secret) {
	r := httptest.NewRequest("GET", target, nil)
	if secret.Reveal() != "" {
		r.Header.Set("Authorization", "apiToken "+secret.Reveal())
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text := w.Body.String()
	if strings.HasPrefix(text, "{") {
		text = w.Header().Get("WWW-Authenticate")
	}
	fmt.Println(w.Code, text)
}

func hello(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	fmt.Fprintf(w, "hello, %s", tok.Owner())
}

// A service protects one of its handlers.
func Example() {
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "acme",
		Permissions: &catalog,
		Store:       memory.New(),
	})
	if err != nil {
		panic(err)
	}
	defer auth.Close()

	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Require(readDevices)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		fmt.Fprintf(w, "devices of %s", tok.Owner())
	})))

	// The first token, made by the application itself.
	info, secret, err := auth.As(apitoken.Actor{
		User:        "alice",
		Environment: apitoken.DefaultEnvironment,
		Grants:      []apitoken.Permission{readDevices},
	}).Generate(context.Background(), apitoken.GenerateParams{
		Name:        "first",
		Permissions: []apitoken.Permission{readDevices},
		Expiry:      apitoken.In(90 * 24 * time.Hour),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(info.Name, info.Permissions, secret) // a secret is only shown by Reveal

	r := httptest.NewRequest("GET", "/devices", nil)
	r.Header.Set("Authorization", "apiToken "+secret.Reveal())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// first [devices:read] [secret]
	// 200 devices of alice
}

func ExampleAuthority_Require() {
	auth, secret := newService(readDevices)
	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Require(readDevices)(http.HandlerFunc(hello)))
	mux.Handle("GET /devices/new", auth.Require(readDevices, writeDevices)(http.HandlerFunc(hello)))

	call(mux, "/devices", secret)
	call(mux, "/devices/new", secret)
	call(mux, "/devices", apitoken.Secret{})
	// Output:
	// 200 hello, alice
	// 403 apiToken realm="api", error="insufficient_scope", scope="devices:read devices:write"
	// 401 apiToken realm="api"
}

// One of several permissions is enough.
func ExampleAny() {
	auth, secret := newService(readReports)
	mux := http.NewServeMux()
	mux.Handle("GET /overview", auth.Guard(apitoken.Any(readDevices, readReports))(http.HandlerFunc(hello)))

	call(mux, "/overview", secret)
	// Output: 200 hello, alice
}

// Every valid token may pass, with any permissions.
func ExampleAnyToken() {
	auth, secret := newService(readReports)
	mux := http.NewServeMux()
	mux.Handle("GET /whoami", auth.Guard(apitoken.AnyToken())(http.HandlerFunc(hello)))

	call(mux, "/whoami", secret)
	// Output: 200 hello, alice
}

// Permissions from a configuration file are looked up when the program starts.
func ExampleCatalog_Lookup_routes() {
	auth, secret := newService(readDevices)

	_, err := catalog.Lookup("devices:raed")
	fmt.Println(err)

	perms, err := catalog.Lookup("devices:read")
	if err != nil {
		panic(err)
	}
	call(auth.Require(perms[0], perms[1:]...)(http.HandlerFunc(hello)), "/devices", secret)
	// Output:
	// apitoken: permissions unknown: "devices:raed" (did you mean "devices:read"?)
	// 200 hello, alice
}

// The typed form: the token is an argument, not in the context.
func ExampleAuthority_Handler() {
	auth, secret := newService(readDevices, writeDevices)
	addDevice := func(w http.ResponseWriter, r *http.Request, tok apitoken.Token) {
		fmt.Fprintf(w, "added for %s", tok.Owner())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /devices/new", auth.Handler(addDevice, readDevices, writeDevices))

	call(mux, "/devices/new", secret)
	// Output: 200 added for alice
}

// A route that works without a token, and shows more with one.
func ExampleAuthority_Check() {
	auth, secret := newService(readDevices)
	status := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, err := auth.Check(r, apitoken.All(readDevices))
		if err != nil && !errors.Is(err, apitoken.ErrNoToken) {
			auth.Refuse(w, r, err)
			return
		}
		fmt.Fprintf(w, "up, for %q", tok.Owner())
	})

	call(status, "/status", apitoken.Secret{})
	call(status, "/status", secret)
	call(status, "/status", apitoken.NewSecret("not-a-token"))
	// Output:
	// 200 up, for ""
	// 200 up, for "alice"
	// 401 apiToken realm="api", error="invalid_token"
}

// This is wrong: anyone who has a token that was deactivated, or that lacks the
// permission, is treated like someone without a token, and never learns why. So
// is everybody while the store is down. The correct form is in the example
// before.
func ExampleAuthority_Check_incorrect() {
	auth, _ := newService(readDevices)
	status := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, err := auth.Check(r, apitoken.All(readDevices))
		if err != nil {
			fmt.Fprint(w, "up, for anybody")
			return
		}
		fmt.Fprintf(w, "up, for %q", tok.Owner())
	})

	call(status, "/status", apitoken.NewSecret("not-a-token"))
	// Output: 200 up, for anybody
}

// Access logs and http.ServeMux see the URL before a guard does, so the token is
// taken out of the query before them.
func ExampleAuthority_HideQueryToken() {
	auth, secret := newService(readDevices)
	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Require(readDevices)(http.HandlerFunc(hello)))
	accessLog := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println("log:", r.Method, r.RequestURI)
			next.ServeHTTP(w, r)
		})
	}
	server := auth.HideQueryToken(accessLog(mux))

	call(server, "/devices?sort=name&apiToken="+secret.Reveal(), apitoken.Secret{})
	// Output:
	// log: GET /devices?sort=name
	// 200 hello, alice
}

// A route whose URL must not hold a token.
func ExampleRequirement_HeaderOnly() {
	auth, secret := newService(writeDevices)
	h := auth.Guard(apitoken.All(writeDevices).HeaderOnly())(http.HandlerFunc(hello))

	call(h, "/", secret)
	call(h, "/?apiToken="+secret.Reveal(), apitoken.Secret{})
	// Output:
	// 200 hello, alice
	// 400 apiToken realm="api", error="invalid_request"
}

// A message queue brings tokens that are in no HTTP request.
func ExampleAuthority_Verify() {
	auth, secret := newService(writeDevices)
	message := map[string]string{"token": secret.Reveal(), "device": "7"}

	tok, err := auth.Verify(context.Background(), apitoken.Credential{
		Secret: apitoken.NewSecret(message["token"]),
	}, apitoken.All(writeDevices))
	fmt.Println(tok.Owner(), err)

	_, err = auth.Verify(context.Background(), apitoken.Credential{
		Secret: apitoken.NewSecret("something else"),
	}, apitoken.All(writeDevices))
	var refusal *apitoken.Refusal
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Status(), err)
	}
	// Output:
	// alice <nil>
	// 400 apitoken: Malformed authentication
}

// A stream ends soon after its token was deactivated.
func ExampleAuthority_Recheck() {
	auth, secret := newService(readDevices)
	requirement := apitoken.All(readDevices)
	ctx := context.Background()
	tok, err := auth.Verify(ctx, apitoken.Credential{Secret: secret}, requirement)
	if err != nil {
		panic(err)
	}
	for line := range 3 {
		if tok, err = auth.Recheck(ctx, tok, requirement); err != nil {
			fmt.Println("closed:", errors.Is(err, apitoken.ErrDeactivated))
			return
		}
		fmt.Println("line", line)
		if line == 1 {
			if _, err := auth.As(alice).Deactivate(ctx, tok.ID()); err != nil {
				panic(err)
			}
		}
	}
	// Output:
	// line 0
	// line 1
	// closed: true
}

// The table of permissions that a service publishes is what it enforces.
func ExampleAuthority_Routes() {
	auth, _ := newService(readDevices)
	mux := http.NewServeMux()
	routes := auth.Routes(mux)
	routes.Handle("GET /devices", "List devices", apitoken.All(readDevices), http.HandlerFunc(hello))
	routes.Handle("GET /overview", "Show an overview", apitoken.Any(readDevices, readReports), http.HandlerFunc(hello))
	routes.Open("GET /permissions", "List what routes require", routes)

	for _, r := range routes.Table() {
		fmt.Println(r.Method, r.Pattern, r.Match, r.Permissions)
	}
	// Output:
	// GET /devices all [devices:read]
	// GET /overview any [devices:read reports:read]
	// GET /permissions open []
}

// The user whom the application has signed in generates a token. Its secret is
// shown this once.
func ExampleManager_Generate() {
	auth, _ := newService(readDevices)
	info, secret, err := auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name:        "nightly backup",
		Permissions: []apitoken.Permission{readDevices, readReports},
		Expiry:      apitoken.In(90 * 24 * time.Hour),
		Networks:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(info.Name, info.Permissions, info.Status)
	fmt.Println(strings.HasPrefix(secret.Reveal(), info.DisplayID), len(secret.Reveal()))

	// Nobody can give what they do not have.
	bob := apitoken.Actor{User: "bob", Environment: apitoken.DefaultEnvironment, Grants: []apitoken.Permission{readReports}}
	_, _, err = auth.As(bob).Generate(context.Background(), apitoken.GenerateParams{
		Name: "more", Permissions: []apitoken.Permission{readReports, writeDevices}, Expiry: apitoken.Never(),
	})
	fmt.Println(err)
	// Output:
	// nightly backup [devices:read reports:read] active
	// true 71
	// apitoken: you may not grant what you do not have: devices:write
}

func ExampleManager_Deactivate() {
	auth, secret := newService(readDevices)
	h := auth.Require(readDevices)(http.HandlerFunc(hello))
	ctx := context.Background()
	tok, err := auth.Verify(ctx, apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	if err != nil {
		panic(err)
	}

	// Those who manage the tokens of others can deactivate and delete them.
	admin := auth.As(apitoken.Actor{User: "admin", Environment: apitoken.DefaultEnvironment, ManageOthers: true})
	info, err := admin.Deactivate(ctx, tok.ID())
	if err != nil {
		panic(err)
	}
	fmt.Println(info.Status, "by", info.DeactivatedBy)
	call(h, "/", secret)

	// Its owner cannot activate what they did not deactivate.
	_, err = auth.As(alice).Activate(ctx, tok.ID())
	var forbidden *apitoken.ForbiddenError
	fmt.Println(errors.As(err, &forbidden))
	// Output:
	// inactive by admin
	// 401 apiToken realm="api", error="invalid_token"
	// true
}

func ExampleManager_List() {
	auth, _ := newService(readDevices)
	m := auth.As(alice)
	for _, name := range []string{"laptop", "build server", "old laptop"} {
		if _, _, err := m.Generate(context.Background(), apitoken.GenerateParams{
			Name: name, Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
		}); err != nil {
			panic(err)
		}
	}
	page := apitoken.ListParams{Text: "lap", Limit: 1}
	for {
		tokens, err := m.List(context.Background(), page)
		if err != nil {
			panic(err)
		}
		for _, info := range tokens.Tokens {
			fmt.Println(info.Name)
		}
		if tokens.Next == "" {
			break
		}
		page.Cursor = tokens.Next
	}
	// Output:
	// laptop
	// old laptop
}

// A program gets a new secret while its old one still works.
func ExampleManager_Rotate() {
	auth, old := newService(readDevices)
	h := auth.Require(readDevices)(http.HandlerFunc(hello))
	ctx := context.Background()
	tok, err := auth.Verify(ctx, apitoken.Credential{Secret: old}, apitoken.AnyToken())
	if err != nil {
		panic(err)
	}

	m := auth.As(alice)
	_, secret, err := m.Rotate(ctx, tok.ID(), 24*time.Hour, "")
	if err != nil {
		panic(err)
	}
	call(h, "/", old)
	call(h, "/", secret)

	// Its new secret is in place: the old one need not live on.
	if _, err := m.EndOverlap(ctx, tok.ID()); err != nil {
		panic(err)
	}
	call(h, "/", old)
	call(h, "/", secret)
	// Output:
	// 200 hello, alice
	// 200 hello, alice
	// 401 apiToken realm="api", error="invalid_token"
	// 200 hello, alice
}

// Each tenant has a host name of its own.
func ExampleConfig_environment() {
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "acme",
		Permissions: &catalog,
		Store:       memory.New(),
		Environment: func(r *http.Request) (string, error) {
			tenant, _, _ := strings.Cut(r.Host, ".")
			return tenant, nil
		},
	})
	if err != nil {
		panic(err)
	}
	_, secret, err := auth.As(apitoken.Actor{User: "alice", Environment: "north", Grants: catalog.All()}).Generate(
		context.Background(), apitoken.GenerateParams{Name: "example", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()})
	if err != nil {
		panic(err)
	}
	h := auth.Require(readDevices)(http.HandlerFunc(hello))

	call(h, "https://north.example.com/", secret)
	call(h, "https://south.example.com/", secret)
	// Output:
	// 200 hello, alice
	// 401 apiToken realm="api", error="invalid_token"
}

// Refusals in the words of the application. Status and challenge stay.
func ExampleConfig_refusalBody() {
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "acme",
		Permissions: &catalog,
		Store:       memory.New(),
		RefusalBody: func(r *http.Request, p apitoken.Problem) (contentType string, body []byte) {
			return "text/plain", fmt.Appendf(nil, "no: %s", p.Title)
		},
	})
	if err != nil {
		panic(err)
	}
	call(auth.Guard(apitoken.AnyToken())(http.HandlerFunc(hello)), "/", apitoken.Secret{})
	// Output: 401 no: API token required
}

func ExampleLogEvents() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // which the output below could not have
			}
			return a
		},
	}))
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "acme",
		Permissions: &catalog,
		Store:       memory.New(),
		Observe:     apitoken.LogEvents(logger),
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Require(readDevices)(http.HandlerFunc(hello)))
	call(mux, "/devices", apitoken.NewSecret("acme_nonsense"))
	// Output:
	// level=INFO msg="api token use refused" action=use pattern="GET /devices" token_source="Authorization: apiToken" address=192.0.2.1 reason=unknown_token
	// 401 apiToken realm="api", error="invalid_token"
}

// Behind a proxy, the address of a client is in X-Forwarded-For. Only what a
// known proxy wrote there counts.
func ExampleForwardedFor() {
	clientAddr, err := apitoken.ForwardedFor(netip.MustParsePrefix("10.0.0.0/8"))
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.7:5000"
	r.Header.Set("X-Forwarded-For", "192.0.2.66, 203.0.113.9") // the client made up the first
	fmt.Println(clientAddr(r))
	// Output: 203.0.113.9 <nil>
}
