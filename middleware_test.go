package apitoken_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// These tests hold what docs call "what a request gets", line by line: first
// over a ResponseRecorder, then over a socket, for all that an http.Client
// would not send.

// The catalogue of the tests of requests.
var (
	wire          apitoken.Catalogue
	wireRead      = wire.Define("devices:read", "See devices")
	wireWrite     = wire.Define("devices:write", "Change devices")
	wireReports   = wire.Define("reports:read", "See reports")
	wireReportsAd = wire.Define("reports:admin", "Change reports")
)

// A minted is a token, made of the published grammar alone and not by the code
// under test.
type minted struct{ id, secret, text string }

const digits62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func mint(name string) minted { return mintFor("acme", name) }

func mintFor(prefix, name string) minted {
	sum := sha512.Sum512([]byte(name))
	var digits []byte
	for _, b := range sum {
		digits = append(digits, digits62[b%62])
	}
	m := minted{id: string(digits[:17]), secret: string(digits[17 : 17+43])}
	m.text = assemble(prefix, m.id, m.secret)
	return m
}

func assemble(prefix, id, secret string) string {
	text := prefix + "_" + id + secret
	return text + sum62(text)
}

func sum62(text string) (sum string) {
	n := crc32.ChecksumIEEE([]byte(text))
	for range 6 {
		sum = digits62[n%62:n%62+1] + sum
		n /= 62
	}
	return sum
}

// with returns the token with another secret.
func (m minted) with(secret string) string { return assemble("acme", m.id, secret) }

// record returns an active record of the token, owned by ada in production.
func (m minted) record(perms ...apitoken.Permission) apitoken.Record {
	rec := apitoken.Record{
		ID: m.id, Version: 1, Environment: "production", Owner: "ada", Name: "nightly",
		Status: apitoken.StatusActive, CreatedAt: longAgo, CreatedBy: "ada", ChangedAt: longAgo,
		Secrets: []apitoken.SecretRecord{{Digest: sha256Of(m.secret), CreatedAt: longAgo}},
	}
	for _, p := range perms {
		rec.Permissions = append(rec.Permissions, p.Name())
	}
	slices.Sort(rec.Permissions)
	return rec
}

func sha256Of(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// Before and after every now, also that of testing/synctest.
var (
	longAgo = time.Date(1990, 1, 2, 3, 4, 5, 6000, time.UTC)
	farOff  = time.Date(9000, 1, 2, 3, 4, 5, 6000, time.UTC)
)

// The tokens of the tests. Those of refusedTokens are refused with 401.
var (
	goodToken    = mint("good")    // devices:read
	bothToken    = mint("both")    // devices:read, devices:write
	lackingToken = mint("lacking") // reports:read
	emptyToken   = mint("empty")   // no permission
	networkToken = mint("network") // devices:read, from 192.0.2.0/24 and 2001:db8::/32
	rotatedToken = mint("rotated") // devices:read, the second secret in its overlap

	unknownToken     = mint("unknown")
	deactivatedToken = mint("deactivated")
	expiredToken     = mint("expired")
	pendingToken     = mint("pending")
	foreignEnvToken  = mint("staging")
	retiredToken     = mint("retired")
	importedToken    = mint("imported") // its digest is one of a whole foreign token
)

const networkPeer, otherPeer = "192.0.2.9:1234", "203.0.113.9:1234"

func wireRecords() []apitoken.Record {
	network := networkToken.record(wireRead)
	network.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	rotated := rotatedToken.record(wireRead)
	rotated.Secrets = append([]apitoken.SecretRecord{{Digest: sha256Of(mint("rotated anew").secret), CreatedAt: longAgo}}, rotated.Secrets...)
	rotated.Secrets[1].ValidUntil = farOff

	deactivated := deactivatedToken.record(wireRead)
	deactivated.Status, deactivated.DeactivatedAt, deactivated.DeactivatedBy = apitoken.StatusInactive, longAgo, "ada"
	expired := expiredToken.record(wireRead)
	expired.ExpiresAt = longAgo.Add(time.Hour)
	pending := pendingToken.record(wireRead)
	pending.NotBefore = farOff
	staging := foreignEnvToken.record(wireRead)
	staging.Environment = "staging"
	retired := retiredToken.record(wireRead)
	retired.Secrets = append([]apitoken.SecretRecord{{Digest: sha256Of(mint("retired anew").secret), CreatedAt: longAgo}}, retired.Secrets...)
	retired.Secrets[1].ValidUntil = longAgo.Add(time.Hour)
	imported := importedToken.record(wireRead)
	imported.Secrets[0].Foreign = true

	return []apitoken.Record{
		goodToken.record(wireRead), bothToken.record(wireRead, wireWrite), lackingToken.record(wireReports),
		emptyToken.record(), network, rotated,
		deactivated, expired, pending, staging, retired, imported,
	}
}

// A refusedToken is a well-formed credential that is answered with 401.
type refusedToken struct {
	name, text string
	reason     apitoken.Reason
	from       string // RemoteAddr
}

func refusedTokens() []refusedToken {
	wrongSum := goodToken.text[:len(goodToken.text)-1] + "0"
	if wrongSum == goodToken.text {
		wrongSum = goodToken.text[:len(goodToken.text)-1] + "1"
	}
	return []refusedToken{
		{"a wrong checksum", wrongSum, apitoken.ErrUnknownToken, ""},
		{"an unknown ID", unknownToken.text, apitoken.ErrUnknownToken, ""},
		{"a wrong secret", goodToken.with(mint("other").secret), apitoken.ErrWrongSecret, ""},
		{"a secret past its overlap", retiredToken.text, apitoken.ErrRetired, ""},
		{"another environment", foreignEnvToken.text, apitoken.ErrEnvironment, ""},
		{"a deactivated token", deactivatedToken.text, apitoken.ErrDeactivated, ""},
		{"an expired token", expiredToken.text, apitoken.ErrExpired, ""},
		{"a token that is not yet valid", pendingToken.text, apitoken.ErrNotYetValid, ""},
		{"a refused network", networkToken.text, apitoken.ErrNetwork, otherPeer},
		{"a minted text for the digest of an imported token", importedToken.text, apitoken.ErrWrongSecret, ""},
		{"another prefix", mintFor("acne", "good").text, apitoken.ErrUnknownToken, ""},
		{"another prefix of another length", mintFor("acm", "good").text, apitoken.ErrUnknownToken, ""},
		{"a token of another service", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", apitoken.ErrUnknownToken, ""},
		{"a token of an earlier system", "8as7bf9a8s7498svaps8dfabsf", apitoken.ErrUnknownToken, ""},
		{"a JWT", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", apitoken.ErrUnknownToken, ""},
		{"base64 with padding", "Zm9vYg==", apitoken.ErrUnknownToken, ""},
		{"a single character", "x", apitoken.ErrUnknownToken, ""},
		{"the ID alone", "acme_" + goodToken.id, apitoken.ErrUnknownToken, ""},
		{"the longest text that is looked at", strings.Repeat("a", 512), apitoken.ErrUnknownToken, ""},
	}
}

// A tapStore counts what reaches the store of a test. If get is set, it
// answers in place of the store.
type tapStore struct {
	apitoken.Store
	get func(ctx context.Context, id string) (apitoken.Record, error)

	mu   sync.Mutex
	gets []string
}

func (s *tapStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.mu.Lock()
	s.gets = append(s.gets, id)
	s.mu.Unlock()
	if s.get != nil {
		return s.get(ctx, id)
	}
	return s.Store.Get(ctx, id)
}

func (s *tapStore) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gets)
}

// A rig is an Authority with the tokens above, in the environment production,
// and a record of what it told the observer.
type rig struct {
	*apitoken.Authority
	store *tapStore

	mu     sync.Mutex
	events []apitoken.Event
}

func newRig(t testing.TB, edit ...func(*apitoken.Config)) *rig {
	t.Helper()
	g := &rig{store: &tapStore{Store: memory.New()}}
	for _, rec := range wireRecords() {
		require.NoError(t, g.store.Create(context.Background(), rec))
	}
	config := apitoken.Config{
		Prefix: "acme", Permissions: &wire, Store: g.store,
		Environment: func(*http.Request) (string, error) { return "production", nil },
		Observe: func(_ context.Context, ev apitoken.Event) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.events = append(g.events, ev)
		},
	}
	for _, e := range edit {
		e(&config)
	}
	var err error
	g.Authority, err = apitoken.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { g.Close() })
	return g
}

// ada may grant everything in production.
var ada = apitoken.Actor{User: "ada", Environment: "production", Grants: wire.All()}

// generate makes a token of ada's with devices:read, as applications do.
func (g *rig) generate(t testing.TB, edit ...func(*apitoken.Generate)) (*apitoken.Info, apitoken.Secret) {
	t.Helper()
	ask := apitoken.Generate{Name: "nightly", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}
	for _, e := range edit {
		e(&ask)
	}
	info, secret, err := g.As(ada).Generate(t.Context(), ask)
	require.NoError(t, err)
	g.events = nil
	return info, secret
}

// event returns the only event since the last call.
func (g *rig) event(t testing.TB) apitoken.Event {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Len(t, g.events, 1, "events")
	ev := g.events[0]
	g.events = nil
	return ev
}

