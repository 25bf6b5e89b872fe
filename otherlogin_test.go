package apitoken_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// sessions is another login: who has the cookie is let in.
func sessions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("session"); err != nil {
			http.Error(w, "sign in", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestAnotherLoginDecidesAboutRequestsWithoutATokenAndAboutNoOthers(t *testing.T) {
	g := newRig(t, accepting(apitoken.Bearer(), apitoken.QueryParameter("key")))
	guard := g.GuardOr(apitoken.All(wireRead), sessions)
	const session, bearer = "Cookie: session=1", "Authorization: Bearer "
	for _, c := range []struct {
		name    string
		request *http.Request
		status  int
		token   bool // the handler finds one
	}{
		{"a token", asked("/", bearer+goodToken.text), 204, true},
		{"a token and a session", asked("/", bearer+goodToken.text, session), 204, true},
		{"a token in the query", asked("/?key=" + goodToken.text), 204, true},
		{"a session", asked("/", session), 204, false},
		{"a session and a JWT", asked("/", session, bearer+"a.b.c"), 204, false},
		{"nothing", asked("/"), 403, false},
		{"a token that has expired, and a session", asked("/", bearer+expiredToken.text, session), 401, false},
		{"a token that lacks the permission, and a session", asked("/", bearer+lackingToken.text, session), 403, false},
		{"what is malformed, and a session", asked("/?key=", session), 400, false},
		{"two tokens and a session", asked("/?key="+goodToken.text, bearer+goodToken.text, session), 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := askGuard(t, guard, c.request)
			assert.Equal(t, c.status, a.status)
			if c.status != 204 {
				assert.Zero(t, s.called())
				return
			}
			require.Equal(t, 1, s.called())
			_, found := apitoken.FromContext(s.request.Context())
			assert.Equal(t, c.token, found)
			assert.Equal(t, "Authorization", a.header.Get("Vary"))
			assert.Empty(t, s.request.URL.RawQuery)
		})
	}
	assert.Zero(t, g.Stats().Refused[apitoken.ErrNoToken])
}

// What counts less may be the token that is refused.
func TestAKeyThatCannotBeATokenTakesNoRefusedTokenToTheOtherLogin(t *testing.T) {
	for _, first := range []bool{false, true} {
		g := newRig(t, accepting(apitoken.HeaderField("X-Api-Key"), apitoken.QueryParameter("key")), func(c *apitoken.Config) { c.AcceptFirst = first })
		for _, text := range []string{expiredToken.text, goodToken.text} {
			a, s := askGuard(t, g.GuardOr(apitoken.All(wireRead), sessions), asked("/?key="+text, "X-Api-Key: ab:cd$ef!gh", "Cookie: session=1"))
			assert.Equal(t, 400, a.status, "AcceptFirst %t", first)
			assert.Zero(t, s.called())
		}
	}
}

func TestAKeyOfAnyLengthGoesToTheOtherLogin(t *testing.T) {
	g := newRig(t, accepting(apitoken.HeaderField("X-Api-Key"), apitoken.QueryParameter("key")))
	for _, n := range []int{600, 1536, 1537, 8000} {
		jwt := "eyJ" + strings.Repeat("a", n-3)
		for _, r := range []*http.Request{asked("/", "X-Api-Key: "+jwt, "Cookie: session=1"), asked("/?key="+jwt, "Cookie: session=1")} {
			a, _ := askGuard(t, g.GuardOr(apitoken.All(wireRead), sessions), r)
			assert.Equal(t, 204, a.status, "%d bytes", n)
		}
	}
}

// Keys of an earlier system come in a header field or a parameter that tokens come in, too.
func TestOverTCPAKeyThatCannotBeATokenGoesToTheOtherLogin(t *testing.T) {
	const old = "ab:cd$ef!gh"
	for _, way := range wireWays() {
		g := newRig(t, accepting(way.source))
		other := new(spy)
		guarded := new(spy)
		server := httptest.NewServer(g.GuardOr(apitoken.All(wireRead), func(http.Handler) http.Handler { return other })(guarded))
		defer server.Close()
		plain := httptest.NewServer(g.Guard(apitoken.All(wireRead))(guarded))
		defer plain.Close()
		scheme := way.column == columnScheme
		for _, c := range []struct {
			name, text    string
			other, beside int // the status with another login, in our scheme and elsewhere
			plain         int
		}{
			{"a key with characters of no token", old, 400, 204, 400},
			{"a key with a blank", "an old key", 400, 204, 400},
			{"a key that looks like a token of others", "old-key-of-another-system", 401, 204, 401},
			{"a token that has expired", expiredToken.text, 401, 401, 401},
			{"a token that is malformed", goodToken.text + "!", 400, 400, 400},
			{"the beginning of a token", goodToken.text[:12], 401, 401, 401},
			{"a token", goodToken.text, 204, 204, 204},
		} {
			want := c.beside
			if scheme {
				want = c.other
			}
			before := other.called()
			answer, _ := rawAsk(t, server, way.get(way.value(c.text)))
			assert.Equal(t, want, answer.status, "%s: %s", way.source, c.name)
			assert.Equal(t, want == 204 && c.text != goodToken.text, other.called() > before, "%s: %s", way.source, c.name)
			if way.column == columnField || way.column == columnQuery || scheme {
				answer, _ = rawAsk(t, plain, way.get(way.value(c.text)))
				assert.Equal(t, c.plain, answer.status, "plain, %s: %s", way.source, c.name)
			}
		}
	}
}

func TestWhileTheStoreIsDownASessionStillOpensAndATokenDoesNot(t *testing.T) {
	g := newRig(t)
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, errors.New("down") }
	guard := g.GuardOr(apitoken.AnyToken(), sessions)
	a, s := askGuard(t, guard, asked("/", "Authorization: apiToken "+goodToken.text, "Cookie: session=1"))
	assert.Equal(t, 503, a.status)
	assert.Zero(t, s.called())
	a, _ = askGuard(t, guard, asked("/", "Cookie: session=1"))
	assert.Equal(t, 204, a.status)

	a, s = askGuard(t, new(apitoken.Authority).GuardOr(apitoken.AnyToken(), sessions), asked("/", "Cookie: session=1"))
	assert.Equal(t, 503, a.status, "the zero Authority refuses everything")
	assert.Zero(t, s.called())
}

