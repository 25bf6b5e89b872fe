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
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// The catalog of the tests of requests.
var (
	wire          apitoken.Catalog
	wireRead      = wire.Define("devices:read", "See devices")
	wireWrite     = wire.Define("devices:write", "Change devices")
	wireReports   = wire.Define("reports:read", "See reports")
	wireReportsAd = wire.Define("reports:admin", "Change reports")
)

// hasNoRaces skips a test that does much, one thing after the other, where the race
// detector would watch it.
func hasNoRaces(t *testing.T) {
	t.Helper()
	if apitoken.RaceEnabled {
		t.Skip("one thing after the other, which has no races")
	}
}

// watchedInLess skips a test with thousands of requests at once where the race detector
// watches: other tests do the same with a few.
func watchedInLess(t *testing.T) {
	t.Helper()
	if apitoken.RaceEnabled {
		t.Skip("thousands of requests at once; the races of a few are those of many")
	}
}

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
		{"a secret past its overlap", retiredToken.text, apitoken.ErrRetiredSecret, ""},
		{"another environment", foreignEnvToken.text, apitoken.ErrEnvironment, ""},
		{"a deactivated token", deactivatedToken.text, apitoken.ErrDeactivated, ""},
		{"an expired token", expiredToken.text, apitoken.ErrExpired, ""},
		{"a token that is not yet valid", pendingToken.text, apitoken.ErrNotYetValid, ""},
		{"a refused network", networkToken.text, apitoken.ErrAddressNotAllowed, otherPeer},
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
		{"as long a text of another character", strings.Repeat("~", 512), apitoken.ErrUnknownToken, ""},
	}
}

// A tapStore counts what reaches the store of a test. If get is set, it
// answers in place of the store.
type tapStore struct {
	apitoken.Store
	get func(ctx context.Context, id string) (apitoken.Record, error)

	mu     sync.Mutex
	gets   []string
	forget bool // do not keep gets
}

func (s *tapStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.mu.Lock()
	if !s.forget {
		s.gets = append(s.gets, id)
	}
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
	return newRigWithClock(t, time.Now, edit...)
}

func newRigWithClock(t testing.TB, now func() time.Time, edit ...func(*apitoken.Config)) *rig {
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
	g.Authority, err = apitoken.NewWithClock(config, now)
	require.NoError(t, err)
	t.Cleanup(func() { g.Close() })
	return g
}

// noCache is for tests that change what is in the store behind the
// Authority's back.
func noCache(c *apitoken.Config) { c.MaxStaleness = apitoken.NoCache }

// ada may grant everything in production.
var ada = apitoken.Actor{User: "ada", Environment: "production", Grants: wire.All()}

// generate makes a token of ada's with devices:read, as applications do.
func (g *rig) generate(t testing.TB, edit ...func(*apitoken.GenerateParams)) (*apitoken.TokenInfo, apitoken.Secret) {
	t.Helper()
	ask := apitoken.GenerateParams{Name: "nightly", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}
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
	require.False(t, ev.Time.IsZero(), "time of the event")
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
		Detail: `The request has no API token. Send it as "Authorization: apiToken <token>".`}
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
	case "resource-not-allowed":
		return []string{`apiToken realm="api", error="insufficient_scope"`}
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

// A presentation is what a request presents.
type presentation struct {
	name, target string
	fields       []string // Authorization
	detail       string   // of the answer, a part of it
}

// rawAsk sends bytes over a socket and returns the answer, parsed and raw.
func rawAsk(t testing.TB, server *httptest.Server, request string) (answer, string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	var seen bytes.Buffer
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &seen)), &http.Request{Method: method})
	require.NoError(t, err)
	return answerOf(t, res), seen.String()
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

// ownersByName is a Config.OwnerPermissions for owners whose names say what is
// the matter with them.
func ownersByName(_ context.Context, _, owner string) ([]apitoken.Permission, error) {
	switch owner {
	case "gone":
		return nil, apitoken.ErrNoOwner
	case "idle":
		return nil, nil
	case "less":
		return []apitoken.Permission{wireRead}, nil
	case "broken":
		return nil, errors.New("users: connection refused")
	}
	return wire.All(), nil
}