// A spy is a handler that remembers its calls.
type spy struct {
	mu       sync.Mutex
	calls    int
	request  *http.Request
	writer   http.ResponseWriter
	token    apitoken.Token
	hasToken bool
	do       http.HandlerFunc // what it does beside that
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls++
	s.request, s.writer = r, w
	s.token, s.hasToken = apitoken.FromContext(r.Context())
	s.mu.Unlock()
	if s.do != nil {
		s.do(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *spy) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// newRequest returns a request to target with these Authorization fields.
func newRequest(target string, authorization ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	if authorization != nil {
		r.Header["Authorization"] = authorization
	}
	return r
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

func answerOf(t testing.TB, res *http.Response) answer {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	return answer{res.StatusCode, res.Header, string(body)}
}

// ask sends a request through the guard of devices:read to a spy.
func (g *rig) ask(t testing.TB, r *http.Request) (answer, *spy) {
	t.Helper()
	return askGuard(t, g.Require(wireRead), r)
}

func askGuard(t testing.TB, guard func(http.Handler) http.Handler, r *http.Request) (answer, *spy) {
	t.Helper()
	s := new(spy)
	w := httptest.NewRecorder()
	guard(s).ServeHTTP(w, r)
	return answerOf(t, w.Result()), s
}

// mustAccept checks that the handler, and nothing else, answered.
func mustAccept(t testing.TB, a answer, s *spy, id string) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, a.status, a.body)
	require.Equal(t, 1, s.called(), "calls of the handler")
	require.True(t, s.hasToken, "token in the context")
	require.Equal(t, id, s.token.ID())
	require.Empty(t, a.header["Www-Authenticate"])
	require.Empty(t, a.body)
}

const problemBase = "https://github.com/apitoken-go/apitoken/blob/main/docs/problems.md#"

// The five kinds of refusal, as they stand on the wire.
var (
	asksForToken = apitoken.Problem{Type: problemBase + "no-token", Title: "API token required", Status: 401,
		Detail: "The request has no API token."}
	invalidRequest = apitoken.Problem{Type: problemBase + "invalid-request", Title: "Malformed authentication", Status: 400}
	invalidToken   = apitoken.Problem{Type: problemBase + "invalid-token", Title: "API token not valid", Status: 401,
		Detail: "The API token is not valid for this request."}
	insufficientScope = apitoken.Problem{Type: problemBase + "insufficient-scope", Title: "Permission missing", Status: 403,
		Detail: "The API token does not have the permissions that this request requires."}
	unavailable = apitoken.Problem{Type: problemBase + "unavailable", Title: "Authentication unavailable", Status: 503,
		Detail: "The API token could not be checked just now. Try again."}
)

// challengeOf returns the challenge that goes with a problem, with the default
// scheme and realm.
func challengeOf(p apitoken.Problem) []string {
	switch strings.TrimPrefix(p.Type, problemBase) {
	case "no-token":
		return []string{`apiToken realm="api"`}
	case "invalid-request":
		return []string{`apiToken realm="api", error="invalid_request"`}
	case "invalid-token":
		return []string{`apiToken realm="api", error="invalid_token"`}
	case "insufficient-scope":
		return []string{`apiToken realm="api", error="insufficient_scope", scope="` + strings.Join(p.Required, " ") + `"`}
	}
	return nil
}

// mustRefuse checks everything about a refusal: status, every header, every
// member of the body, and that the handler was not called. The detail of
// invalidRequest is to contain detail.
func mustRefuse(t testing.TB, a answer, s *spy, want apitoken.Problem, detail string) {
	t.Helper()
	require.Zero(t, s.called(), "calls of the handler")
	require.Equal(t, want.Status, a.status, a.body)
	require.True(t, strings.HasSuffix(a.body, "}\n"), a.body)
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	var got apitoken.Problem
	require.NoError(t, d.Decode(&got))
	if want.Detail == "" {
		require.NotEmpty(t, got.Detail)
		require.Contains(t, got.Detail, detail)
		want.Detail = got.Detail
	}
	require.Equal(t, want, got)

	header := http.Header{
		"Content-Type":           {"application/problem+json"},
		"X-Content-Type-Options": {"nosniff"},
		"Cache-Control":          {"no-store"},
	}
	if c := challengeOf(want); c != nil {
		header["Www-Authenticate"] = c
	}
	if want.Status == 503 {
		header["Retry-After"] = []string{"1"}
	}
	for _, name := range []string{"Date", "Content-Length"} { // from net/http
		delete(a.header, name)
	}
	require.Equal(t, header, a.header)
}

// Line 1: nothing, or only foreign schemes.

func TestARequestThatPresentsNothingIsAskedForATokenWithoutAnError(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		name, target string
		fields       []string
	}{
		{"no Authorization, no query", "/devices", nil},
		{"an Authorization without values", "/devices", []string{}},
		{"an empty Authorization", "/devices", []string{""}},
		{"Bearer", "/devices", []string{"Bearer " + goodToken.text}},
		{"Basic", "/devices", []string{"Basic YWRhOnNlY3JldA=="}},
		{"two foreign Authorization fields", "/devices", []string{"Basic YWRhOnNlY3JldA==", "Bearer " + goodToken.text}},
		{"the token without a scheme", "/devices", []string{goodToken.text}},
		{"a scheme that begins like ours", "/devices", []string{"apiTokens " + goodToken.text}},
		{"a scheme that ours is the beginning of", "/devices", []string{"apiToken2 " + goodToken.text}},
		{"a scheme that continues ours with a hyphen", "/devices", []string{"apiToken-v1 " + goodToken.text}},
		{"the beginning of our scheme", "/devices", []string{"apiToke " + goodToken.text}},
		{"a Kelvin sign for k", "/devices", []string{"apiTo\u212Aen " + goodToken.text}},
		{"a Kelvin sign for k in a text of the same length", "/devices", []string{"piTo\u212Aen " + goodToken.text}},
		{"a long s for s, which folds", "/devices", []string{"ba\u017Fic " + goodToken.text}},
		{"our scheme after a comma", "/devices", []string{"Basic YWRhOnNlY3JldA==, apiToken " + goodToken.text}},
		{"our scheme after a space", "/devices", []string{" apiToken " + goodToken.text}},
		{"the parameter in another case", "/devices?apitoken=" + goodToken.text + "&APITOKEN=" + goodToken.text, nil},
		{"the parameter in another case behind escapes", "/devices?%41piToken=" + goodToken.text, nil},
		{"the parameter after a semicolon", "/devices?a=1;apiToken=" + goodToken.text, nil},
		{"the parameter before a semicolon", "/devices?apiToken;a=" + goodToken.text, nil},
		{"the parameter escaped twice", "/devices?api%2554oken=" + goodToken.text, nil},
		{"the parameter with a broken escape", "/devices?api%5Token=" + goodToken.text, nil},
		{"the parameter with a space", "/devices?apiToken+=" + goodToken.text, nil},
		{"the parameter within another's value", "/devices?a=apiToken=" + goodToken.text, nil},
		{"the equals sign escaped", "/devices?apiToken%3D" + goodToken.text, nil},
		{"the ampersand escaped", "/devices?a=1%26apiToken=" + goodToken.text, nil},
		{"the token in the path", "/devices/apiToken=" + goodToken.text, nil},
		{"the question mark escaped", "/devices%3FapiToken=" + goodToken.text, nil},
		{"a query that does not parse and does not name the parameter", "/devices?a=%zz&b=;", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := g.ask(t, newRequest(c.target, c.fields...))
			mustRefuse(t, a, s, asksForToken, "")
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrNoToken, ev.Reason)
			assert.Equal(t, apitoken.Transport(""), ev.Transport)
		})
	}
	assert.Zero(t, g.store.calls(), "store calls")
}

func TestAForeignSchemeBesideAQueryTokenIsNothing(t *testing.T) {
	g := newRig(t)
	a, s := g.ask(t, newRequest("/?apiToken="+goodToken.text, "Basic YWRhOnNlY3JldA=="))
	mustAccept(t, a, s, goodToken.id)
	assert.Equal(t, "Basic YWRhOnNlY3JldA==", s.request.Header.Get("Authorization"), "stays on the request")

	a, s = g.ask(t, newRequest("/?apiToken="+deactivatedToken.text, "Bearer "+goodToken.text))
	mustRefuse(t, a, s, invalidToken, "")
	a, s = g.ask(t, newRequest("/?apiToken=", "Bearer "+goodToken.text))
	mustRefuse(t, a, s, invalidRequest, "empty")
}

func TestNothingElseOfARequestIsReadAsACredential(t *testing.T) {
	g := newRig(t)
	text := goodToken.text
	for _, name := range []string{
		"Authorization_", "authorization", "AUTHORIZATION", "X-Authorization", "Proxy-Authorization", "X-Forwarded-Authorization",
		"X-Original-Authorization", "X-Api-Key", "X-Api-Token", "ApiToken", "Api-Token", "X-Original-Url", "X-Rewrite-Url", "Referer",
		"Cookie", "Sec-Websocket-Protocol", "Www-Authenticate", "Authentication",
	} {
		t.Run("the field "+name, func(t *testing.T) {
			r := newRequest("/devices")
			r.Header[name] = []string{"apiToken " + text, text, "/devices?apiToken=" + text, "apiToken=" + text}
			a, s := g.ask(t, r)
			mustRefuse(t, a, s, asksForToken, "")
		})
	}
	t.Run("a cookie", func(t *testing.T) {
		r := newRequest("/devices")
		r.AddCookie(&http.Cookie{Name: "apiToken", Value: text})
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
	})
	t.Run("a form in the body, which stays unread", func(t *testing.T) {
		body := &readCounter{Reader: strings.NewReader("apiToken=" + text)}
		r := httptest.NewRequest("POST", "/devices", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
		assert.Zero(t, body.reads)
		assert.Nil(t, r.Form)
	})
	t.Run("a form that was parsed before", func(t *testing.T) {
		r := httptest.NewRequest("POST", "/devices", strings.NewReader("apiToken="+text))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		require.NoError(t, r.ParseForm())
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
	})
	t.Run("a trailer", func(t *testing.T) {
		r := newRequest("/devices")
		r.Trailer = http.Header{"Authorization": {"apiToken " + text}}
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
	})
	t.Run("the user of the URL", func(t *testing.T) {
		r := newRequest("/devices")
		r.URL.User = url.UserPassword("apiToken", text)
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
	})
	t.Run("the fragment of the URL", func(t *testing.T) {
		r := newRequest("/devices")
		r.URL.Fragment = "apiToken=" + text
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
	})
	t.Run("a RequestURI that disagrees with the URL", func(t *testing.T) {
		r := newRequest("/devices")
		r.RequestURI = "/devices?apiToken=" + text
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")
	})
	assert.Zero(t, g.store.calls())
}

type readCounter struct {
	io.Reader
	reads int
}

func (c *readCounter) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

func TestNothingElseOfARequestChangesTheDecision(t *testing.T) {
	g := newRig(t)
	noise := http.Header{
		"Authorization_": {"Bearer x"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Host": {"staging.example"},
		"X-Forwarded-Proto": {"http"}, "Forwarded": {"for=192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "X-Original-Url": {"/admin"},
		"X-Http-Method-Override": {"DELETE"}, "Origin": {"https://evil.example"}, "Cookie": {"apiToken=x; session=y"},
		"X-Api-Token": {"x"}, "Access-Control-Request-Method": {"GET"}, "Sec-Fetch-Site": {"cross-site"},
	}
	for _, c := range []struct {
		name   string
		token  minted
		accept bool
	}{
		{"a good token stays good", goodToken, true},
		{"a deactivated token stays refused", deactivatedToken, false},
		{"a network stays refused, whatever a header claims", networkToken, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/devices?x=1", strings.NewReader("apiToken=x"))
			r.RemoteAddr = otherPeer
			maps.Copy(r.Header, noise)
			r.Header.Set("Authorization", "apiToken "+c.token.text)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Trailer = http.Header{"Authorization": {"apiToken x"}}
			a, s := g.ask(t, r)
			if c.accept {
				mustAccept(t, a, s, c.token.id)
			} else {
				mustRefuse(t, a, s, invalidToken, "")
			}
		})
	}
}

// Lines 2 and 3: malformed, and more than one.

func TestAMalformedCredentialIs400(t *testing.T) {
	g := newRig(t)
	text := goodToken.text
	for _, c := range []struct {
		name, target string
		fields       []string
		detail       string
	}{
		{"the scheme alone", "/", []string{"apiToken"}, "not followed by a space and an API token"},
		{"the scheme and a space", "/", []string{"apiToken "}, "not followed by a space and an API token"},
		{"the scheme and spaces", "/", []string{"apiToken    "}, "not followed by a space and an API token"},
		{"a tab for the space", "/", []string{"apiToken\t" + text}, "not followed by a space"},
		{"a tab after the space", "/", []string{"apiToken \t" + text}, "not allowed"},
		{"a no-break space for the space", "/", []string{"apiToken\u00a0" + text}, "not followed by a space"},
		{"a no-break space after the space", "/", []string{"apiToken \u00a0" + text}, "not allowed"},
		{"a no-break space in Latin-1", "/", []string{"apiToken\xa0" + text}, "not followed by a space"},
		{"an equals sign for the space", "/", []string{"apiToken=" + text}, "not followed by a space"},
		{"a colon for the space", "/", []string{"apiToken:" + text}, "not followed by a space"},
		{"a comma for the space", "/", []string{"apiToken," + text}, "not followed by a space"},
		{"a NUL for the space", "/", []string{"apiToken\x00" + text}, "not followed by a space"},
		{"a trailing space", "/", []string{"apiToken " + text + " "}, "not allowed"},
		{"a trailing tab", "/", []string{"apiToken " + text + "\t"}, "not allowed"},
		{"a trailing no-break space", "/", []string{"apiToken " + text + "\u00a0"}, "not allowed"},
		{"a second word", "/", []string{"apiToken " + text + " x"}, "not allowed"},
		{"the token twice", "/", []string{"apiToken " + text + " " + text}, "not allowed"},
		{"the scheme twice", "/", []string{"apiToken apiToken " + text}, "not allowed"},
		{"a comma list of tokens", "/", []string{"apiToken " + text + "," + text}, "not allowed"},
		{"a comma list of credentials", "/", []string{"apiToken " + text + ", Basic YWRhOg=="}, "not allowed"},
		{"a trailing comma", "/", []string{"apiToken " + text + ","}, "not allowed"},
		{"a trailing semicolon", "/", []string{"apiToken " + text + ";"}, "not allowed"},
		{"a quoted string", "/", []string{`apiToken "` + text + `"`}, "not allowed"},
		{"an auth-param", "/", []string{"apiToken token=" + text}, "not allowed"},
		{"a quoted auth-param", "/", []string{`apiToken token="` + text + `"`}, "not allowed"},
		{"a token and an auth-param", "/", []string{"apiToken " + text + `, realm="api"`}, "not allowed"},
		{"padding in the middle", "/", []string{"apiToken " + text[:20] + "=" + text[20:]}, "not allowed"},
		{"padding alone", "/", []string{"apiToken ="}, "not allowed"},
		{"padding alone, twice", "/", []string{"apiToken =="}, "not allowed"},
		{"a NUL", "/", []string{"apiToken " + text + "\x00"}, "not allowed"},
		{"a DEL", "/", []string{"apiToken " + text + "\x7f"}, "not allowed"},
		{"a byte of no charset", "/", []string{"apiToken " + text + "\xff"}, "not allowed"},
		{"a full-width digit", "/", []string{"apiToken " + text + "\uff10"}, "not allowed"},
		{"a percent escape", "/", []string{"apiToken " + strings.Replace(text, "a", "%61", 1)}, "not allowed"},
		{"a line break", "/", []string{"apiToken " + text + "\r\n"}, "not allowed"},

		{"an empty parameter", "/?apiToken=", nil, "empty"},
		{"a parameter without a value", "/?apiToken", nil, "empty"},
		{"an empty parameter among others", "/?a=1&apiToken=&b=2", nil, "empty"},
		{"a space before the token", "/?apiToken=+" + text, nil, "not allowed"},
		{"a space after the token", "/?apiToken=" + text + "%20", nil, "not allowed"},
		{"the scheme in the parameter", "/?apiToken=apiToken+" + text, nil, "not allowed"},
		{"a line break in the parameter", "/?apiToken=" + text + "%0d%0a", nil, "not allowed"},
		{"a NUL in the parameter", "/?apiToken=" + text + "%00", nil, "not allowed"},
		{"a quoted parameter", "/?apiToken=%22" + text + "%22", nil, "not allowed"},
		{"a percent sign in the parameter", "/?apiToken=" + text + "%25", nil, "not allowed"},
		{"an escaped semicolon in the parameter", "/?apiToken=" + text + "%3B", nil, "not allowed"},
		{"a comma list in the parameter", "/?apiToken=" + text + "," + text, nil, "not allowed"},
		{"an equals sign before the token", "/?apiToken==" + text, nil, "not allowed"},
		{"a broken escape in the parameter", "/?apiToken=" + text + "%zz", nil, "cannot be parsed"},
		{"a cut escape in the parameter", "/?apiToken=" + text + "%4", nil, "cannot be parsed"},
		{"a semicolon after the token", "/?apiToken=" + text + ";", nil, "cannot be parsed"},
		{"a semicolon for the ampersand", "/?apiToken=" + text + ";a=1", nil, "cannot be parsed"},
		{"a semicolon elsewhere", "/?apiToken=" + text + "&a=1;b=2", nil, "cannot be parsed"},
		{"a semicolon before", "/?a;b&apiToken=" + text, nil, "cannot be parsed"},
		{"a broken escape before", "/?%zz&apiToken=" + text, nil, "cannot be parsed"},
		{"a broken escape after", "/?apiToken=" + text + "&a=%zz", nil, "cannot be parsed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := g.ask(t, newRequest(c.target, c.fields...))
			mustRefuse(t, a, s, invalidRequest, c.detail)
			assert.NotContains(t, a.body, text)
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrMalformed, ev.Reason)
			assert.Empty(t, ev.TokenID)
		})
	}
	assert.Zero(t, g.store.calls(), "store calls")
}

