package apitoken_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/allocated"
)

// These tests hold what docs call "what a request gets", line by line: first
// over a ResponseRecorder, then over a socket, for all that an http.Client
// would not send.

// Line 1: nothing, or only foreign schemes.

// presentNothing are requests that have no token.
var presentNothing = []presentation{
	{"no Authorization, no query", "/devices", nil, ""},
	{"an Authorization without values", "/devices", []string{}, ""},
	{"an empty Authorization", "/devices", []string{""}, ""},
	{"Bearer", "/devices", []string{"Bearer " + goodToken.text}, ""},
	{"Basic", "/devices", []string{"Basic YWRhOnNlY3JldA=="}, ""},
	{"two foreign Authorization fields", "/devices", []string{"Basic YWRhOnNlY3JldA==", "Bearer " + goodToken.text}, ""},
	{"the token without a scheme", "/devices", []string{goodToken.text}, ""},
	{"another scheme of the same length", "/devices", []string{"apiTokem " + goodToken.text}, ""},
	{"a scheme that begins like ours", "/devices", []string{"apiTokens " + goodToken.text}, ""},
	{"a scheme that ours is the beginning of", "/devices", []string{"apiToken2 " + goodToken.text}, ""},
	{"a scheme that continues ours with a hyphen", "/devices", []string{"apiToken-v1 " + goodToken.text}, ""},
	{"the beginning of our scheme", "/devices", []string{"apiToke " + goodToken.text}, ""},
	{"a Kelvin sign for k", "/devices", []string{"apiTo\u212Aen " + goodToken.text}, ""},
	{"a Kelvin sign for k in a text of the same length", "/devices", []string{"piTo\u212Aen " + goodToken.text}, ""},
	{"a long s for s, which folds", "/devices", []string{"ba\u017Fic " + goodToken.text}, ""},
	{"our scheme after a comma", "/devices", []string{"Basic YWRhOnNlY3JldA==, apiToken " + goodToken.text}, ""},
	{"our scheme after a space", "/devices", []string{" apiToken " + goodToken.text}, ""},
	{"the parameter in another case", "/devices?apitoken=" + goodToken.text + "&APITOKEN=" + goodToken.text, nil, ""},
	{"the parameter in another case behind escapes", "/devices?%41piToken=" + goodToken.text, nil, ""},
	{"the parameter after a semicolon", "/devices?a=1;apiToken=" + goodToken.text, nil, ""},
	{"the parameter before a semicolon", "/devices?apiToken;a=" + goodToken.text, nil, ""},
	{"the parameter escaped twice", "/devices?api%2554oken=" + goodToken.text, nil, ""},
	{"the parameter with a broken escape", "/devices?api%5Token=" + goodToken.text, nil, ""},
	{"the parameter with a space", "/devices?apiToken+=" + goodToken.text, nil, ""},
	{"the parameter within another's value", "/devices?a=apiToken=" + goodToken.text, nil, ""},
	{"the equals sign escaped", "/devices?apiToken%3D" + goodToken.text, nil, ""},
	{"the ampersand escaped", "/devices?a=1%26apiToken=" + goodToken.text, nil, ""},
	{"the token in the path", "/devices/apiToken=" + goodToken.text, nil, ""},
	{"the question mark escaped", "/devices%3FapiToken=" + goodToken.text, nil, ""},
	{"a query that does not parse and does not name the parameter", "/devices?a=%zz&b=;", nil, ""},
}

