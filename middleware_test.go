package apitoken_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// These tests hold what docs call "what a request gets", line by line: first
// over a ResponseRecorder, then over a socket, for all that an http.Client
// would not send.

// Line 1: nothing, or only foreign schemes.

// Lines 2 and 3: malformed, and more than one.

// The good token as clients send it, and another one.
var (
	oursGood  = "apiToken " + goodToken.text
	oursBoth  = "apiToken " + bothToken.text
	queryGood = "apiToken=" + goodToken.text
)

// Line 4: over-long.

// Lines 5 and 6: 401.

func TestATokenThatIsNotValidIs401(t *testing.T) {
	g := newRig(t)
	for _, c := range refusedTokens() {
		for _, source := range []apitoken.Source{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken")} {
			t.Run(c.name+" in the "+string(source), func(t *testing.T) {
				r := newRequest("/", "apiToken "+c.text)
				if source == apitoken.QueryParameter("apiToken") {
					r = newRequest("/?apiToken=" + everyByteEscaped(c.text))
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
				assert.Equal(t, source, ev.Source)
				assert.Equal(t, "use", string(ev.Action))
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
			assert.Equal(t, apitoken.ErrAddressNotAllowed, g.event(t).Reason)
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
		{"none of two alternatives", g.Guard(apitoken.Any(wireReports, wireReportsAd)), goodToken, []string{"reports:read", "reports:admin"}, []string{"reports:read", "reports:admin"}, "any"},
		{"no other alternative", g.Guard(apitoken.Any(wireReports)), goodToken, []string{"reports:read"}, []string{"reports:read"}, "any"},
		{"Guard", g.Guard(apitoken.All(wireWrite)), goodToken, []string{"devices:write"}, []string{"devices:write"}, ""},
		{"Guard with HeaderOnly", g.Guard(apitoken.Any(wireWrite).HeaderOnly()), goodToken, []string{"devices:write"}, []string{"devices:write"}, "any"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := askGuard(t, c.guard, newRequest("/", "apiToken "+c.token.text))
			want := insufficientScope
			want.Required, want.Missing, want.Match = c.required, c.missing, c.match
			mustRefuse(t, a, s, want, "")
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrMissingPermission, ev.Reason)
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
	assert.JSONEq(t, `{"type":"`+problemBase+`no-token","title":"API token required","status":401,"detail":"The request has no API token. Send it as \"Authorization: apiToken <token>\"."}`, a.body)
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
		{"the first alternative", g.Guard(apitoken.Any(wireRead, wireReports)), goodToken},
		{"the last alternative", g.Guard(apitoken.Any(wireReports, wireReportsAd, wireRead)), goodToken},
		{"all alternatives", g.Guard(apitoken.Any(wireRead, wireWrite)), bothToken},
		{"any token, one without permissions", g.Guard(apitoken.AnyToken()), emptyToken},
		{"any token, as a requirement", g.Guard(apitoken.AnyToken()), emptyToken},
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
	assert.Equal(t, http.Header{"Etag": {`"1"`}, "Vary": {"Authorization"}}, w.Header(), "nothing else is added")
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
	assert.Equal(t, apitoken.Scheme("apiToken"), ev.Source)
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

// What guards promise about each other and about themselves.

func withoutFields(h http.Header, names ...string) {
	for _, name := range names {
		delete(h, name)
	}
}

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
					return g.Guard(apitoken.AnyToken())(g.Require(wireRead)(g.Require(inner)(h)))
				}
			}
			a, s := askGuard(t, nested(wireWrite), newRequest(c.target, c.fields...))
			mustAccept(t, a, s, bothToken.id)
			assert.NotContains(t, s.request.URL.RawQuery, "apiToken")
			a, s = askGuard(t, nested(wireReports), newRequest(c.target, c.fields...))
			want := insufficientScope
			want.Required, want.Missing = []string{"reports:read"}, []string{"reports:read"}
			withoutFields(a.header, "Referrer-Policy", "Vary") // from the outer guard, which had accepted
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
	a, s := askGuard(t, func(h http.Handler) http.Handler { return g.Guard(apitoken.AnyToken())(add(h)) }, newRequest("/?apiToken="+goodToken.text))
	withoutFields(a.header, "Referrer-Policy", "Vary")
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
					auth.Require(wireRead), auth.Guard(apitoken.Any(wireRead)), auth.Guard(apitoken.AnyToken()),
					auth.Guard(apitoken.AnyToken()), auth.Guard(apitoken.Requirement{}),
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
			tok, err := auth.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text)}, apitoken.AnyToken())
			assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			assert.True(t, tok.IsZero())
			good, err := newRig(t).Check(newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken())
			require.NoError(t, err)
			tok, err = auth.Recheck(t.Context(), good, apitoken.AnyToken())
			assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			assert.True(t, tok.IsZero())
			assert.NoError(t, auth.Close())
			assert.Zero(t, auth.Stats())
			assert.Nil(t, auth.Catalog())
			assert.Zero(t, auth.Policy())
			assert.Zero(t, auth.Limits())
		})
	}
}