func TestTwoCredentialsAre400EvenIfEqual(t *testing.T) {
	g := newRig(t)
	ours, other := "apiToken "+goodToken.text, "apiToken "+bothToken.text
	q := "apiToken=" + goodToken.text
	for _, c := range []struct {
		name, target string
		fields       []string
		detail       string
	}{
		{"two of ours", "/", []string{ours, other}, "more than one Authorization field"},
		{"two of ours, equal", "/", []string{ours, ours}, "more than one Authorization field"},
		{"ours before a foreign one", "/", []string{ours, "Basic YWRhOg=="}, "more than one Authorization field"},
		{"ours after a foreign one", "/", []string{"Basic YWRhOg==", ours}, "more than one Authorization field"},
		{"ours and an empty one", "/", []string{ours, ""}, "more than one Authorization field"},
		{"ours last of many", "/", []string{"a", "b", "c", ours}, "more than one Authorization field"},
		{"two of ours, malformed", "/", []string{"apiToken", "apiToken"}, "more than one Authorization field"},
		{"the parameter twice", "/?" + q + "&apiToken=" + bothToken.text, nil, "more than once"},
		{"the parameter twice, equal", "/?" + q + "&" + q, nil, "more than once"},
		{"the parameter twice, first empty", "/?apiToken=&" + q, nil, "more than once"},
		{"the parameter twice, then empty", "/?" + q + "&apiToken", nil, "more than once"},
		{"the parameter twice, once escaped", "/?" + q + "&api%54oken=" + goodToken.text, nil, "more than once"},
		{"the parameter twice, both escaped", "/?%61piToken=" + goodToken.text + "&a=1&apiToke%6E=" + goodToken.text, nil, "more than once"},
		{"the parameter three times", "/?" + q + "&" + q + "&" + q, nil, "more than once"},
		{"the parameter twice, first broken", "/?apiToken=%zz&" + q, nil, "more than once"},
		{"header and parameter", "/?apiToken=" + bothToken.text, []string{ours}, "both in the Authorization field and in the query"},
		{"header and parameter, equal", "/?" + q, []string{ours}, "both in the Authorization field and in the query"},
		{"header and escaped parameter", "/?api%54oken=" + goodToken.text, []string{ours}, "both"},
		{"header and empty parameter", "/?apiToken=", []string{ours}, "both"},
		{"header and the parameter twice", "/?" + q + "&" + q, []string{ours}, "both"},
		{"malformed header and parameter", "/?" + q, []string{"apiToken"}, "both"},
		{"two headers and parameter", "/?" + q, []string{ours, ours}, "both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := g.ask(t, newRequest(c.target, c.fields...))
			mustRefuse(t, a, s, invalidRequest, c.detail)
			assert.Equal(t, apitoken.ErrMalformed, g.event(t).Reason)
		})
	}
	assert.Zero(t, g.store.calls(), "store calls")
}

// Line 4: over-long.

func TestAnOverLongTokenIs400BeforeAnyWork(t *testing.T) {
	g := newRig(t)
	const mib = 1 << 20
	for _, c := range []struct {
		name, target string
		fields       []string
	}{
		{"one byte over", "/", []string{"apiToken " + strings.Repeat("a", 513)}},
		{"twice the cap and one", "/", []string{"apiToken " + strings.Repeat("a", 1024)}},
		{"1 MiB", "/", []string{"apiToken " + strings.Repeat("a", mib)}},
		{"1 MiB that begins like a token", "/", []string{"apiToken " + goodToken.text + strings.Repeat("a", mib)}},
		{"1 MiB of padding", "/", []string{"apiToken a" + strings.Repeat("=", mib)}},
		{"1 MiB of spaces before the token", "/", []string{"apiToken" + strings.Repeat(" ", mib) + goodToken.text}},
		{"1 MiB of spaces and nothing", "/", []string{"apiToken" + strings.Repeat(" ", mib)}},
		{"1 MiB of commas", "/", []string{"apiToken " + strings.Repeat(",", mib)}},
		{"one byte over in the query", "/?apiToken=" + strings.Repeat("a", 513), nil},
		{"1 MiB in the query", "/?apiToken=" + strings.Repeat("a", mib), nil},
		{"1 MiB of escapes in the query", "/?apiToken=" + strings.Repeat("%61", mib/3), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest(c.target, c.fields...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a, s := g.ask(t, r)
			runtime.ReadMemStats(&after)
			mustRefuse(t, a, s, invalidRequest, "too long")
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(128<<10), "bytes allocated")
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrMalformed, ev.Reason)
			assert.Empty(t, ev.TokenID, "it was not parsed")
		})
	}
	assert.Zero(t, g.store.calls(), "store calls")
}

func TestManySpacesBetweenSchemeAndTokenAreOne(t *testing.T) {
	g := newRig(t)
	for _, n := range []int{1, 2, 3, 100, 900} {
		a, s := g.ask(t, newRequest("/", "apiToken"+strings.Repeat(" ", n)+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	}
}

// Lines 5 and 6: 401.

func TestATokenThatIsNotValidIs401(t *testing.T) {
	g := newRig(t)
	for _, c := range refusedTokens() {
		for _, via := range []apitoken.Transport{apitoken.InHeader, apitoken.InQuery} {
			t.Run(c.name+" in the "+string(via), func(t *testing.T) {
				r := newRequest("/", "apiToken "+c.text)
				if via == apitoken.InQuery {
					r = newRequest("/?apiToken=" + url.QueryEscape(c.text))
				}
				if c.from != "" {
					r.RemoteAddr = c.from
				}
				a, s := g.ask(t, r)
				mustRefuse(t, a, s, invalidToken, "")
				ev := g.event(t)
				assert.Equal(t, c.reason, ev.Reason, "the observer is told")
				assert.ErrorIs(t, ev.Reason, apitoken.ErrInvalidToken)
				assert.NotErrorIs(t, ev.Reason, apitoken.ErrNoToken)
				assert.Equal(t, via, ev.Transport)
				assert.Equal(t, "use", ev.Action)
				assert.NoError(t, ev.Err)
			})
		}
	}
}

func TestAllAnswersToInvalidTokensAreIdentical(t *testing.T) {
	g := newRig(t)
	require.NoError(t, g.store.Delete(t.Context(), mint("both").id))
	refused := append(refusedTokens(), refusedToken{"a deleted token", bothToken.text, apitoken.ErrUnknownToken, ""})
	server := httptest.NewServer(g.Require(wireRead)(new(spy)))
	defer server.Close()

	want, wantRaw := "", ""
	for _, c := range refused {
		r := newRequest("/", "apiToken "+c.text)
		if c.from != "" {
			r.RemoteAddr = c.from
		}
		w := httptest.NewRecorder()
		g.Require(wireRead)(new(spy)).ServeHTTP(w, r)
		var got bytes.Buffer
		require.NoError(t, w.Result().Write(&got))
		if want == "" {
			want = got.String()
			require.Contains(t, want, `error="invalid_token"`)
		}
		require.Equal(t, want, got.String(), c.name)

		_, bytes := rawAsk(t, server, "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+c.text+"\r\n\r\n")
		head, body, _ := strings.Cut(bytes, "\r\n\r\n")
		lines := slices.DeleteFunc(strings.Split(head, "\r\n"), func(l string) bool { return strings.HasPrefix(l, "Date: ") })
		raw := strings.Join(lines, "\r\n") + "\r\n\r\n" + body
		if wantRaw == "" {
			wantRaw = raw
			require.Len(t, lines, 6, raw) // status, four of ours, Content-Length
		}
		require.Equal(t, wantRaw, raw, c.name)
	}
}

func TestStateIsJudgedBeforePermission(t *testing.T) {
	g := newRig(t)
	for _, c := range refusedTokens() {
		r := newRequest("/", "apiToken "+c.text)
		if c.from != "" {
			r.RemoteAddr = c.from
		}
		a, s := askGuard(t, g.Require(wireReportsAd), r)
		mustRefuse(t, a, s, invalidToken, "")
	}
}

func TestADeletedTokenIs401(t *testing.T) {
	g := newRig(t)
	info, secret := g.generate(t)
	a, s := g.ask(t, newRequest("/", "apiToken "+secret.Reveal()))
	mustAccept(t, a, s, info.ID)
	require.NoError(t, g.As(ada).Delete(t.Context(), info.ID))
	g.events = nil
	a, s = g.ask(t, newRequest("/", "apiToken "+secret.Reveal()))
	mustRefuse(t, a, s, invalidToken, "")
	assert.Equal(t, apitoken.ErrUnknownToken, g.event(t).Reason)
}

func TestASecretInItsOverlapIsAccepted(t *testing.T) {
	g := newRig(t)
	for _, text := range []string{rotatedToken.text, rotatedToken.with(mint("rotated anew").secret)} {
		a, s := g.ask(t, newRequest("/", "apiToken "+text))
		mustAccept(t, a, s, rotatedToken.id)
	}
}

func TestNetworksAreThoseOfThePeer(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		name, peer string
		accept     bool
	}{
		{"an address inside", networkPeer, true},
		{"the first address", "192.0.2.0:1", true},
		{"the last address", "192.0.2.255:1", true},
		{"the address after", "192.0.3.0:1", false},
		{"the address before", "192.0.1.255:1", false},
		{"IPv4 in IPv6", "[::ffff:192.0.2.9]:1234", true},
		{"IPv6 inside", "[2001:db8::1]:1234", true},
		{"IPv6 outside", "[2001:db9::1]:1234", false},
		{"IPv6 inside, with a zone", "[2001:db8::1%eth0]:1234", false},
		{"no port", "192.0.2.9", false},
		{"a name", "localhost:1234", false},
		{"a Unix socket", "@", false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest("/", "apiToken "+networkToken.text)
			r.RemoteAddr = c.peer
			a, s := g.ask(t, r)
			if c.accept {
				mustAccept(t, a, s, networkToken.id)
				return
			}
			mustRefuse(t, a, s, invalidToken, "")
			assert.Equal(t, apitoken.ErrNetwork, g.event(t).Reason)
		})
		g.events = nil
	}
}

// Line 7: 403.

func TestAMissingPermissionIs403ThatNamesWhatIsRequiredAndMissing(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		name              string
		guard             func(http.Handler) http.Handler
		token             minted
		required, missing []string
		match             string
	}{
		{"one of one", g.Require(wireWrite), goodToken, []string{"devices:write"}, []string{"devices:write"}, ""},
		{"one of two", g.Require(wireRead, wireWrite), goodToken, []string{"devices:read", "devices:write"}, []string{"devices:write"}, ""},
		{"in the order of the route", g.Require(wireWrite, wireRead), goodToken, []string{"devices:write", "devices:read"}, []string{"devices:write"}, ""},
		{"two of two", g.Require(wireRead, wireWrite), lackingToken, []string{"devices:read", "devices:write"}, []string{"devices:read", "devices:write"}, ""},
		{"a token without any permission", g.Require(wireRead), emptyToken, []string{"devices:read"}, []string{"devices:read"}, ""},
		{"each name once", g.Require(wireWrite, wireWrite), goodToken, []string{"devices:write"}, []string{"devices:write"}, ""},
		{"a list", g.RequireList([]apitoken.Permission{wireRead, wireReports}), goodToken, []string{"devices:read", "reports:read"}, []string{"reports:read"}, ""},
		{"none of two alternatives", g.RequireAny(wireReports, wireReportsAd), goodToken, []string{"reports:read", "reports:admin"}, []string{"reports:read", "reports:admin"}, "any"},
		{"no other alternative", g.RequireAny(wireReports), goodToken, []string{"reports:read"}, []string{"reports:read"}, "any"},
		{"Guard", g.Guard(apitoken.All(wireWrite)), goodToken, []string{"devices:write"}, []string{"devices:write"}, ""},
		{"Guard with HeaderOnly", g.Guard(apitoken.Any(wireWrite).HeaderOnly()), goodToken, []string{"devices:write"}, []string{"devices:write"}, "any"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := askGuard(t, c.guard, newRequest("/", "apiToken "+c.token.text))
			want := insufficientScope
			want.Required, want.Missing, want.Match = c.required, c.missing, c.match
			mustRefuse(t, a, s, want, "")
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrPermission, ev.Reason)
			assert.NotErrorIs(t, ev.Reason, apitoken.ErrInvalidToken)
			assert.Equal(t, c.missing, ev.Missing)
			assert.Equal(t, c.token.id, ev.Token.ID(), "the observer is told whose")
			assert.Equal(t, "ada", ev.Owner)
			assert.Equal(t, "production", ev.Environment)
		})
	}
}