func TestARequestThatPresentsNothingIsAskedForATokenWithoutAnError(t *testing.T) {
	g := newRig(t)
	for _, c := range presentNothing {
		t.Run(c.name, func(t *testing.T) {
			a, s := g.ask(t, newRequest(c.target, c.fields...))
			mustRefuse(t, a, s, asksForToken, "")
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrNoToken, ev.Reason)
			assert.Equal(t, apitoken.Source(""), ev.Source)
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

// presentMalformed are requests with something that can be no token.
var presentMalformed = []presentation{
	{"the scheme alone", "/", []string{"apiToken"}, "not followed by a space and an API token"},
	{"the scheme and a space", "/", []string{"apiToken "}, "not followed by a space and an API token"},
	{"the scheme and spaces", "/", []string{"apiToken    "}, "not followed by a space and an API token"},
	{"a tab for the space", "/", []string{"apiToken\t" + goodToken.text}, "not followed by a space"},
	{"a tab after the space", "/", []string{"apiToken \t" + goodToken.text}, "not allowed"},
	{"a no-break space for the space", "/", []string{"apiToken\u00a0" + goodToken.text}, "not followed by a space"},
	{"a no-break space after the space", "/", []string{"apiToken \u00a0" + goodToken.text}, "not allowed"},
	{"a no-break space in Latin-1", "/", []string{"apiToken\xa0" + goodToken.text}, "not followed by a space"},
	{"an equals sign for the space", "/", []string{"apiToken=" + goodToken.text}, "not followed by a space"},
	{"a colon for the space", "/", []string{"apiToken:" + goodToken.text}, "not followed by a space"},
	{"a comma for the space", "/", []string{"apiToken," + goodToken.text}, "not followed by a space"},
	{"a NUL for the space", "/", []string{"apiToken\x00" + goodToken.text}, "not followed by a space"},
	{"a trailing space", "/", []string{"apiToken " + goodToken.text + " "}, "not allowed"},
	{"a trailing tab", "/", []string{"apiToken " + goodToken.text + "\t"}, "not allowed"},
	{"a trailing no-break space", "/", []string{"apiToken " + goodToken.text + "\u00a0"}, "not allowed"},
	{"a second word", "/", []string{"apiToken " + goodToken.text + " x"}, "not allowed"},
	{"the token twice", "/", []string{"apiToken " + goodToken.text + " " + goodToken.text}, "not allowed"},
	{"the scheme twice", "/", []string{"apiToken apiToken " + goodToken.text}, "not allowed"},
	{"a comma list of tokens", "/", []string{"apiToken " + goodToken.text + "," + goodToken.text}, "not allowed"},
	{"a comma list of credentials", "/", []string{"apiToken " + goodToken.text + ", Basic YWRhOg=="}, "not allowed"},
	{"a trailing comma", "/", []string{"apiToken " + goodToken.text + ","}, "not allowed"},
	{"a trailing semicolon", "/", []string{"apiToken " + goodToken.text + ";"}, "not allowed"},
	{"a quoted string", "/", []string{`apiToken "` + goodToken.text + `"`}, "not allowed"},
	{"an auth-param", "/", []string{"apiToken token=" + goodToken.text}, "not allowed"},
	{"a quoted auth-param", "/", []string{`apiToken token="` + goodToken.text + `"`}, "not allowed"},
	{"a token and an auth-param", "/", []string{"apiToken " + goodToken.text + `, realm="api"`}, "not allowed"},
	{"padding in the middle", "/", []string{"apiToken " + goodToken.text[:20] + "=" + goodToken.text[20:]}, "not allowed"},
	{"padding alone", "/", []string{"apiToken ="}, "not allowed"},
	{"padding alone, twice", "/", []string{"apiToken =="}, "not allowed"},
	{"a NUL", "/", []string{"apiToken " + goodToken.text + "\x00"}, "not allowed"},
	{"a DEL", "/", []string{"apiToken " + goodToken.text + "\x7f"}, "not allowed"},
	{"a byte of no charset", "/", []string{"apiToken " + goodToken.text + "\xff"}, "not allowed"},
	{"a full-width digit", "/", []string{"apiToken " + goodToken.text + "\uff10"}, "not allowed"},
	{"a percent escape", "/", []string{"apiToken " + strings.Replace(goodToken.text, "a", "%61", 1)}, "not allowed"},
	{"a line break", "/", []string{"apiToken " + goodToken.text + "\r\n"}, "not allowed"},

	{"an empty parameter", "/?apiToken=", nil, "empty"},
	{"a parameter without a value", "/?apiToken", nil, "empty"},
	{"an empty parameter among others", "/?a=1&apiToken=&b=2", nil, "empty"},
	{"a space before the token", "/?apiToken=+" + goodToken.text, nil, "not allowed"},
	{"a space after the token", "/?apiToken=" + goodToken.text + "%20", nil, "not allowed"},
	{"the scheme in the parameter", "/?apiToken=apiToken+" + goodToken.text, nil, "not allowed"},
	{"a line break in the parameter", "/?apiToken=" + goodToken.text + "%0d%0a", nil, "not allowed"},
	{"a NUL in the parameter", "/?apiToken=" + goodToken.text + "%00", nil, "not allowed"},
	{"a quoted parameter", "/?apiToken=%22" + goodToken.text + "%22", nil, "not allowed"},
	{"a percent sign in the parameter", "/?apiToken=" + goodToken.text + "%25", nil, "not allowed"},
	{"an escaped semicolon in the parameter", "/?apiToken=" + goodToken.text + "%3B", nil, "not allowed"},
	{"a comma list in the parameter", "/?apiToken=" + goodToken.text + "," + goodToken.text, nil, "not allowed"},
	{"an equals sign before the token", "/?apiToken==" + goodToken.text, nil, "not allowed"},
	{"a broken escape in the parameter", "/?apiToken=" + goodToken.text + "%zz", nil, "cannot be parsed"},
	{"a cut escape in the parameter", "/?apiToken=" + goodToken.text + "%4", nil, "cannot be parsed"},
	{"a semicolon after the token", "/?apiToken=" + goodToken.text + ";", nil, "cannot be parsed"},
	{"a semicolon for the ampersand", "/?apiToken=" + goodToken.text + ";a=1", nil, "cannot be parsed"},
	{"a semicolon elsewhere", "/?apiToken=" + goodToken.text + "&a=1;b=2", nil, "cannot be parsed"},
	{"a semicolon before", "/?a;b&apiToken=" + goodToken.text, nil, "cannot be parsed"},
	{"a broken escape before", "/?%zz&apiToken=" + goodToken.text, nil, "cannot be parsed"},
	{"a broken escape after", "/?apiToken=" + goodToken.text + "&a=%zz", nil, "cannot be parsed"},
}

func TestAMalformedCredentialIs400(t *testing.T) {
	g := newRig(t)
	text := goodToken.text
	for _, c := range presentMalformed {
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

// The good token as clients send it, and another one.
var (
	oursGood  = "apiToken " + goodToken.text
	oursBoth  = "apiToken " + bothToken.text
	queryGood = "apiToken=" + goodToken.text
)

// presentTwo are requests with more than one token.
var presentTwo = []presentation{
	{"two of ours", "/", []string{oursGood, oursBoth}, "more than one Authorization field"},
	{"two of oursGood, equal", "/", []string{oursGood, oursGood}, "more than one Authorization field"},
	{"ours before a foreign one", "/", []string{oursGood, "Basic YWRhOg=="}, "more than one Authorization field"},
	{"ours after a foreign one", "/", []string{"Basic YWRhOg==", oursGood}, "more than one Authorization field"},
	{"ours and an empty one", "/", []string{oursGood, ""}, "more than one Authorization field"},
	{"ours last of many", "/", []string{"a", "b", "c", oursGood}, "more than one Authorization field"},
	{"two of oursGood, malformed", "/", []string{"apiToken", "apiToken"}, "more than one Authorization field"},
	{"the parameter twice", "/?" + queryGood + "&apiToken=" + bothToken.text, nil, "more than once"},
	{"the parameter twice, equal", "/?" + queryGood + "&" + queryGood, nil, "more than once"},
	{"the parameter twice, first empty", "/?apiToken=&" + queryGood, nil, "more than once"},
	{"the parameter twice, then empty", "/?" + queryGood + "&apiToken", nil, "more than once"},
	{"the parameter twice, once escaped", "/?" + queryGood + "&api%54oken=" + goodToken.text, nil, "more than once"},
	{"the parameter twice, both escaped", "/?%61piToken=" + goodToken.text + "&a=1&apiToke%6E=" + goodToken.text, nil, "more than once"},
	{"the parameter three times", "/?" + queryGood + "&" + queryGood + "&" + queryGood, nil, "more than once"},
	{"the parameter twice, first broken", "/?apiToken=%zz&" + queryGood, nil, "more than once"},
	{"header and parameter", "/?apiToken=" + bothToken.text, []string{oursGood}, "both in the Authorization field and in the query"},
	{"header and parameter, equal", "/?" + queryGood, []string{oursGood}, "both in the Authorization field and in the query"},
	{"header and escaped parameter", "/?api%54oken=" + goodToken.text, []string{oursGood}, "both"},
	{"header and empty parameter", "/?apiToken=", []string{oursGood}, "both"},
	{"header and the parameter twice", "/?" + queryGood + "&" + queryGood, []string{oursGood}, "both"},
	{"malformed header and parameter", "/?" + queryGood, []string{"apiToken"}, "both"},
	{"two headers and parameter", "/?" + queryGood, []string{oursGood, oursGood}, "both"},
}

func TestTwoCredentialsAre400EvenIfEqual(t *testing.T) {
	g := newRig(t)
	for _, c := range presentTwo {
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
		{"one byte over in the query, escaped", "/?apiToken=" + strings.Repeat("%61", 513), nil},
		{"1 MiB of escapes in the query", "/?apiToken=" + strings.Repeat("%61", mib/3), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest(c.target, c.fields...)
			_, size := allocated.Per(1, func() {
				a, s := g.ask(t, r)
				mustRefuse(t, a, s, invalidRequest, "too long")
				ev := g.event(t)
				assert.Equal(t, apitoken.ErrMalformed, ev.Reason)
				assert.Empty(t, ev.TokenID, "it was not parsed")
			})
			assert.Less(t, size, uint64(128<<10), "bytes allocated")
		})
	}
	assert.Zero(t, g.store.calls(), "store calls")
}

func TestManySpacesBetweenSchemeAndTokenAreOne(t *testing.T) {
	g := newRig(t)
	most := 1024 - len(goodToken.text)
	for _, n := range []int{1, 2, 3, 100, most} {
		a, s := g.ask(t, newRequest("/", "apiToken"+strings.Repeat(" ", n)+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	}
	a, s := g.ask(t, newRequest("/", "apiToken"+strings.Repeat(" ", most+1)+goodToken.text))
	mustRefuse(t, a, s, invalidRequest, "too long")
}

// Lines 5 and 6: 401.

func TestATokenThatIsNotValidIs401(t *testing.T) {
	g := newRig(t)
	for _, c := range refusedTokens() {
		for _, source := range []apitoken.Source{apitoken.InHeader, apitoken.InQuery} {
			t.Run(c.name+" in the "+string(source), func(t *testing.T) {
				r := newRequest("/", "apiToken "+c.text)
				if source == apitoken.InQuery {
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
	assert.Equal(t, apitoken.InHeader, ev.Source)
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
