package apitokenfiber_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	recoverer "github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokenfiber "github.com/apitoken-go/apitoken/adapters/fiber"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

// serve serves /devices/:id with fiber, and returns where.
func serve(t *testing.T, auth *apitoken.Authority, config fiber.Config, before ...any) string {
	app := fiber.New(config)
	if before != nil {
		app.Use(before...)
	}
	app.Get("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(readDevices)), func(c fiber.Ctx) error {
		tok, _ := apitoken.FromContext(c.Context())
		return c.SendString(fmt.Sprintf("%s %s %s %q", tok.Owner(), c.Params("id"), c.OriginalURL(), c.Query("apiToken")))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
	t.Cleanup(func() { app.Shutdown() })
	return l.Addr().String()
}

// exchange sends bytes and reads one answer.
func exchange(t *testing.T, addr, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// Requests that fasthttp reads otherwise than net/http does must not be judged
// otherwise: where net/http's server refuses, this refuses.
func TestWhatNetHTTPRefusesIsRefusedHere(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	mux := http.NewServeMux()
	mux.Handle("GET /devices/{id}", auth.Require(readDevices)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		fmt.Fprintf(w, "%s %s %s %q", tok.Owner(), r.PathValue("id"), r.RequestURI, r.URL.Query().Get("apiToken"))
	})))
	reference := httptest.NewServer(auth.HideQueryToken(mux))
	defer reference.Close()
	plain := serve(t, auth, fiber.Config{})
	hidden := serve(t, auth, fiber.Config{}, apitokenfiber.HideQueryToken(auth))
	raw := serve(t, auth, fiber.Config{Immutable: true, CaseSensitive: true})

	S := apitokentest.Token(t, auth, readDevices)
	weak := apitokentest.Token(t, auth)
	for _, tt := range []struct{ name, target, fields string }{
		{"a good token", "/devices/1", "Authorization: apiToken " + S + "\r\n"},
		{"a weak token", "/devices/1", "Authorization: apiToken " + weak + "\r\n"},
		{"a name in lower case", "/devices/1", "authorization: apiToken " + S + "\r\n"},
		{"two names in two cases", "/devices/1", "authorization: apiToken " + S + "\r\nAUTHORIZATION: apiToken " + S + "\r\n"},
		{"a second field that is foreign", "/devices/1", "Authorization: apiToken " + S + "\r\nauthorization: Basic YTpi\r\n"},
		{"a first field that is foreign", "/devices/1", "Authorization: Basic YTpi\r\nauthorization: apiToken " + S + "\r\n"},
		{"an empty second field", "/devices/1", "Authorization: apiToken " + S + "\r\nAuthorization:\r\n"},
		{"a field that is like ours", "/devices/1", "Authorization_: apiToken " + S + "\r\n"},
		{"a folded field", "/devices/1", "Authorization: apiToken\r\n " + S + "\r\n"},
		{"a space before the colon", "/devices/1", "Authorization : apiToken " + S + "\r\n"},
		{"a NUL in the token", "/devices/1", "Authorization: apiToken " + S + "\x00\r\n"},
		{"a bare CR", "/devices/1", "Authorization: apiToken " + S + "\rx\r\n"},
		{"a tab", "/devices/1", "Authorization: apiToken\t" + S + "\r\n"},
		{"a trailing tab", "/devices/1", "Authorization: apiToken " + S + "\t\r\n"},
		{"the parameter", "/devices/1?a=1&apiToken=" + S + "&b=%2f", ""},
		{"the parameter with an encoded name", "/devices/1?%61pi%54oken=" + S, ""},
		{"the parameter twice", "/devices/1?apiToken=" + S + "&apiToken=" + S, ""},
		{"the parameter twice, once encoded", "/devices/1?apiToken=" + S + "&api%54oken=" + S, ""},
		{"a second one without a value", "/devices/1?apiToken=" + S + "&apiToken", ""},
		{"the parameter in another case", "/devices/1?apitoken=" + S, ""},
		{"a plus for a space in its name", "/devices/1?apiToken+=" + S, ""},
		{"the parameter behind a fragment", "/devices/1#?apiToken=" + S, ""},
		{"the parameter before a fragment", "/devices/1?apiToken=" + S + "#x", ""},
		{"the parameter in a fragment", "/devices/1?x=1#&apiToken=" + S, ""},
		{"two question marks", "/devices/1??apiToken=" + S, ""},
		{"a semicolon", "/devices/1?x=1;apiToken=" + S, ""},
		{"a broken escape", "/devices/1?x=%&apiToken=" + S, ""},
		{"an encoded question mark", "/devices/1%3FapiToken=" + S, ""},
		{"header and parameter", "/devices/1?apiToken=" + S, "Authorization: apiToken " + S + "\r\n"},
		{"an absolute target", "http://localhost/devices/1?apiToken=" + S, ""},
		{"a target that does not parse", "/devices/1%zz?apiToken=" + S, ""},
		{"a form", "/devices/1", "Content-Type: application/x-www-form-urlencoded\r\n"},
		{"a cookie", "/devices/1", "Cookie: apiToken=" + S + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := "GET " + tt.target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + tt.fields + "\r\n"
			want, wantBody := exchange(t, reference.Listener.Addr().String(), request)
			for name, addr := range map[string]string{"plain": plain, "hidden": hidden, "raw": raw} {
				got, gotBody := exchange(t, addr, request)
				if got.Header.Get("Content-Type") != "text/plain; charset=utf-8" || got.StatusCode != 400 {
					// else it is fasthttp that tells the sender what it does not take
					assert.NotContains(t, fmt.Sprint(got.Header, gotBody), S, name)
				}
				if got.StatusCode == 200 {
					require.Equal(t, 200, want.StatusCode, "%s: accepted here only", name)
				}
				if challenge := want.Header.Get("WWW-Authenticate"); challenge != "" && got.StatusCode != 400 {
					assert.Equal(t, want.StatusCode, got.StatusCode, "%s: %s", name, gotBody)
					assert.Equal(t, challenge, got.Header.Get("WWW-Authenticate"), name)
					assert.Equal(t, wantBody, gotBody, name)
				}
				if want.StatusCode == 200 && got.StatusCode == 200 && !strings.Contains(tt.target, "#") { // a part of the path to net/http
					assert.Equal(t, wantBody, gotBody, name)
					assert.Equal(t, want.Header.Get("Referrer-Policy"), got.Header.Get("Referrer-Policy"), name)
				}
			}
		})
	}
}