func TestOnly403HasTheMembersOfPermissions(t *testing.T) {
	g := newRig(t)
	a, _ := askGuard(t, g.Require(wireRead, wireWrite), newRequest("/", "apiToken "+goodToken.text))
	assert.JSONEq(t, `{"type":"`+problemBase+`insufficient-scope","title":"Permission missing","status":403,
		"detail":"The API token does not have the permissions that this request requires.",
		"required":["devices:read","devices:write"],"missing":["devices:write"]}`, a.body)
	a, _ = g.ask(t, newRequest("/"))
	assert.JSONEq(t, `{"type":"`+problemBase+`no-token","title":"API token required","status":401,"detail":"The request has no API token."}`, a.body)
}

func TestPermissionsAreMetByAllOrByAnyOrNotAsked(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		name  string
		guard func(http.Handler) http.Handler
		token minted
	}{
		{"the only one", g.Require(wireRead), goodToken},
		{"both", g.Require(wireRead, wireWrite), bothToken},
		{"one of more", g.Require(wireWrite), bothToken},
		{"a list", g.RequireList([]apitoken.Permission{wireWrite, wireRead}), bothToken},
		{"the first alternative", g.RequireAny(wireRead, wireReports), goodToken},
		{"the last alternative", g.RequireAny(wireReports, wireReportsAd, wireRead), goodToken},
		{"all alternatives", g.RequireAny(wireRead, wireWrite), bothToken},
		{"any token, one without permissions", g.RequireToken(), emptyToken},
		{"any token, as a need", g.Guard(apitoken.AnyToken()), emptyToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := askGuard(t, c.guard, newRequest("/", "apiToken "+c.token.text))
			mustAccept(t, a, s, c.token.id)
		})
	}
}

// Line 9: the handler's own answer.

func TestAGoodTokenReachesTheHandlerOnceWithTheToken(t *testing.T) {
	g := newRig(t)
	s := &spy{do: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "short and stout")
	}}
	w := httptest.NewRecorder()
	r := newRequest("/devices?a=1", "apiToken "+goodToken.text)
	r.RemoteAddr = networkPeer
	g.Require(wireRead)(s).ServeHTTP(w, r)
	require.Equal(t, 1, s.called())
	assert.Equal(t, http.StatusTeapot, w.Code)
	assert.Equal(t, "short and stout", w.Body.String())
	assert.Equal(t, http.Header{"Etag": {`"1"`}}, w.Header(), "nothing is added")
	assert.Equal(t, []string{"apiToken " + goodToken.text}, s.request.Header["Authorization"], "stays on the request")
	assert.Equal(t, "a=1", s.request.URL.RawQuery)

	require.True(t, s.hasToken)
	tok := s.token
	assert.Equal(t, goodToken.id, tok.ID())
	assert.Equal(t, "ada", tok.Owner())
	assert.Equal(t, "production", tok.Environment())
	assert.Equal(t, "nightly", tok.Name())
	assert.Equal(t, []apitoken.Permission{wireRead}, tok.Permissions())
	assert.Equal(t, []string{"devices:read"}, tok.Assigned())
	assert.True(t, tok.Has(wireRead))
	assert.False(t, tok.Has(wireWrite))
	assert.True(t, tok.ExpiresAt().IsZero())
	assert.False(t, tok.IsZero())

	ev := g.event(t)
	assert.Empty(t, ev.Reason)
	assert.Equal(t, goodToken.id, ev.TokenID)
	assert.Equal(t, goodToken.id, ev.Token.ID())
	assert.Equal(t, apitoken.InHeader, ev.Transport)
	assert.Equal(t, netip.MustParseAddr("192.0.2.9"), ev.Address)
	assert.WithinDuration(t, time.Now(), ev.Time, time.Minute)
	assert.Nil(t, ev.Missing)
}

func TestTheCaseOfTheSchemeDoesNotMatter(t *testing.T) {
	g := newRig(t)
	for _, scheme := range []string{"apiToken", "ApiToken", "APITOKEN", "apitoken", "aPItOKEN"} {
		a, s := g.ask(t, newRequest("/", scheme+" "+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	}
}

func TestTheHandlerGetsTheUntouchedResponseWriterAndWhatTheMuxSet(t *testing.T) {
	g := newRig(t)
	for _, target := range []string{"/devices/7", "/devices/7?apiToken=" + goodToken.text} {
		var s spy
		mux := http.NewServeMux()
		mux.Handle("GET /devices/{id}", g.Require(wireRead)(&s))
		w := httptest.NewRecorder()
		r := newRequest(target)
		if !strings.Contains(target, "?") {
			r.Header.Set("Authorization", "apiToken "+goodToken.text)
		}
		mux.ServeHTTP(w, r)
		require.Equal(t, 1, s.called())
		assert.Same(t, w, s.writer)
		assert.Equal(t, "GET /devices/{id}", s.request.Pattern)
		assert.Equal(t, "7", s.request.PathValue("id"))
		assert.Equal(t, "GET /devices/{id}", g.event(t).Pattern)
	}
}

func TestTheContextOfTheRequestStaysBelowTheToken(t *testing.T) {
	g := newRig(t)
	type key struct{}
	r := newRequest("/?apiToken=" + goodToken.text)
	a, s := g.ask(t, r.WithContext(context.WithValue(r.Context(), key{}, "value")))
	mustAccept(t, a, s, goodToken.id)
	assert.Equal(t, "value", s.request.Context().Value(key{}))
	_, ok := apitoken.FromContext(r.Context())
	assert.False(t, ok, "the original request has no token")
}

func TestTheTypedHandlerGetsTheTokenAsAnArgument(t *testing.T) {
	g := newRig(t)
	var got apitoken.Token
	calls := 0
	h := g.Handler(func(w http.ResponseWriter, r *http.Request, tok apitoken.Token) {
		calls++
		got = tok
		_, inContext := apitoken.FromContext(r.Context())
		assert.False(t, inContext)
		assert.Empty(t, r.URL.RawQuery)
		w.WriteHeader(http.StatusNoContent)
	}, wireRead, wireWrite)
	ask := func(r *http.Request) answer {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return answerOf(t, w.Result())
	}
	a := ask(newRequest("/", "apiToken "+bothToken.text))
	assert.Equal(t, 204, a.status)
	assert.Equal(t, 1, calls)
	assert.Equal(t, bothToken.id, got.ID())
	a = ask(newRequest("/?apiToken=" + bothToken.text))
	assert.Equal(t, 204, a.status)
	assert.Equal(t, "no-referrer", a.header.Get("Referrer-Policy"))
	require.Equal(t, 2, calls)

	none := new(spy)
	want := insufficientScope
	want.Required, want.Missing = []string{"devices:read", "devices:write"}, []string{"devices:write"}
	mustRefuse(t, ask(newRequest("/", "apiToken "+goodToken.text)), none, want, "")
	mustRefuse(t, ask(newRequest("/")), none, asksForToken, "")
	mustRefuse(t, ask(newRequest("/", "apiToken "+expiredToken.text)), none, invalidToken, "")
	assert.Equal(t, 2, calls)
}

// Methods and protocols.

func TestEveryMethodIsGuardedAlike(t *testing.T) {
	g := newRig(t)
	s := new(spy)
	server := httptest.NewServer(g.Require(wireRead)(s))
	defer server.Close()
	for i, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "head", "PROPFIND", "QUERY"} {
		t.Run(method, func(t *testing.T) {
			res, _ := rawAsk(t, server, method+" / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
			require.Equal(t, 401, res.status)
			require.Equal(t, i, s.called())
			require.Equal(t, `apiToken realm="api"`, res.header.Get("WWW-Authenticate"))
			require.Equal(t, "no-store", res.header.Get("Cache-Control"))
			require.Equal(t, method != "HEAD", res.body != "", "body %q", res.body)
			res, _ = rawAsk(t, server, method+" / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
			require.Equal(t, 204, res.status)
			require.Equal(t, i+1, s.called())
		})
	}
}

func TestARefusalOfHEADHasNoBodyAndTheSameHeaders(t *testing.T) {
	g := newRig(t)
	r := newRequest("/")
	get, _ := g.ask(t, r)
	r.Method = "HEAD"
	head, s := g.ask(t, r)
	assert.Zero(t, s.called())
	assert.Equal(t, 401, head.status)
	assert.Empty(t, head.body)
	assert.Equal(t, get.header, head.header)
}

func TestACORSPreflightIsNoException(t *testing.T) {
	g := newRig(t)
	r := newRequest("/")
	r.Method = "OPTIONS"
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "GET")
	r.Header.Set("Access-Control-Request-Headers", "authorization")
	a, s := g.ask(t, r)
	mustRefuse(t, a, s, asksForToken, "")
}

// rawAsk sends bytes over a socket and returns the answer, parsed and raw.
func rawAsk(t testing.TB, server *httptest.Server, request string) (answer, string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	var seen bytes.Buffer
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &seen)), &http.Request{Method: method})
	require.NoError(t, err)
	return answerOf(t, res), seen.String()
}