func TestHidingWithTheZeroAndTheNilAuthorityLeavesTheRequestAsItIs(t *testing.T) {
	for name, auth := range map[string]*apitoken.Authority{"zero": new(apitoken.Authority), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			for _, query := range []string{"", "?apiToken=" + goodToken.text, "?a=1&&=x&b=2"} {
				r := newRequest("/" + query)
				require.NotPanics(t, func() {
					assert.Same(t, r, auth.WithoutQueryToken(r))
					a, s := askGuard(t, func(h http.Handler) http.Handler { return auth.HideQueryToken(auth.Guard(apitoken.AnyToken())(h)) }, r)
					mustRefuse(t, a, s, unavailable, "")
				})
			}
		})
	}
}

func TestTheZeroRequirementIsMetByNoToken(t *testing.T) {
	g := newRig(t)
	for _, requirement := range []apitoken.Requirement{{}, apitoken.Requirement{}.HeaderOnly()} {
		tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), requirement)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.True(t, tok.IsZero())
		assert.ErrorContains(t, g.event(t).Err, "zero Requirement")
		tok, err = g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(bothToken.text), Environment: "production"}, requirement)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.True(t, tok.IsZero())
		g.events = nil
		mustPanic(t, func() { g.Guard(requirement) }, "zero Requirement", "middleware_test.go:")
	}
}

func TestMistakesInRoutesPanicAtStartWithFileAndLine(t *testing.T) {
	g := newRig(t)
	var other apitoken.Catalog
	alien := other.Define("devices:read", "The same name in another catalog")
	var zero apitoken.Permission
	h := func(http.ResponseWriter, *http.Request, apitoken.Token) {}
	for _, c := range []struct {
		name  string
		f     func()
		parts []string
	}{
		{"Require of the zero Permission", func() { g.Require(zero) }, []string{"zero Permission"}},
		{"Require of the zero Permission among others", func() { g.Require(wireRead, zero) }, []string{"zero Permission"}},
		{"Any of the zero Permission", func() { g.Guard(apitoken.Any(zero)) }, []string{"zero Permission"}},
		{"Any of the zero Permission among others", func() { g.Guard(apitoken.Any(wireRead, zero)) }, []string{"zero Permission"}},
		{"Handler of the zero Permission", func() { g.Handler(h, zero) }, []string{"zero Permission"}},
		{"All of the zero Permission", func() { apitoken.All(wireRead, zero) }, []string{"zero Permission"}},
		{"Any of the zero Permission", func() { apitoken.Any(zero) }, []string{"zero Permission"}},
		{"Require of another catalog", func() { g.Require(alien) }, []string{`"devices:read"`, "not of the catalog", "defined at"}},
		{"Require of another catalog among others", func() { g.Require(wireRead, alien) }, []string{"not of the catalog"}},
		{"Any of another catalog among others", func() { g.Guard(apitoken.Any(wireRead, alien)) }, []string{"not of the catalog"}},
		{"Handler of another catalog", func() { g.Handler(h, alien) }, []string{"not of the catalog"}},
		{"Guard of another catalog", func() { g.Guard(apitoken.Any(alien)) }, []string{"not of the catalog"}},
		{"Guard of the zero Requirement", func() { g.Guard(apitoken.Requirement{}) }, []string{"zero Requirement"}},
		{"a nil handler", func() { g.Require(wireRead)(nil) }, []string{"nil handler"}},
		{"a nil typed handler", func() { g.Handler(nil, wireRead) }, []string{"nil handler"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustPanic(t, c.f, append(c.parts, "middleware_test.go:")...)
		})
	}
}

func TestARequirementOfAnotherCatalogIsRefusedAlsoWhereItIsNotCheckedAtStart(t *testing.T) {
	g := newRig(t)
	var other apitoken.Catalog
	alien := other.Define("devices:read", "The same name and index in another catalog")
	for _, requirement := range []apitoken.Requirement{apitoken.All(alien), apitoken.Any(alien), apitoken.Any(wireRead, alien)} {
		tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), requirement)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.True(t, tok.IsZero())
		assert.ErrorContains(t, g.event(t).Err, "not of the catalog")
	}
	tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), apitoken.AnyToken())
	require.NoError(t, err)
	assert.False(t, tok.Has(alien))
}

func TestFromContextFindsNothingWhereNoGuardWas(t *testing.T) {
	tok, ok := apitoken.FromContext(t.Context())
	assert.False(t, ok)
	assert.True(t, tok.IsZero())
}

func TestTheAddressOfAClientIsThatOfConfigClientAddr(t *testing.T) {
	r := newRequest("/", "")
	r.RemoteAddr = networkPeer
	addr, err := newRig(t).ClientAddr(r)
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.9", addr.String())
	g := newRig(t, func(c *apitoken.Config) {
		c.ClientAddr = func(*http.Request) (netip.Addr, error) { return netip.MustParseAddr("::ffff:198.51.100.7"), nil }
	})
	addr, err = g.ClientAddr(r)
	require.NoError(t, err)
	assert.Equal(t, "198.51.100.7", addr.String())
	_, err = new(apitoken.Authority).ClientAddr(r)
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
}