func TestFieldsWhoseNamesFiberLeavesAloneAreStillOne(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	S := apitokentest.Token(t, auth, readDevices)
	app := fiber.New()
	app.Get("/", apitokenfiber.Guard(auth, apitoken.All(readDevices)), func(c fiber.Ctx) error { return c.SendStatus(204) })
	app.Server().DisableHeaderNamesNormalizing = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
	defer app.Shutdown()
	status := func(fields string) int {
		resp, _ := exchange(t, l.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+fields+"\r\n")
		return resp.StatusCode
	}
	assert.Equal(t, 204, status("aUTHORIZATION: apiToken "+S+"\r\n"))
	assert.Equal(t, 400, status("aUTHORIZATION: apiToken "+S+"\r\nAuthorization: Basic YTpi\r\n"))
}

func TestTheAddressIsThePeerAndNotAField(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	owner := auth.As(apitoken.Actor{User: "ada", Environment: "e", Grants: catalog.All()})
	generate := func(network string) string {
		_, secret, err := owner.Generate(t.Context(), apitoken.GenerateParams{Name: "n", Permissions: catalog.All(),
			Expiry: apitoken.Never(), Networks: []netip.Prefix{netip.MustParsePrefix(network)}})
		require.NoError(t, err)
		return secret.Reveal()
	}
	addr := serve(t, auth, fiber.Config{
		ProxyHeader: fiber.HeaderXForwardedFor, TrustProxy: true, TrustProxyConfig: fiber.TrustProxyConfig{Loopback: true}})
	status := func(token string) int {
		resp, _ := exchange(t, addr, "GET /devices/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\nAuthorization: apiToken "+token+"\r\n\r\n")
		return resp.StatusCode
	}
	assert.Equal(t, 200, status(generate("127.0.0.0/8")))
	assert.Equal(t, 401, status(generate("192.0.2.0/24")))
}