func TestOverASocket(t *testing.T) {
	g := newRig(t)
	var s spy
	mux := http.NewServeMux()
	mux.Handle("/", g.Require(wireRead)(&s))
	server := httptest.NewServer(mux)
	defer server.Close()
	text := goodToken.text
	authorization := "Authorization: apiToken " + text + "\r\n"
	for _, c := range []struct {
		name    string
		target  string
		fields  string
		status  int
		errCode string
	}{
		{"the header", "/read", authorization, 204, ""},
		{"the parameter", "/read?apiToken=" + text, "", 204, ""},
		{"the parameter, spelled otherwise", "/read?api%54oken=" + text, "", 204, ""},
		{"the token escaped", "/read?apiToken=" + strings.ReplaceAll(text, "_", "%5F"), "", 204, ""},
		{"the parameter among others", "/read?a=1&apiToken=" + text + "&&b", "", 204, ""},
		{"the absolute form", "http://h/read?apiToken=" + text, "", 204, ""},
		{"the field's name in lower case", "/read", "authorization: apiToken " + text + "\r\n", 204, ""},
		{"the field's name in upper case", "/read", "AUTHORIZATION: APITOKEN " + text + "\r\n", 204, ""},
		{"spaces around the value, which are not part of it", "/read", "Authorization:  apiToken " + text + "  \r\n", 204, ""},
		{"tabs around the value, which are not part of it", "/read", "Authorization:\tapiToken " + text + "\t\r\n", 204, ""},
		{"a fold, which is a space", "/read", "Authorization: apiToken\r\n " + text + "\r\n", 204, ""},
		{"Basic beside the parameter", "/read?apiToken=" + text, "Authorization: Basic YWRhOg==\r\n", 204, ""},
		{"forwarded fields", "/read", authorization + "X-Forwarded-For: 203.0.113.1\r\nAuthorization_: x\r\n", 204, ""},

		{"nothing", "/read", "", 401, ""},
		{"Bearer", "/read", "Authorization: Bearer " + text + "\r\n", 401, ""},
		{"a Kelvin sign", "/read", "Authorization: apiTo\u212Aen " + text + "\r\n", 401, ""},
		{"another field", "/read", "Authorization_: apiToken " + text + "\r\nX-Authorization: apiToken " + text + "\r\n", 401, ""},
		{"a cookie", "/read", "Cookie: apiToken=" + text + "\r\n", 401, ""},
		{"a semicolon before the parameter", "/read?a=1;apiToken=" + text, "", 401, ""},
		{"a parameter in another case", "/read?ApiToken=" + text, "", 401, ""},
		{"a broken query that does not name the parameter", "/read?%zz", "", 401, ""},
		{"after a number sign", "/read#?x=1", "", 401, ""},

		{"a deactivated token", "/read", "Authorization: apiToken " + deactivatedToken.text + "\r\n", 401, "invalid_token"},
		{"an unknown token", "/read?apiToken=" + unknownToken.text, "", 401, "invalid_token"},
		{"a network", "/read", "Authorization: apiToken " + networkToken.text + "\r\nX-Forwarded-For: 192.0.2.1\r\n", 401, "invalid_token"},

		{"the field twice", "/read", authorization + authorization, 400, "invalid_request"},
		{"the field twice in two spellings", "/read", authorization + "authorization: Basic YWRhOg==\r\n", 400, "invalid_request"},
		{"the field twice, ours last", "/read", "Authorization: Basic YWRhOg==\r\nHost2: x\r\n" + authorization, 400, "invalid_request"},
		{"an empty field before ours", "/read", "Authorization:\r\n" + authorization, 400, "invalid_request"},
		{"a comma list", "/read", "Authorization: apiToken " + text + ", apiToken " + text + "\r\n", 400, "invalid_request"},
		{"a tab", "/read", "Authorization: apiToken\t" + text + "\r\n", 400, "invalid_request"},
		{"a no-break space", "/read", "Authorization: apiToken\u00a0" + text + "\r\n", 400, "invalid_request"},
		{"a trailing no-break space", "/read", "Authorization: apiToken " + text + "\u00a0\r\n", 400, "invalid_request"},
		{"a fold within the token", "/read", "Authorization: apiToken " + text[:9] + "\r\n " + text[9:] + "\r\n", 400, "invalid_request"},
		{"the scheme alone", "/read", "Authorization: apiToken\r\n", 400, "invalid_request"},
		{"the scheme and spaces", "/read", "Authorization: apiToken   \r\n", 400, "invalid_request"},
		{"a quoted token", "/read", "Authorization: apiToken \"" + text + "\"\r\n", 400, "invalid_request"},
		{"the parameter twice", "/read?apiToken=" + text + "&apiToken=" + text, "", 400, "invalid_request"},
		{"the parameter twice in two spellings", "/read?apiToken=" + text + "&api%54oken=" + text, "", 400, "invalid_request"},
		{"header and parameter", "/read?apiToken=" + text, authorization, 400, "invalid_request"},
		{"an empty parameter", "/read?apiToken", "", 400, "invalid_request"},
		{"a semicolon", "/read?apiToken=" + text + ";a=1", "", 400, "invalid_request"},
		{"a broken escape", "/read?apiToken=" + text + "&%zz", "", 400, "invalid_request"},
		{"a number sign in the parameter", "/read?apiToken=" + text + "#", "", 400, "invalid_request"},
		{"a header of 900 KB", "/read", "Authorization: apiToken " + strings.Repeat("a", 900<<10) + "\r\n", 400, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.called()
			a, _ := rawAsk(t, server, "GET "+c.target+" HTTP/1.1\r\nHost: h\r\n"+c.fields+"\r\n")
			require.Equal(t, c.status, a.status, a.body)
			called := 0
			if c.status == 204 {
				called = 1
			}
			require.Equal(t, called, s.called()-before, "calls of the handler")
			challenge := ""
			switch {
			case c.errCode != "":
				challenge = `apiToken realm="api", error="` + c.errCode + `"`
			case c.status == 401:
				challenge = `apiToken realm="api"`
			}
			require.Equal(t, challenge, a.header.Get("WWW-Authenticate"))
			if c.status == 204 && strings.Contains(c.target, "?") {
				assert.NotContains(t, s.request.RequestURI, text)
				assert.NotContains(t, s.request.URL.String(), text)
			}
		})
	}
}

func TestATrailerOverASocketIsNoCredential(t *testing.T) {
	g := newRig(t)
	var s spy
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // now r.Trailer is there
		if assert.NotEmpty(t, r.Trailer.Get("Authorization")) {
			g.Require(wireRead)(&s).ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	a, _ := rawAsk(t, server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n"+
		"1\r\nx\r\n0\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	mustRefuse(t, a, &s, asksForToken, "")
}

func TestAnUpgradeIsGuardedAndWorks(t *testing.T) {
	g := newRig(t)
	s := &spy{do: func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, "echo "+line)
	}}
	server := httptest.NewServer(g.Require(wireRead)(s))
	defer server.Close()
	upgrade := "GET /?%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	for _, query := range []string{"", "apiToken=" + expiredToken.text} {
		a, _ := rawAsk(t, server, fmt.Sprintf(upgrade, query))
		require.Equal(t, 401, a.status)
		require.Zero(t, s.called())
	}

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, upgrade, "apiToken="+goodToken.text)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	fmt.Fprintf(conn, "hello\n")
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "echo hello\n", line)
	assert.Equal(t, 1, s.called())
}

func TestOverHTTP2(t *testing.T) {
	g := newRig(t)
	var s spy
	server := httptest.NewUnstartedServer(g.Require(wireRead)(&s))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, c := range []struct {
		name, query string
		fields      []string
		status      int
	}{
		{"nothing", "", nil, 401},
		{"the header", "", []string{"apiToken " + goodToken.text}, 204},
		{"the parameter", "?apiToken=" + goodToken.text, nil, 204},
		{"a deactivated token", "", []string{"apiToken " + deactivatedToken.text}, 401},
		{"two fields", "", []string{"apiToken " + goodToken.text, "Basic YWRhOg=="}, 400},
		{"header and parameter", "?apiToken=" + goodToken.text, []string{"apiToken " + goodToken.text}, 400},
		{"the permission missing", "", []string{"apiToken " + lackingToken.text}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.called()
			r, err := http.NewRequest("GET", server.URL+"/"+c.query, nil)
			require.NoError(t, err)
			r.Header["Authorization"] = c.fields
			res, err := server.Client().Do(r)
			require.NoError(t, err)
			a := answerOf(t, res)
			require.Equal(t, 2, res.ProtoMajor)
			require.Equal(t, c.status, a.status, a.body)
			require.Equal(t, c.status == 204, s.called() == before+1)
			require.Equal(t, c.status != 204, a.header.Get("WWW-Authenticate") != "")
		})
	}
}

func TestPermissionsAreBoundToHandlersNotToPaths(t *testing.T) {
	g := newRig(t)
	var files, admin spy
	mux := http.NewServeMux()
	mux.Handle("/files/", g.Require(wireRead)(&files))
	mux.Handle("/files/admin/", g.Require(wireWrite)(&admin))
	server := httptest.NewServer(mux)
	defer server.Close()
	a, _ := rawAsk(t, server, "GET /files/admin%2Fx HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	require.Equal(t, 204, a.status)
	assert.Equal(t, 1, files.called())
	assert.Equal(t, "/files/admin/x", files.request.URL.Path)
	a, _ = rawAsk(t, server, "GET /files/admin/x HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	require.Equal(t, 403, a.status)
	assert.Zero(t, admin.called())
}

// What guards promise about each other and about themselves.

func TestGuardsCanBeNested(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		name, target string
		fields       []string
	}{
		{"with a header", "/", []string{"apiToken " + bothToken.text}},
		{"with a parameter", "/?a=1&apiToken=" + bothToken.text, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			nested := func(inner apitoken.Permission) func(http.Handler) http.Handler {
				return func(h http.Handler) http.Handler {
					return g.RequireToken()(g.Require(wireRead)(g.Require(inner)(h)))
				}
			}
			a, s := askGuard(t, nested(wireWrite), newRequest(c.target, c.fields...))
			mustAccept(t, a, s, bothToken.id)
			assert.NotContains(t, s.request.URL.RawQuery, "apiToken")
			a, s = askGuard(t, nested(wireReports), newRequest(c.target, c.fields...))
			want := insufficientScope
			want.Required, want.Missing = []string{"reports:read"}, []string{"reports:read"}
			delete(a.header, "Referrer-Policy") // from the outer guard, which had accepted
			mustRefuse(t, a, s, want, "")
		})
	}
}

func TestAParameterThatIsAddedBetweenTwoGuardsIsTheSecondOne(t *testing.T) {
	g := newRig(t)
	add := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery += "&apiToken=" + bothToken.text
			g.HideQueryToken(g.Require(wireRead)(h)).ServeHTTP(w, r)
		})
	}
	a, s := askGuard(t, func(h http.Handler) http.Handler { return g.RequireToken()(add(h)) }, newRequest("/?apiToken="+goodToken.text))
	delete(a.header, "Referrer-Policy")
	mustRefuse(t, a, s, invalidRequest, "more than once")

	without := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery = "apiToken=" + bothToken.text
			g.Require(wireRead)(h).ServeHTTP(w, r)
		})
	}
	a, s = askGuard(t, func(h http.Handler) http.Handler { return g.HideQueryToken(without(h)) }, newRequest("/?apiToken="+goodToken.text))
	mustRefuse(t, a, s, invalidRequest, "more than once")
}