func TestAnotherLoginThatPanicsOpensNothing(t *testing.T) {
	g := newRig(t)
	s := new(spy)
	server := httptest.NewUnstartedServer(g.GuardOr(apitoken.AnyToken(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the sessions are gone") })
	})(s))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	_, err := http.Get(server.URL)
	assert.Error(t, err, "the connection ends")
	assert.Zero(t, s.called())
	res, _ := rawAsk(t, server, "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	assert.Equal(t, 204, res.status, "a token needs no session")
}

func TestAnotherLoginThatIsMissingPanics(t *testing.T) {
	g := newRig(t)
	assert.Panics(t, func() { g.GuardOr(apitoken.AnyToken(), nil) })
	assert.Panics(t, func() { g.GuardOr(apitoken.AnyToken(), func(http.Handler) http.Handler { return nil })(new(spy)) })
}

func TestTheTableSaysWhichRoutesHaveAnotherLogin(t *testing.T) {
	g := newRig(t)
	mux := http.NewServeMux()
	routes := g.Routes(mux)
	s := new(spy)
	routes.HandleOr("GET /devices", "See devices", apitoken.All(wireRead), sessions, s)
	routes.Handle("PUT /devices", "Change devices", apitoken.All(wireRead), s)
	table, err := json.Marshal(routes.Table())
	require.NoError(t, err)
	assert.JSONEq(t, `[
		{"method":"GET","pattern":"/devices","permissions":["devices:read"],"match":"all","other_login":true,"description":"See devices"},
		{"method":"PUT","pattern":"/devices","permissions":["devices:read"],"match":"all","description":"Change devices"}
	]`, string(table))
	for method, status := range map[string]int{"GET": 204, "PUT": 401} {
		w := httptest.NewRecorder()
		r := asked("/devices", "Cookie: session=1")
		r.Method = method
		mux.ServeHTTP(w, r)
		assert.Equal(t, status, w.Code)
	}
}

func TestATokenOfVerifyCanBePutIntoAContext(t *testing.T) {
	g := newRig(t)
	tok, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production", Pattern: "jobs/{name}"}, apitoken.AnyToken())
	require.NoError(t, err)
	assert.Equal(t, "jobs/{name}", g.event(t).Pattern)
	found, ok := apitoken.FromContext(apitoken.NewContext(t.Context(), tok))
	assert.True(t, ok)
	assert.Equal(t, tok.ID(), found.ID())
	_, ok = apitoken.FromContext(apitoken.NewContext(t.Context(), apitoken.Token{}))
	assert.False(t, ok)
}