// fasthttp uses its memory again. What is kept of a request must not change when
// others come on the same connection.
func TestRequestsDoNotOverwriteEachOther(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]map[string]bool) // owners by the ID of the token, as events have it
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(),
		Observe: func(_ context.Context, ev apitoken.Event) {
			if ev.Action == "use" {
				mu.Lock()
				defer mu.Unlock()
				if seen[ev.TokenID] == nil {
					seen[ev.TokenID] = make(map[string]bool)
				}
				seen[ev.TokenID][ev.Owner] = true
			}
		}})
	require.NoError(t, err)
	defer auth.Close()
	addr := serve(t, auth, fiber.Config{}, apitokenfiber.HideQueryToken(auth))
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	const owners = 16
	var wg sync.WaitGroup
	for i := range owners {
		owner := fmt.Sprintf("owner-%d", i)
		token := apitokentest.TokenOf(t, auth, owner, "e", readDevices)
		wg.Go(func() {
			for j := range 20 {
				r, _ := http.NewRequest("GET", fmt.Sprintf("http://%s/devices/%d?n=%d", addr, i, j), nil)
				if j%2 == 0 {
					r.Header.Set("Authorization", "apiToken "+token)
				} else {
					r.URL.RawQuery += "&apiToken=" + token
				}
				resp, err := client.Do(r)
				if !assert.NoError(t, err) {
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				assert.Equal(t, fmt.Sprintf("%s %d /devices/%d?n=%d %q", owner, i, i, j, ""), string(body))
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, seen, owners)
	for id, by := range seen {
		assert.Len(t, by, 1, id)
		assert.Regexp(t, "^[0-9A-Za-z]{17}$", id)
	}
}

func TestATokenIsGoneWithItsRequest(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	app := fiber.New()
	whose := func(c fiber.Ctx) error {
		tok, ok := apitoken.FromContext(c.Context())
		return c.SendString(fmt.Sprintf("%q %t", tok.Owner(), ok))
	}
	app.Get("/guarded", apitokenfiber.Guard(auth, apitoken.AnyToken()), whose)
	app.Get("/open", whose)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
	defer app.Shutdown()
	conn, err := net.Dial("tcp", l.Addr().String()) // one for all
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	answers := bufio.NewReader(conn)
	get := func(target string) string {
		_, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	token := apitokentest.Token(t, auth, readDevices)
	for range 10 {
		assert.Equal(t, `"tester" true`, get("/guarded?apiToken="+token))
		assert.Equal(t, `"" false`, get("/open"))
		assert.Contains(t, get("/guarded"), "API token required")
	}
}

func TestAGroupIsGuardedByUse(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	app := fiber.New()
	called := 0
	app.Use("/api", apitokenfiber.Guard(auth, apitoken.All(readDevices)))
	app.Get("/api/a", func(c fiber.Ctx) error { called++; return nil })
	status := func(token string) int {
		resp, err := app.Test(apitokentest.Request("GET", "/api/a", token))
		require.NoError(t, err)
		return resp.StatusCode
	}
	assert.Equal(t, 401, status(""))
	assert.Equal(t, 403, status(apitokentest.Token(t, auth, writeDevices)))
	assert.Zero(t, called)
	assert.Equal(t, 200, status(apitokentest.Token(t, auth, readDevices)))
	assert.Equal(t, 1, called)
}

func TestWhatOthersSayOfVaryStays(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	addr := serve(t, auth, fiber.Config{}, func(c fiber.Ctx) error {
		c.Vary("Origin")
		return c.Next()
	})
	resp, _ := exchange(t, addr, "GET /devices/7 HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+apitokentest.Token(t, auth, readDevices)+"\r\n\r\n")
	assert.Equal(t, []string{"Origin", "Authorization"}, resp.Header["Vary"])
}

func TestARequirementThatNoTokenMeetsPanicsAtTheStart(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	assert.Panics(t, func() { apitokenfiber.Guard(auth, apitoken.Requirement{}) })
}

func TestTheLogOfFiberSeesNoToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	var log strings.Builder
	app := fiber.New()
	app.Use(apitokenfiber.HideQueryToken(auth), func(c fiber.Ctx) error {
		log.WriteString(c.OriginalURL() + c.Request().URI().String() + c.Request().String())
		return c.Next()
	})
	app.Get("/open", func(c fiber.Ctx) error { return nil })
	token := apitokentest.Token(t, auth, readDevices)
	_, err := app.Test(apitokentest.Request("GET", "/open?apiToken="+token+"&x=1", ""))
	require.NoError(t, err)
	assert.Contains(t, log.String(), "/open?x=1")
	assert.NotContains(t, log.String(), token)
}

func TestAnotherLoginDecidesAboutRequestsWithoutAToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	app := fiber.New()
	called := 0
	sessions := func(c fiber.Ctx) error {
		if c.Get("X-Session") == "" {
			return c.SendStatus(http.StatusTeapot)
		}
		c.Locals("user", "ada")
		return c.Next()
	}
	app.Get("/devices/:id", apitokenfiber.GuardOr(auth, apitoken.All(readDevices), sessions), func(c fiber.Ctx) error {
		called++
		tok, found := apitoken.FromContext(c.Context())
		return c.SendString(fmt.Sprintf("%s %t %v %s", tok.Owner(), found, c.Locals("user"), c.Params("id")))
	})
	for _, row := range []struct {
		token   string
		session bool
		status  int
		body    string
	}{
		{"", false, http.StatusTeapot, ""},
		{"", true, 200, " false ada 1"},
		{apitokentest.Token(t, auth, readDevices), true, 200, "tester true <nil> 1"},
		{apitokentest.Token(t, auth, writeDevices), true, 403, ""},
		{"x", true, 401, ""},
	} {
		before := called
		r := apitokentest.Request("GET", "/devices/1", row.token)
		if row.session {
			r.Header.Set("X-Session", "1")
		}
		resp, err := app.Test(r, fiber.TestConfig{Timeout: 2 * time.Minute})
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, row.status, resp.StatusCode, row)
		if row.status != 200 {
			assert.Equal(t, before, called)
			continue
		}
		assert.Equal(t, before+1, called)
		assert.Equal(t, row.body, string(body))
	}
	assert.Panics(t, func() { apitokenfiber.GuardOr(auth, apitoken.AnyToken(), nil) })
}

func TestAnotherLoginThatPanicsOpensNothing(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	app := fiber.New()
	called := 0
	app.Use(recoverer.New())
	app.Get("/", apitokenfiber.GuardOr(auth, apitoken.AnyToken(), func(fiber.Ctx) error { panic("the sessions are gone") }),
		func(fiber.Ctx) error { called++; return nil })
	resp, err := app.Test(apitokentest.Request("GET", "/", ""), fiber.TestConfig{Timeout: 2 * time.Minute})
	require.NoError(t, err)
	assert.Equal(t, 500, resp.StatusCode)
	assert.Zero(t, called)
}