func TestAHiddenTokenIsForItsOwnAuthorityOnly(t *testing.T) {
	g, other := newRig(t), newRig(t)
	a, s := askGuard(t, func(h http.Handler) http.Handler { return g.HideQueryToken(other.Require(wireRead)(h)) }, newRequest("/?apiToken="+goodToken.text))
	mustRefuse(t, a, s, asksForToken, "")
	a, s = askGuard(t, func(h http.Handler) http.Handler { return g.HideQueryToken(g.Require(wireRead)(h)) }, newRequest("/?apiToken="+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
}

func TestTheZeroAndTheNilAuthorityRefuseEverything(t *testing.T) {
	for name, auth := range map[string]*apitoken.Authority{"zero": new(apitoken.Authority), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []*http.Request{
				newRequest("/"), newRequest("/", "apiToken "+goodToken.text), newRequest("/?apiToken=" + goodToken.text), newRequest("/", " x"),
			} {
				calls := 0
				typed := auth.Handler(func(http.ResponseWriter, *http.Request, apitoken.Token) { calls++ }, wireRead)
				for _, guard := range []func(http.Handler) http.Handler{
					auth.Require(wireRead), auth.RequireAny(wireRead), auth.RequireToken(), auth.RequireList([]apitoken.Permission{wireRead}),
					auth.Guard(apitoken.AnyToken()), auth.Guard(apitoken.Need{}),
					func(http.Handler) http.Handler { return typed },
				} {
					a, s := askGuard(t, guard, r)
					mustRefuse(t, a, s, unavailable, "")
				}
				assert.Zero(t, calls)
				tok, err := auth.Check(r, apitoken.AnyToken())
				assert.ErrorIs(t, err, apitoken.ErrUnavailable)
				assert.True(t, tok.IsZero())
			}
			tok, err := auth.Verify(t.Context(), apitoken.Presented{Secret: apitoken.NewSecret(goodToken.text)}, apitoken.AnyToken())
			assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			assert.True(t, tok.IsZero())
			good, err := newRig(t).Check(newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken())
			require.NoError(t, err)
			tok, err = auth.Recheck(t.Context(), good, apitoken.AnyToken())
			assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			assert.True(t, tok.IsZero())
			assert.NoError(t, auth.Close())
		})
	}
}

func TestHidingWithTheZeroAndTheNilAuthorityLeavesTheRequestAsItIs(t *testing.T) {
	for name, auth := range map[string]*apitoken.Authority{"zero": new(apitoken.Authority), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			for _, query := range []string{"", "?apiToken=" + goodToken.text, "?a=1&&=x&b=2"} {
				r := newRequest("/" + query)
				require.NotPanics(t, func() {
					assert.Same(t, r, auth.Scrub(r))
					a, s := askGuard(t, func(h http.Handler) http.Handler { return auth.HideQueryToken(auth.RequireToken()(h)) }, r)
					mustRefuse(t, a, s, unavailable, "")
				})
			}
		})
	}
}

func TestTheZeroNeedIsMetByNoToken(t *testing.T) {
	g := newRig(t)
	for _, need := range []apitoken.Need{{}, apitoken.Need{}.HeaderOnly()} {
		tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), need)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.True(t, tok.IsZero())
		assert.ErrorContains(t, g.event(t).Err, "zero Need")
		tok, err = g.Verify(t.Context(), apitoken.Presented{Secret: apitoken.NewSecret(bothToken.text), Environment: "production"}, need)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.True(t, tok.IsZero())
		g.events = nil
		mustPanic(t, func() { g.Guard(need) }, "zero Need", "middleware_test.go:")
	}
}

// mustPanic runs f and wants it to panic with a text that contains these.
func mustPanic(t testing.TB, f func(), parts ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		p := recover()
		require.NotNil(t, p, "no panic")
		for _, part := range parts {
			require.Contains(t, fmt.Sprint(p), part)
		}
	}()
	f()
}

func TestMistakesInRoutesPanicAtStartWithFileAndLine(t *testing.T) {
	g := newRig(t)
	var other apitoken.Catalogue
	alien := other.Define("devices:read", "The same name in another catalogue")
	var zero apitoken.Permission
	h := func(http.ResponseWriter, *http.Request, apitoken.Token) {}
	for _, c := range []struct {
		name  string
		f     func()
		parts []string
	}{
		{"Require of the zero Permission", func() { g.Require(zero) }, []string{"zero Permission"}},
		{"Require of the zero Permission among others", func() { g.Require(wireRead, zero) }, []string{"zero Permission"}},
		{"RequireAny of the zero Permission", func() { g.RequireAny(zero) }, []string{"zero Permission"}},
		{"RequireAny of the zero Permission among others", func() { g.RequireAny(wireRead, zero) }, []string{"zero Permission"}},
		{"RequireList of nothing", func() { g.RequireList(nil) }, []string{"empty list", "RequireToken"}},
		{"RequireList of an empty list", func() { g.RequireList([]apitoken.Permission{}) }, []string{"empty list"}},
		{"RequireList of the zero Permission", func() { g.RequireList([]apitoken.Permission{wireRead, zero}) }, []string{"zero Permission"}},
		{"Handler of the zero Permission", func() { g.Handler(h, zero) }, []string{"zero Permission"}},
		{"All of the zero Permission", func() { apitoken.All(wireRead, zero) }, []string{"zero Permission"}},
		{"Any of the zero Permission", func() { apitoken.Any(zero) }, []string{"zero Permission"}},
		{"Require of another catalogue", func() { g.Require(alien) }, []string{`"devices:read"`, "not of the catalogue", "defined at"}},
		{"Require of another catalogue among others", func() { g.Require(wireRead, alien) }, []string{"not of the catalogue"}},
		{"RequireAny of another catalogue among others", func() { g.RequireAny(wireRead, alien) }, []string{"not of the catalogue"}},
		{"RequireList of another catalogue", func() { g.RequireList([]apitoken.Permission{alien}) }, []string{"not of the catalogue"}},
		{"Handler of another catalogue", func() { g.Handler(h, alien) }, []string{"not of the catalogue"}},
		{"Guard of another catalogue", func() { g.Guard(apitoken.Any(alien)) }, []string{"not of the catalogue"}},
		{"Guard of the zero Need", func() { g.Guard(apitoken.Need{}) }, []string{"zero Need"}},
		{"a nil handler", func() { g.Require(wireRead)(nil) }, []string{"nil handler"}},
		{"a nil typed handler", func() { g.Handler(nil, wireRead) }, []string{"nil handler"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustPanic(t, c.f, append(c.parts, "middleware_test.go:")...)
		})
	}
}

func TestANeedOfAnotherCatalogueIsRefusedAlsoWhereItIsNotCheckedAtStart(t *testing.T) {
	g := newRig(t)
	var other apitoken.Catalogue
	alien := other.Define("devices:read", "The same name and index in another catalogue")
	for _, need := range []apitoken.Need{apitoken.All(alien), apitoken.Any(alien), apitoken.Any(wireRead, alien)} {
		tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), need)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.True(t, tok.IsZero())
		assert.ErrorContains(t, g.event(t).Err, "not of the catalogue")
	}
	tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), apitoken.AnyToken())
	require.NoError(t, err)
	assert.False(t, tok.Has(alien))
}

// Check, Refuse, Verify, Recheck.

func TestCheckDecidesAndWritesAndScrubsNothing(t *testing.T) {
	g := newRig(t)
	r := newRequest("/?apiToken=" + goodToken.text + "&a=1")
	tok, err := g.Check(r, apitoken.All(wireRead))
	require.NoError(t, err)
	assert.Equal(t, goodToken.id, tok.ID())
	assert.Equal(t, "apiToken="+goodToken.text+"&a=1", r.URL.RawQuery)
	g.event(t)

	for _, c := range []struct {
		name   string
		r      *http.Request
		need   apitoken.Need
		reason apitoken.Reason
		want   apitoken.Problem
	}{
		{"nothing", newRequest("/"), apitoken.AnyToken(), apitoken.ErrNoToken, asksForToken},
		{"malformed", newRequest("/", "apiToken"), apitoken.AnyToken(), apitoken.ErrMalformed, invalidRequest},
		{"expired", newRequest("/", "apiToken "+expiredToken.text), apitoken.AnyToken(), apitoken.ErrExpired, invalidToken},
		{"not enough", newRequest("/", "apiToken "+lackingToken.text), apitoken.Any(wireRead), apitoken.ErrPermission, insufficientScope},
		{"the zero Need", newRequest("/", "apiToken "+goodToken.text), apitoken.Need{}, apitoken.ErrUnavailable, unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, err := g.Check(c.r, c.need)
			assert.True(t, tok.IsZero())
			require.ErrorIs(t, err, c.reason)
			var refusal *apitoken.Refusal
			require.ErrorAs(t, err, &refusal)
			want := c.want
			if c.reason == apitoken.ErrPermission {
				want.Required, want.Missing, want.Match = []string{"devices:read"}, []string{"devices:read"}, "any"
			}
			assert.Equal(t, want.Status, refusal.Status())
			assert.Equal(t, strings.Join(challengeOf(want), ""), refusal.Challenge())
			assert.Equal(t, "apitoken: "+want.Title, err.Error(), "says no more than the client is told")
			if want.Detail == "" {
				want.Detail = refusal.Problem().Detail
			}
			assert.Equal(t, want, refusal.Problem())

			w := httptest.NewRecorder()
			g.Refuse(w, c.r, fmt.Errorf("wrapped: %w", err))
			mustRefuse(t, answerOf(t, w.Result()), new(spy), want, "")
		})
	}
}

func TestRefuseAnswersWhatIsNoRefusalWith503(t *testing.T) {
	g := newRig(t)
	for name, err := range map[string]error{
		"nil": nil, "a foreign error": errors.New("dial tcp 10.0.0.7:5432: refused"), "a Reason": apitoken.ErrNoToken,
		"a joined foreign error": errors.Join(io.EOF, io.ErrUnexpectedEOF),
		"a nil Refusal":          (*apitoken.Refusal)(nil),
		"the zero Refusal":       new(apitoken.Refusal),
		"a wrapped nil Refusal":  fmt.Errorf("wrapped: %w", (*apitoken.Refusal)(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			require.NotPanics(t, func() { g.Refuse(w, newRequest("/"), err) })
			mustRefuse(t, answerOf(t, w.Result()), new(spy), unavailable, "")
			assert.NotContains(t, w.Body.String(), "10.0.0.7")
		})
	}
}

func TestOptionalAuthenticationPassesOnNothingButAMissingToken(t *testing.T) {
	g := newRig(t)
	h := func(w http.ResponseWriter, r *http.Request) {
		tok, err := g.Check(r, apitoken.All(wireRead))
		if err != nil && !errors.Is(err, apitoken.ErrNoToken) {
			g.Refuse(w, r, err)
			return
		}
		fmt.Fprintf(w, "for %q", tok.ID())
	}
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		body   string
	}{
		{"no token", newRequest("/"), 200, `for ""`},
		{"a good token", newRequest("/", "apiToken "+goodToken.text), 200, `for "` + goodToken.id + `"`},
		{"a deactivated token", newRequest("/", "apiToken "+deactivatedToken.text), 401, ""},
		{"an unknown token", newRequest("/?apiToken=" + unknownToken.text), 401, ""},
		{"a malformed token", newRequest("/", "apiToken"), 400, ""},
		{"a token that lacks the permission", newRequest("/", "apiToken "+lackingToken.text), 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h(w, c.r)
			assert.Equal(t, c.status, w.Code)
			if c.body != "" {
				assert.Equal(t, c.body, w.Body.String())
			}
		})
	}
}

