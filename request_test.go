package apitoken_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/allocated"
)

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
		{"a network stays refused, although a header claims another", networkToken, false},
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
	{"header and parameter", "/?apiToken=" + bothToken.text, []string{oursGood}, "more than one way"},
	{"header and parameter, equal", "/?" + queryGood, []string{oursGood}, "more than one way"},
	{"header and escaped parameter", "/?api%54oken=" + goodToken.text, []string{oursGood}, "more than one way"},
	{"header and empty parameter", "/?apiToken=", []string{oursGood}, "more than one way"},
	{"header and the parameter twice", "/?" + queryGood + "&" + queryGood, []string{oursGood}, "more than one way"},
	{"malformed header and parameter", "/?" + queryGood, []string{"apiToken"}, "more than one way"},
	{"two headers and parameter", "/?" + queryGood, []string{oursGood, oursGood}, "more than one way"},
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