func TestVerifyDecidesAsForARequest(t *testing.T) {
	g := newRig(t)
	presented := func(text string) apitoken.Presented {
		return apitoken.Presented{Secret: apitoken.NewSecret(text), Environment: "production"}
	}
	from := func(p apitoken.Presented, addr string) apitoken.Presented {
		p.Address = netip.MustParseAddr(addr)
		return p
	}
	in := func(p apitoken.Presented, environment string) apitoken.Presented {
		p.Environment = environment
		return p
	}
	by := func(p apitoken.Presented, via apitoken.Transport) apitoken.Presented {
		p.Transport = via
		return p
	}
	for _, c := range []struct {
		name   string
		p      apitoken.Presented
		need   apitoken.Need
		reason apitoken.Reason
		via    apitoken.Transport
	}{
		{"good", presented(goodToken.text), apitoken.All(wireRead), "", apitoken.Direct},
		{"good, by header", by(presented(goodToken.text), apitoken.InHeader), apitoken.All(wireRead), "", apitoken.InHeader},
		{"good, by query", by(presented(goodToken.text), apitoken.InQuery), apitoken.All(wireRead), "", apitoken.InQuery},
		{"good, by another way", by(presented(goodToken.text), "pigeon"), apitoken.All(wireRead), "", apitoken.Direct},
		{"by query where only the header is accepted", by(presented(goodToken.text), apitoken.InQuery), apitoken.All(wireRead).HeaderOnly(), apitoken.ErrMalformed, apitoken.InQuery},
		{"directly where only the header is accepted", presented(goodToken.text), apitoken.All(wireRead).HeaderOnly(), "", apitoken.Direct},
		{"nothing", apitoken.Presented{Environment: "production"}, apitoken.AnyToken(), apitoken.ErrNoToken, ""},
		{"nothing, by query", by(presented(""), apitoken.InQuery), apitoken.AnyToken().HeaderOnly(), apitoken.ErrNoToken, ""},
		{"malformed", presented("a b"), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"a trailing space", presented(goodToken.text + " "), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"over-long", presented(strings.Repeat("a", 1<<20)), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"with the scheme", presented("apiToken " + goodToken.text), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"unknown", presented(unknownToken.text), apitoken.AnyToken(), apitoken.ErrUnknownToken, apitoken.Direct},
		{"deactivated", presented(deactivatedToken.text), apitoken.AnyToken(), apitoken.ErrDeactivated, apitoken.Direct},
		{"expired", presented(expiredToken.text), apitoken.AnyToken(), apitoken.ErrExpired, apitoken.Direct},
		{"not enough", presented(lackingToken.text), apitoken.All(wireRead), apitoken.ErrPermission, apitoken.Direct},
		{"another environment", in(presented(goodToken.text), "staging"), apitoken.AnyToken(), apitoken.ErrEnvironment, apitoken.Direct},
		{"the other environment's token", in(presented(foreignEnvToken.text), "staging"), apitoken.AnyToken(), "", apitoken.Direct},
		{"no environment", in(presented(goodToken.text), ""), apitoken.AnyToken(), apitoken.ErrUnavailable, apitoken.Direct},
		{"networks without address", presented(networkToken.text), apitoken.AnyToken(), apitoken.ErrNetwork, apitoken.Direct},
		{"networks, inside", from(presented(networkToken.text), "192.0.2.1"), apitoken.AnyToken(), "", apitoken.Direct},
		{"networks, inside as IPv6", from(presented(networkToken.text), "::ffff:192.0.2.1"), apitoken.AnyToken(), "", apitoken.Direct},
		{"networks, outside", from(presented(networkToken.text), "192.0.3.1"), apitoken.AnyToken(), apitoken.ErrNetwork, apitoken.Direct},
		{"networks, with a zone", from(presented(networkToken.text), "2001:db8::1%eth0"), apitoken.AnyToken(), apitoken.ErrNetwork, apitoken.Direct},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.events = nil
			tok, err := g.Verify(t.Context(), c.p, c.need)
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			assert.Equal(t, c.via, ev.Transport)
			assert.Empty(t, ev.Pattern)
			if c.reason == "" {
				require.NoError(t, err)
				assert.Equal(t, ev.TokenID, tok.ID())
				assert.NotEmpty(t, tok.ID())
				return
			}
			assert.ErrorIs(t, err, c.reason)
			var refusal *apitoken.Refusal
			assert.ErrorAs(t, err, &refusal)
			assert.True(t, tok.IsZero())
		})
	}
}

func TestVerifyWithoutEnvironmentsTakesTheTokensOwn(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.Environment = nil })
	for _, tok := range []minted{goodToken, foreignEnvToken} {
		p := apitoken.Presented{Secret: apitoken.NewSecret(tok.text)}
		_, err := g.Verify(t.Context(), p, apitoken.All(wireRead))
		assert.NoError(t, err)
		p.Environment = "elsewhere"
		_, err = g.Verify(t.Context(), p, apitoken.All(wireRead))
		assert.ErrorIs(t, err, apitoken.ErrEnvironment)
	}
}

func TestRecheckJudgesByTheRecordAsItIsNow(t *testing.T) {
	accepted := func(t *testing.T, g *rig, m minted) apitoken.Token {
		r := newRequest("/", "apiToken "+m.text)
		r.RemoteAddr = networkPeer
		tok, err := g.Check(r, apitoken.All(wireRead))
		require.NoError(t, err)
		g.event(t)
		return tok
	}
	for _, c := range []struct {
		name   string
		token  minted
		change func(*apitoken.Record)
		reason apitoken.Reason
	}{
		{"nothing changed", goodToken, func(*apitoken.Record) {}, ""},
		{"nothing changed of one with networks", networkToken, func(*apitoken.Record) {}, ""},
		{"nothing changed of one with two secrets", rotatedToken, func(*apitoken.Record) {}, ""},
		{"deactivated", goodToken, func(r *apitoken.Record) { r.Status = apitoken.StatusInactive }, apitoken.ErrDeactivated},
		{"expired", goodToken, func(r *apitoken.Record) { r.ExpiresAt = longAgo.Add(time.Hour) }, apitoken.ErrExpired},
		{"not valid any more", goodToken, func(r *apitoken.Record) { r.NotBefore = farOff }, apitoken.ErrNotYetValid},
		{"moved to another environment", goodToken, func(r *apitoken.Record) { r.Environment = "staging" }, apitoken.ErrEnvironment},
		{"permission taken", goodToken, func(r *apitoken.Record) { r.Permissions = nil }, apitoken.ErrPermission},
		{"secret replaced", goodToken, func(r *apitoken.Record) { r.Secrets[0].Digest = sha256Of("x") }, apitoken.ErrWrongSecret},
		{"secret now that of an imported token", goodToken, func(r *apitoken.Record) { r.Secrets[0].Foreign = true }, apitoken.ErrWrongSecret},
		{"the second secret retired", rotatedToken, func(r *apitoken.Record) { r.Secrets[1].ValidUntil = longAgo }, apitoken.ErrRetired},
		{"the second secret gone", rotatedToken, func(r *apitoken.Record) { r.Secrets = r.Secrets[:1] }, apitoken.ErrWrongSecret},
		{"the secrets exchanged", rotatedToken, func(r *apitoken.Record) { slices.Reverse(r.Secrets) }, ""},
		{"bound to networks since, its address not remembered", goodToken, func(r *apitoken.Record) {
			r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}, apitoken.ErrNetwork},
		{"bound to another network", networkToken, func(r *apitoken.Record) {
			r.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}, apitoken.ErrNetwork},
		{"bound to a part of the network", networkToken, func(r *apitoken.Record) {
			r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.8/29")}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			tok := accepted(t, g, c.token)
			rec, err := g.store.Store.Get(t.Context(), c.token.id)
			require.NoError(t, err)
			c.change(&rec)
			rec.Version++
			require.NoError(t, g.store.Replace(t.Context(), rec))
			again, err := g.Recheck(t.Context(), tok, apitoken.All(wireRead))
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			assert.Equal(t, apitoken.Direct, ev.Transport)
			assert.Equal(t, c.token.id, ev.TokenID)
			if c.reason != "" {
				assert.ErrorIs(t, err, c.reason)
				assert.True(t, again.IsZero())
				assert.True(t, tok.Has(wireRead), "the old handle does not change")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.token.id, again.ID())
			third, err := g.Recheck(t.Context(), again, apitoken.All(wireRead))
			require.NoError(t, err, "what Recheck returned can be checked again")
			assert.Equal(t, c.token.id, third.ID())
		})
	}
}

func TestRecheckRefusesADeletedTokenAndTheZeroToken(t *testing.T) {
	g := newRig(t)
	tok, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken())
	require.NoError(t, err)
	require.NoError(t, g.store.Delete(t.Context(), goodToken.id))
	g.events = nil
	_, err = g.Recheck(t.Context(), tok, apitoken.AnyToken())
	assert.ErrorIs(t, err, apitoken.ErrUnknownToken)
	g.events = nil
	again, err := g.Recheck(t.Context(), apitoken.Token{}, apitoken.AnyToken())
	assert.ErrorIs(t, err, apitoken.ErrNoToken)
	assert.True(t, again.IsZero())
	assert.Equal(t, apitoken.ErrNoToken, g.event(t).Reason)
	_, err = g.Recheck(t.Context(), tok, apitoken.Need{})
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
}

func TestRecheckAfterDeactivationAndAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		info, secret := g.generate(t, func(g *apitoken.Generate) { g.Expiry = apitoken.In(time.Hour) })
		tok, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(wireRead))
		require.NoError(t, err)
		recheck := func() error {
			_, err := g.Recheck(t.Context(), tok, apitoken.All(wireRead))
			return err
		}
		require.NoError(t, recheck())
		_, err = g.As(ada).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		require.ErrorIs(t, recheck(), apitoken.ErrDeactivated)
		_, err = g.As(ada).Activate(t.Context(), info.ID)
		require.NoError(t, err)
		require.NoError(t, recheck())
		time.Sleep(time.Hour - time.Microsecond)
		require.NoError(t, recheck())
		time.Sleep(time.Microsecond)
		require.ErrorIs(t, recheck(), apitoken.ErrExpired)
	})
}

func TestExpiryNotBeforeAndOverlapAreExactAndJudgedAfterTheStoreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g := newRig(t)
		rec := mint("timed").record(wireRead)
		rec.NotBefore, rec.ExpiresAt = start.Add(time.Second), start.Add(3*time.Second)
		rec.Secrets = append(rec.Secrets, apitoken.SecretRecord{
			Digest: sha256Of(mint("timed before").secret), CreatedAt: longAgo, ValidUntil: start.Add(2 * time.Second),
		})
		require.NoError(t, g.store.Create(t.Context(), rec))
		slow := time.Duration(0)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(slow)
			return g.store.Store.Get(ctx, id)
		}
		reason := func(text string) apitoken.Reason {
			_, err := g.Check(newRequest("/", "apiToken "+text), apitoken.All(wireRead))
			ev := g.event(t)
			require.Equal(t, ev.Reason == "", err == nil)
			require.Equal(t, time.Now(), ev.Time)
			return ev.Reason
		}
		text, old := mint("timed").text, mint("timed").with(mint("timed before").secret)
		at := func(d time.Duration) { time.Sleep(time.Until(start.Add(d))) }

		at(time.Second - 1)
		assert.Equal(t, apitoken.ErrNotYetValid, reason(text))
		at(time.Second)
		assert.Empty(t, reason(text))
		at(2*time.Second - 1)
		assert.Empty(t, reason(old))
		at(2 * time.Second)
		assert.Equal(t, apitoken.ErrRetired, reason(old))
		at(3*time.Second - 1)
		assert.Empty(t, reason(text))
		slow = 1
		assert.Equal(t, apitoken.ErrExpired, reason(text), "it expired while the store worked")
	})
}

// Functions of the application.

func TestTheEnvironmentOfTheRequestDecides(t *testing.T) {
	for _, c := range []struct {
		name        string
		environment func(*http.Request) (string, error)
		reason      apitoken.Reason
		cause       string
	}{
		{"the token's", func(*http.Request) (string, error) { return "production", nil }, "", ""},
		{"another", func(*http.Request) (string, error) { return "staging", nil }, apitoken.ErrEnvironment, ""},
		{"another case", func(*http.Request) (string, error) { return "Production", nil }, apitoken.ErrEnvironment, ""},
		{"none", func(*http.Request) (string, error) { return "", nil }, apitoken.ErrUnavailable, "no environment"},
		{"an error", func(*http.Request) (string, error) { return "", errors.New("no such host") }, apitoken.ErrUnavailable, "no such host"},
		{"an error and the token's", func(*http.Request) (string, error) { return "production", errors.New("no such host") }, apitoken.ErrUnavailable, "no such host"},
		{"a panic", func(*http.Request) (string, error) { panic("lost its mind") }, apitoken.ErrUnavailable, "lost its mind"},
		{"the function that is not there", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, func(config *apitoken.Config) { config.Environment = c.environment })
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			switch c.reason {
			case "":
				mustAccept(t, a, s, goodToken.id)
			case apitoken.ErrEnvironment:
				mustRefuse(t, a, s, invalidToken, "")
			default:
				mustRefuse(t, a, s, unavailable, "")
				assert.ErrorContains(t, ev.Err, c.cause)
			}
		})
	}
}

func TestTheEnvironmentIsAskedAboutTheRequestItself(t *testing.T) {
	var seen []*http.Request
	g := newRig(t, func(c *apitoken.Config) {
		c.Environment = func(r *http.Request) (string, error) {
			seen = append(seen, r)
			env, _, _ := strings.Cut(r.Host, ".")
			return env, nil
		}
	})
	for _, c := range []struct {
		host   string
		token  minted
		accept bool
	}{
		{"production.example", goodToken, true}, {"staging.example", goodToken, false},
		{"staging.example", foreignEnvToken, true}, {"production.example", foreignEnvToken, false},
	} {
		seen = nil
		r := newRequest("/", "apiToken "+c.token.text)
		r.Host = c.host
		a, s := g.ask(t, r)
		if c.accept {
			mustAccept(t, a, s, c.token.id)
		} else {
			mustRefuse(t, a, s, invalidToken, "")
		}
		assert.Equal(t, []*http.Request{r}, seen)
	}
	seen = nil
	g.ask(t, newRequest("/", "apiToken "+unknownToken.text))
	assert.Empty(t, seen, "not asked for a token that is not there")
}

func TestTheClientAddressComesFromTheApplicationIfItSaysSo(t *testing.T) {
	address := func(text string) func(*http.Request) (netip.Addr, error) {
		return func(*http.Request) (netip.Addr, error) { return netip.MustParseAddr(text), nil }
	}
	for _, c := range []struct {
		name   string
		addr   func(*http.Request) (netip.Addr, error)
		reason apitoken.Reason
		cause  string
		told   netip.Addr
	}{
		{"inside", address("192.0.2.77"), "", "", netip.MustParseAddr("192.0.2.77")},
		{"inside as IPv6", address("::ffff:192.0.2.77"), "", "", netip.MustParseAddr("192.0.2.77")},
		{"outside, though the peer is inside", address("203.0.113.1"), apitoken.ErrNetwork, "", netip.MustParseAddr("203.0.113.1")},
		{"inside, with a zone", address("2001:db8::1%eth0"), apitoken.ErrNetwork, "", netip.Addr{}},
		{"not known", func(*http.Request) (netip.Addr, error) { return netip.Addr{}, nil }, apitoken.ErrNetwork, "", netip.Addr{}},
		{"an error", func(*http.Request) (netip.Addr, error) { return netip.Addr{}, errors.New("bad forwarding") }, apitoken.ErrUnavailable, "bad forwarding", netip.Addr{}},
		{"an error and an address inside", func(*http.Request) (netip.Addr, error) {
			return netip.MustParseAddr("192.0.2.77"), errors.New("bad forwarding")
		}, apitoken.ErrUnavailable, "bad forwarding", netip.Addr{}},
		{"a panic", func(*http.Request) (netip.Addr, error) { panic("lost its mind") }, apitoken.ErrUnavailable, "lost its mind", netip.Addr{}},
		{"the function that is not there", nil, "", "", netip.MustParseAddr("192.0.2.9")},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, func(config *apitoken.Config) { config.ClientAddr = c.addr })
			r := newRequest("/", "apiToken "+networkToken.text)
			r.RemoteAddr = networkPeer
			a, s := g.ask(t, r)
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			assert.Equal(t, c.told, ev.Address)
			switch c.reason {
			case "":
				mustAccept(t, a, s, networkToken.id)
			case apitoken.ErrNetwork:
				mustRefuse(t, a, s, invalidToken, "")
			default:
				mustRefuse(t, a, s, unavailable, "")
				assert.ErrorContains(t, ev.Err, c.cause)
			}
		})
	}
}

func TestAFailingClientAddressRefusesTokensOfNoNetworkAsWell(t *testing.T) {
	for name, addr := range map[string]func(*http.Request) (netip.Addr, error){
		"an error": func(*http.Request) (netip.Addr, error) { return netip.Addr{}, errors.New("bad forwarding") },
		"a panic":  func(*http.Request) (netip.Addr, error) { panic("bad forwarding") },
	} {
		for _, observed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", observed: ", observed), func(t *testing.T) {
				calls := 0
				g := newRig(t, func(c *apitoken.Config) {
					c.ClientAddr = func(r *http.Request) (netip.Addr, error) { calls++; return addr(r) }
					if !observed {
						c.Observe = nil
					}
				})
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustRefuse(t, a, s, unavailable, "")
				assert.Equal(t, 1, calls, "asked once")
				a, s = g.ask(t, newRequest("/", "apiToken "+expiredToken.text))
				mustRefuse(t, a, s, invalidToken, "")
				_, err := g.Verify(t.Context(), apitoken.Presented{Secret: apitoken.NewSecret(goodToken.text), Environment: "production"}, apitoken.AnyToken())
				assert.NoError(t, err, "it is for requests")
			})
		}
	}
}

func TestARequestMayUseNoMoreThanTheOwnerOfItsTokenMayNow(t *testing.T) {
	var zero apitoken.Permission
	var other apitoken.Catalogue
	alien := other.Define("devices:read", "The same name in another catalogue")
	for _, c := range []struct {
		name      string
		owner     []apitoken.Permission
		err       error
		panics    bool
		token     minted
		need      apitoken.Need
		reason    apitoken.Reason
		effective []apitoken.Permission
		want      apitoken.Problem
		missing   []string
	}{
		{name: "all of it", owner: wire.All(), token: bothToken, need: apitoken.All(wireRead, wireWrite), effective: []apitoken.Permission{wireRead, wireWrite}},
		{name: "some of it", owner: []apitoken.Permission{wireWrite, wireReports}, token: bothToken, need: apitoken.Any(wireRead, wireWrite), effective: []apitoken.Permission{wireWrite}},
		{name: "nothing of it, where nothing is asked", owner: []apitoken.Permission{wireReports}, token: bothToken, need: apitoken.AnyToken(), effective: []apitoken.Permission{}},
		{name: "not what is required", owner: []apitoken.Permission{wireWrite, wireReports}, token: bothToken, need: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrPermission, want: insufficientScope, missing: []string{"devices:read"}},
		{name: "not what the token lacks", owner: wire.All(), token: goodToken, need: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrPermission, want: insufficientScope, missing: []string{"devices:write"}},
		{name: "no permission at all", token: bothToken, need: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrPermission, want: insufficientScope, missing: []string{"devices:read", "devices:write"}},
		{name: "no permission at all, where nothing is asked", token: bothToken, need: apitoken.AnyToken(), reason: apitoken.ErrPermission, want: insufficientScope},
		{name: "no owner", err: apitoken.ErrNoOwner, owner: wire.All(), token: bothToken, need: apitoken.AnyToken(), reason: apitoken.ErrNoOwner, want: invalidToken},
		{name: "no owner, wrapped", err: fmt.Errorf("ldap: %w", apitoken.ErrNoOwner), token: bothToken, need: apitoken.AnyToken(), reason: apitoken.ErrNoOwner, want: invalidToken},
		{name: "an error", err: errors.New("ldap is down"), owner: wire.All(), token: bothToken, need: apitoken.AnyToken(), reason: apitoken.ErrUnavailable, want: unavailable},
		{name: "a panic", panics: true, token: bothToken, need: apitoken.AnyToken(), reason: apitoken.ErrUnavailable, want: unavailable},
		{name: "the zero Permission", owner: []apitoken.Permission{wireRead, zero}, token: goodToken, need: apitoken.All(wireRead), reason: apitoken.ErrUnavailable, want: unavailable},
		{name: "a permission of another catalogue", owner: []apitoken.Permission{wireRead, alien}, token: goodToken, need: apitoken.All(wireRead), reason: apitoken.ErrUnavailable, want: unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			g := newRig(t, func(config *apitoken.Config) {
				config.OwnerPermissions = func(_ context.Context, environment, owner string) ([]apitoken.Permission, error) {
					calls++
					assert.Equal(t, "production", environment)
					assert.Equal(t, "ada", owner)
					if c.panics {
						panic("lost its mind")
					}
					return c.owner, c.err
				}
			})
			a, s := askGuard(t, g.Guard(c.need), newRequest("/", "apiToken "+c.token.text))
			ev := g.event(t)
			assert.Equal(t, 1, calls, "asked for each request")
			assert.Equal(t, c.reason, ev.Reason)
			if c.reason == "" {
				mustAccept(t, a, s, c.token.id)
				assert.Equal(t, c.effective, s.token.Permissions())
				for _, p := range wire.All() {
					assert.Equal(t, slices.Contains(c.effective, p), s.token.Has(p), p.Name())
				}
				assert.Equal(t, []string{"devices:read", "devices:write"}, s.token.Assigned(), "what is assigned stays")
				return
			}
			if c.want.Status == 403 && c.missing != nil {
				c.want.Required, c.want.Missing = []string{"devices:read", "devices:write"}, c.missing
				assert.Equal(t, c.missing, ev.Missing)
				mustRefuse(t, a, s, c.want, "")
			} else if c.want.Status == 403 {
				assert.Equal(t, []string{`apiToken realm="api", error="insufficient_scope"`}, a.header["Www-Authenticate"], "no empty scope")
				assert.Equal(t, 403, a.status)
				assert.Zero(t, s.called())
			} else {
				mustRefuse(t, a, s, c.want, "")
			}
			for _, text := range []string{expiredToken.text, deactivatedToken.text, unknownToken.text} {
				a, s := g.ask(t, newRequest("/", "apiToken "+text))
				mustRefuse(t, a, s, invalidToken, "")
			}
			assert.Equal(t, 1, calls, "not asked for a token that is refused anyway")
		})
	}
}

func TestAnOwnerOfNoPermissionsIsJudgedAlsoByVerifyAndRecheck(t *testing.T) {
	var owner []apitoken.Permission
	g := newRig(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return owner, nil }
	})
	presented := apitoken.Presented{Secret: apitoken.NewSecret(bothToken.text), Environment: "production"}
	_, err := g.Verify(t.Context(), presented, apitoken.All(wireRead))
	require.ErrorIs(t, err, apitoken.ErrPermission)
	owner = []apitoken.Permission{wireRead}
	tok, err := g.Verify(t.Context(), presented, apitoken.All(wireRead))
	require.NoError(t, err)
	owner = []apitoken.Permission{wireWrite}
	assert.False(t, tok.Has(wireWrite), "a handle does not change")
	_, err = g.Recheck(t.Context(), tok, apitoken.All(wireRead))
	require.ErrorIs(t, err, apitoken.ErrPermission)
	tok, err = g.Recheck(t.Context(), tok, apitoken.All(wireWrite))
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{wireWrite}, tok.Permissions())
}

func TestAnOwnerPermissionsThatHangsIs503AfterItsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerTimeout = 300 * time.Millisecond
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				<-release
				return wire.All(), nil
			}
		})
		start := time.Now()
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustRefuse(t, a, s, unavailable, "")
		assert.Equal(t, 300*time.Millisecond, time.Since(start))
		assert.ErrorContains(t, g.event(t).Err, "OwnerPermissions")
	})
}

func TestAPanicOfTheObserverIs503WhateverTheDecisionWas(t *testing.T) {
	calls := 0
	g := newRig(t, func(c *apitoken.Config) {
		c.Observe = func(context.Context, apitoken.Event) { calls++; panic("disk full") }
	})
	for _, r := range []*http.Request{
		newRequest("/", "apiToken "+goodToken.text), newRequest("/"), newRequest("/", "apiToken"), newRequest("/", "apiToken "+expiredToken.text),
		newRequest("/", "apiToken "+lackingToken.text), newRequest("/?apiToken=" + goodToken.text),
	} {
		calls = 0
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, unavailable, "")
		assert.Equal(t, 1, calls)
		_, err := g.Check(r, apitoken.All(wireRead))
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	}
}

func TestTheObserverIsToldBeforeTheHandlerRunsAndWithItsContext(t *testing.T) {
	type key struct{}
	told := 0
	g := newRig(t, func(c *apitoken.Config) {
		c.Observe = func(ctx context.Context, ev apitoken.Event) {
			told++
			assert.Equal(t, "value", ctx.Value(key{}))
		}
	})
	r := newRequest("/", "apiToken "+goodToken.text)
	s := &spy{do: func(http.ResponseWriter, *http.Request) { assert.Equal(t, 1, told) }}
	g.Require(wireRead)(s).ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), key{}, "value")))
	assert.Equal(t, 1, s.called())
}

func TestARequestWithoutAnObserverIsDecidedAlike(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
	a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	a, s = g.ask(t, newRequest("/", "apiToken "+expiredToken.text))
	mustRefuse(t, a, s, invalidToken, "")
}

func TestFromContextFindsNothingWhereNoGuardWas(t *testing.T) {
	tok, ok := apitoken.FromContext(t.Context())
	assert.False(t, ok)
	assert.True(t, tok.IsZero())
}
