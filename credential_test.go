package apitoken_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/allocated"
)

func TestAQueryTokenIsTakenOutBeforeTheHandlerRuns(t *testing.T) {
	g := newRig(t)
	text := goodToken.text
	for _, c := range []struct{ name, query, left string }{
		{"alone", "apiToken=" + text, ""},
		{"first", "apiToken=" + text + "&b=2&a=1", "b=2&a=1"},
		{"last", "b=2&a=1&apiToken=" + text, "b=2&a=1"},
		{"in the middle", "b=2&apiToken=" + text + "&a=1", "b=2&a=1"},
		{"spelled otherwise", "b=2&%61piToke%6e=" + text + "&a=1", "b=2&a=1"},
		{"the others keep their spelling", "b=%7e+%2B&apiToken=" + text + "&%61=1&b=2&a=", "b=%7e+%2B&%61=1&b=2&a="},
		{"the others keep empty pairs", "&&a&apiToken=" + text + "&=&", "&&a&=&"},
		{"similar names stay", "apitoken=1&apiToken=" + text + "&apiTokens=2&xapiToken=3", "apitoken=1&apiTokens=2&xapiToken=3"},
		{"its text as a value stays", "a=apiToken&apiToken=" + text, "a=apiToken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest("/devices?" + c.query)
			uri, form := r.RequestURI, r.Form
			a, s := g.ask(t, r)
			mustAccept(t, a, s, goodToken.id)
			want := "/devices"
			if c.left != "" {
				want += "?" + c.left
			}
			assert.Equal(t, c.left, s.request.URL.RawQuery)
			assert.Equal(t, want, s.request.RequestURI)
			assert.Equal(t, want, s.request.URL.String())
			assert.Equal(t, want, s.request.URL.RequestURI())
			assert.Nil(t, s.request.Form)
			assert.Empty(t, s.request.FormValue("apiToken"))

			assert.Equal(t, "/devices?"+c.query, r.URL.String(), "the original request is not touched")
			assert.Equal(t, uri, r.RequestURI)
			assert.Equal(t, form, r.Form)
			ev := g.event(t)
			assert.Equal(t, apitoken.QueryParameter("apiToken"), ev.Source)
			assert.Empty(t, ev.Reason)
		})
	}
}

func TestAQueryTokenIsTakenOutOfAFormThatWasParsedBefore(t *testing.T) {
	g := newRig(t)
	text := goodToken.text
	for _, c := range []struct {
		name, query, body string
		form              url.Values
	}{
		{"from the query", "apiToken=" + text + "&a=1&a=2", "", url.Values{"a": {"1", "2"}}},
		{"from the query, spelled otherwise", "api%54oken=" + text + "&a=1", "", url.Values{"a": {"1"}}},
		{"but not from the body", "apiToken=" + text + "&a=1", "apiToken=body&a=3", url.Values{"a": {"3", "1"}, "apiToken": {"body"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/?"+c.query, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			require.NoError(t, r.ParseForm())
			original := maps.Clone(r.Form)
			require.Contains(t, original["apiToken"], text)
			a, s := g.ask(t, r)
			mustAccept(t, a, s, goodToken.id)
			assert.Equal(t, c.form, s.request.Form)
			assert.Equal(t, c.form.Get("apiToken"), s.request.FormValue("apiToken"))
			assert.Equal(t, original, r.Form, "the original request is not touched")
		})
	}
	t.Run("a form without it stays the same", func(t *testing.T) {
		r := newRequest("/?apiToken=" + text)
		r.Form = url.Values{"a": {"1"}}
		a, s := g.ask(t, r)
		mustAccept(t, a, s, goodToken.id)
		assert.Equal(t, url.Values{"a": {"1"}}, s.request.Form)
	})
}

func TestWithoutQueryTokenReturnsTheRequestItselfIfThereIsNothingToTakeOut(t *testing.T) {
	g := newRig(t)
	for _, target := range []string{"/", "/?", "/?a=1", "/?apitoken=1&&", "/?apiToken%zz=1", "/?a;apiToken=1"} {
		r := newRequest(target, "apiToken "+goodToken.text)
		assert.Same(t, r, g.WithoutQueryToken(r), target)
	}
	a, s := g.ask(t, newRequest("/?a=1", "apiToken "+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	assert.NotContains(t, a.header, "Cache-Control", "nothing is preset for a token in the header")
	assert.NotContains(t, a.header, "Referrer-Policy")
}

func TestWithoutQueryTokenKeepsAnEmptyPartAndWhatIsBeforeIt(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct{ uri, query, wantURI, wantQuery string }{
		{"/?apiToken=x", "apiToken=x", "/", ""},
		{"/?a&apiToken=x", "a&apiToken=x", "/?a", "a"},
		{"http://h/p?apiToken=x", "apiToken=x", "http://h/p", ""},
		{"/p?q?apiToken=x&apiToken=y", "q?apiToken=x&apiToken=y", "/p?q?apiToken=x", "q?apiToken=x"},
		{"/outer?apiToken=x", "a=1", "/outer", "a=1"}, // an outer handler rewrote the URL
		{"/outer", "apiToken=x&a=1", "/outer", "a=1"},
		{"/outer?", "apiToken=x&a=1", "/outer?", "a=1"},
		{"", "apiToken=x", "", ""}, // a request that no server read
	} {
		r := newRequest("/p?" + c.query)
		r.RequestURI = c.uri
		r.URL.ForceQuery = true // a lone question mark would give the token's place away
		clean := g.WithoutQueryToken(r)
		assert.Equal(t, c.wantQuery, clean.URL.RawQuery)
		assert.Equal(t, c.wantURI, clean.RequestURI)
		assert.False(t, clean.URL.ForceQuery)
	}
}

func TestTakingTheQueryTokenOutTwiceIsTakingItOutOnce(t *testing.T) {
	g := newRig(t)
	r := g.WithoutQueryToken(newRequest("/?a=1&apiToken=" + goodToken.text))
	assert.Same(t, r, g.WithoutQueryToken(r))
	tok, err := g.Check(r, apitoken.All(wireRead))
	require.NoError(t, err)
	assert.Equal(t, goodToken.id, tok.ID())
	assert.Equal(t, apitoken.QueryParameter("apiToken"), g.event(t).Source)

	r.RequestURI = "/?a=1&apiToken=" + goodToken.text // restored by a handler between
	r = g.WithoutQueryToken(r)
	assert.Equal(t, "/?a=1", r.RequestURI)
	_, err = g.Check(r, apitoken.All(wireRead))
	assert.NoError(t, err, "it is still the one token")
}

func TestVerdictsOnAHiddenTokenAreThoseOnAnOpenOne(t *testing.T) {
	g := newRig(t)
	hidden := func(h http.Handler) http.Handler { return g.HideQueryToken(g.Require(wireRead)(h)) }
	for _, c := range []struct {
		query, field string
	}{
		{"", ""}, {"a=1", ""}, {"apiToken=" + goodToken.text, ""}, {"apiToken=" + expiredToken.text, ""}, {"apiToken=" + lackingToken.text, ""},
		{"apiToken=", ""}, {"apiToken=%zz", ""}, {"apiToken=" + goodToken.text + "&apiToken=x", ""}, {"apiToken=" + goodToken.text + "&a=%zz", ""},
		{"apiToken=" + goodToken.text, "apiToken " + goodToken.text}, {"apiToken=" + goodToken.text, "Basic x"}, {"a=1;apiToken=x", ""},
		{"apiToken=" + strings.Repeat("a", 2000), ""},
	} {
		r := newRequest("/?" + c.query)
		if c.field != "" {
			r.Header.Set("Authorization", c.field)
		}
		open, s := g.ask(t, r)
		covered, sc := askGuard(t, hidden, r)
		assert.Equal(t, open, covered, c.query)
		assert.Equal(t, s.called(), sc.called(), c.query)
	}
}

func TestHideQueryTokenKeepsTheTokenFromLogsAndRedirects(t *testing.T) {
	g := newRig(t)
	var s spy
	var logged []string
	mux := http.NewServeMux()
	mux.Handle("GET /read", g.Require(wireRead)(&s))
	mux.Handle("GET /tree/", g.Require(wireRead)(&s))
	accessLog := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logged = append(logged, fmt.Sprint(r.RequestURI, " ", r.URL, " ", r.URL.Query(), " ", r.FormValue("apiToken")))
		mux.ServeHTTP(w, r)
	})
	server := httptest.NewServer(g.HideQueryToken(accessLog))
	defer server.Close()

	a, _ := rawAsk(t, server, "GET /read?a=1&apiToken="+goodToken.text+" HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Equal(t, 204, a.status)
	require.Equal(t, 1, s.called())
	require.Equal(t, []string{"/read?a=1 /read?a=1 map[a:[1]] "}, logged)

	for _, target := range []string{"//read?apiToken=", "/x/../read?apiToken=", "/tree?apiToken=", "/./tree?a=1&apiToken="} {
		a, raw := rawAsk(t, server, "GET "+target+goodToken.text+" HTTP/1.1\r\nHost: h\r\n\r\n")
		assert.Contains(t, []int{301, 307, 308}, a.status, target)
		assert.NotEmpty(t, a.header.Get("Location"))
		assert.NotContains(t, raw, "acme_", target)
		assert.NotContains(t, raw, "apiToken=", target)
	}
	assert.Equal(t, 1, s.called())
}

func TestCachingAndReferrerArePresetForAQueryTokenAndCanBeReplaced(t *testing.T) {
	g := newRig(t)
	a, s := g.ask(t, newRequest("/?apiToken="+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	assert.Equal(t, http.Header{"Cache-Control": {"private, no-store"}, "Referrer-Policy": {"no-referrer"}, "Vary": {"Authorization"}}, a.header)

	w := httptest.NewRecorder()
	g.Require(wireRead)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		assert.Equal(t, "private, no-store", w.Header().Get("Cache-Control"))
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Del("Referrer-Policy")
	})).ServeHTTP(w, newRequest("/?apiToken="+goodToken.text))
	assert.Equal(t, http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Authorization"}}, w.Header())

	a, s = askGuard(t, func(h http.Handler) http.Handler { return g.HideQueryToken(g.Require(wireRead)(h)) }, newRequest("/?apiToken="+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	assert.Equal(t, "no-referrer", a.header.Get("Referrer-Policy"), "also if it was hidden before")
}

func TestWithoutAParameterInAcceptTheQueryHasNoMeaning(t *testing.T) {
	g := newRig(t, accepting(apitoken.Scheme("apiToken")))
	for _, query := range []string{"apiToken=" + goodToken.text[1:], "apiToken=", "apiToken=x&apiToken=y", "apiToken=%zz", "apiToken=" + strings.Repeat("a", 2000)} {
		r := newRequest("/?" + query)
		assert.Same(t, r, g.WithoutQueryToken(r))
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, asksForToken, "")

		r.Header.Set("Authorization", "apiToken "+goodToken.text)
		a, s = askGuard(t, func(h http.Handler) http.Handler { return g.HideQueryToken(g.Require(wireRead)(h)) }, r)
		mustAccept(t, a, s, goodToken.id)
		assert.Equal(t, query, s.request.URL.RawQuery, "it is the application's")
		assert.Equal(t, http.Header{"Vary": {"Authorization"}}, a.header)
	}
}

func TestARouteCanRefuseQueryTokens(t *testing.T) {
	g := newRig(t)
	const detail = "does not accept an API token in the query"
	for _, guard := range []func(http.Handler) http.Handler{
		g.Guard(apitoken.All(wireRead).HeaderOnly()),
		func(h http.Handler) http.Handler {
			return g.HideQueryToken(g.Guard(apitoken.All(wireRead).HeaderOnly())(h))
		},
	} {
		a, s := askGuard(t, guard, newRequest("/", "apiToken "+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
		g.event(t)
		before := g.store.calls()
		for _, c := range []struct{ query, detail string }{
			{"apiToken=" + goodToken.text, detail}, {"api%54oken=" + goodToken.text, detail}, {"apiToken=" + expiredToken.text, detail},
			{"apiToken=", "empty"}, {"apiToken=x&apiToken=y", "more than once"},
		} {
			a, s = askGuard(t, guard, newRequest("/?"+c.query))
			mustRefuse(t, a, s, invalidRequest, c.detail)
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrMalformed, ev.Reason)
			assert.Equal(t, apitoken.QueryParameter("apiToken"), ev.Source)
		}
		assert.Equal(t, before, g.store.calls())
		a, s = askGuard(t, guard, newRequest("/"))
		mustRefuse(t, a, s, asksForToken, "")
		g.event(t)
		a, s = askGuard(t, guard, newRequest("/?apiToken="+goodToken.text, "apiToken "+goodToken.text))
		mustRefuse(t, a, s, invalidRequest, "more than one way")
		g.event(t)
	}
	a, s := askGuard(t, g.Guard(apitoken.All(wireRead)), newRequest("/?apiToken="+goodToken.text))
	mustAccept(t, a, s, goodToken.id)

	requirement := apitoken.All(wireRead)
	requirement.HeaderOnly()
	_, err := g.Check(newRequest("/?apiToken="+goodToken.text), requirement)
	assert.NoError(t, err, "HeaderOnly returns another requirement and does not change the first")
}

func TestSchemeParameterAndRealmCanBeConfigured(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.Accept, c.Realm = []apitoken.Source{apitoken.Scheme("Api-Key"), apitoken.QueryParameter("api_key")}, "Acme \"prod\" \\ eu"
	})
	for _, field := range []string{"Api-Key ", "api-key ", "API-KEY  "} {
		a, s := g.ask(t, newRequest("/", field+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	}
	a, s := g.ask(t, newRequest("/?b=1&api%5Fkey="+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	assert.Equal(t, "b=1", s.request.URL.RawQuery)

	const plain = `Api-Key realm="Acme \"prod\" \\ eu"`
	for _, c := range []struct {
		name, challenge string
		r               *http.Request
		requirement     apitoken.Requirement
	}{
		{"nothing", plain, newRequest("/"), apitoken.AnyToken()},
		{"the default scheme, which is foreign now", plain, newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken()},
		{"the default parameter, which is another's now", plain, newRequest("/?apiToken=" + goodToken.text), apitoken.AnyToken()},
		{"the parameter in another case", plain, newRequest("/?API_KEY=" + goodToken.text), apitoken.AnyToken()},
		{"the beginning of the scheme", plain, newRequest("/", "Api "+goodToken.text), apitoken.AnyToken()},
		{"malformed", plain + `, error="invalid_request"`, newRequest("/", "Api-Key"), apitoken.AnyToken()},
		{"not valid", plain + `, error="invalid_token"`, newRequest("/", "Api-Key "+expiredToken.text), apitoken.AnyToken()},
		{"not enough", plain + `, error="insufficient_scope", scope="devices:write"`, newRequest("/", "Api-Key "+goodToken.text), apitoken.All(wireWrite)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := askGuard(t, g.Guard(c.requirement), c.r)
			assert.Zero(t, s.called())
			assert.Equal(t, []string{c.challenge}, a.header["Www-Authenticate"])
		})
	}
}

func TestLettersOfASchemeFoldAndNothingElseDoes(t *testing.T) {
	const letters, others = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "09!#$%&'*+-.^_`|~"
	for _, scheme := range []string{letters + others, strings.ToLower(letters) + others} {
		g := newRig(t, accepting(apitoken.Scheme(scheme)))
		for _, spelling := range []string{scheme, swapCase(scheme), strings.ToUpper(scheme), strings.ToLower(scheme)} {
			a, s := g.ask(t, newRequest("/", spelling+" "+goodToken.text))
			mustAccept(t, a, s, goodToken.id)
		}
		for i := range scheme {
			other := scheme[:i] + string(rune(scheme[i]^0x20)) + scheme[i+1:] // what sets letters apart by case
			if strings.EqualFold(other, scheme) {
				continue
			}
			a, s := g.ask(t, newRequest("/", other+" "+goodToken.text))
			assert.Equal(t, 401, a.status, other)
			assert.Zero(t, s.called(), other)
		}
	}
}

func TestBearerCanBeAcceptedBesideAndTheChallengeNamesWhatWasPresented(t *testing.T) {
	g := newRig(t, accepting(apitoken.Scheme("apiToken"), apitoken.Bearer(), apitoken.QueryParameter("apiToken")))
	for _, field := range []string{"Bearer ", "bearer ", "BEARER ", "apiToken "} {
		a, s := g.ask(t, newRequest("/", field+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	}
	const both = `apiToken realm="api", Bearer realm="api"`
	for _, c := range []struct{ name, target, field, challenge string }{
		{"nothing", "/", "", both},
		{"Basic", "/", "Basic x", both},
		{"not valid", "/", "Bearer " + expiredToken.text, `Bearer realm="api", error="invalid_token"`},
		{"not valid, ours", "/", "apiToken " + expiredToken.text, `apiToken realm="api", error="invalid_token"`},
		{"not valid, in the query", "/?apiToken=" + expiredToken.text, "", `apiToken realm="api", error="invalid_token"`},
		{"malformed", "/", "Bearer " + goodToken.text + " x", `Bearer realm="api", error="invalid_request"`},
		{"Bearer without a token", "/", "Bearer", both},
		{"malformed, ours", "/", "apiToken", `apiToken realm="api", error="invalid_request"`},
		{"a JWT, which is another's", "/", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", both},
		{"a long JWT", "/", "Bearer eyJhbGciOiJub25lIn0." + strings.Repeat("eyJzdWIiOiJhZGEifQ", 100), both},
		{"ours, but too long", "/", "Bearer acme_" + strings.Repeat("a", 2000), `Bearer realm="api", error="invalid_request"`},
		{"not enough", "/", "Bearer " + lackingToken.text, `Bearer realm="api", error="insufficient_scope", scope="devices:read"`},
		{"beside a parameter", "/?apiToken=" + goodToken.text, "Bearer " + goodToken.text, `Bearer realm="api", error="invalid_request"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest(c.target)
			if c.field != "" {
				r.Header.Set("Authorization", c.field)
			}
			a, s := g.ask(t, r)
			assert.Zero(t, s.called())
			assert.Equal(t, c.challenge, strings.Join(a.header["Www-Authenticate"], ", "))
		})
	}
	a, s := g.ask(t, newRequest("/", "Bearer "+goodToken.text, "apiToken "+goodToken.text))
	assert.Zero(t, s.called())
	assert.Equal(t, `Bearer realm="api", error="invalid_request"`, a.header.Get("WWW-Authenticate"), "one challenge, of the first that is ours")
	a, s = g.ask(t, newRequest("/", "Basic x", "Bearer "+goodToken.text))
	assert.Zero(t, s.called())
	assert.Equal(t, `Bearer realm="api", error="invalid_request"`, a.header.Get("WWW-Authenticate"))
}

func TestBearerCanBeTheOnlyScheme(t *testing.T) {
	g := newRig(t, accepting(apitoken.Scheme("bearer")))
	a, s := g.ask(t, newRequest("/", "Bearer "+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	a, s = g.ask(t, newRequest("/", "apiToken "+goodToken.text))
	assert.Zero(t, s.called())
	assert.Equal(t, []string{`bearer realm="api"`}, a.header["Www-Authenticate"])
}

// Every name of the parameter that New accepts means the same to us as to
// url.ParseQuery, or the token would stay where others find it.
func TestEveryParameterThatNewAcceptsIsComparedDecoded(t *testing.T) {
	for _, name := range []string{"api_key", "api-key", "api.key", "api~key", "k", "*", "api+key", "api%20key", "%61", "a&b", "#"} {
		t.Run(name, func(t *testing.T) {
			_, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, Store: newRig(t).store, Accept: []apitoken.Source{apitoken.QueryParameter(name)}})
			if err != nil {
				assert.ErrorContains(t, err, "Config.Accept")
				return
			}
			g := newRig(t, accepting(apitoken.QueryParameter(name)))
			for _, spelling := range []string{name, url.QueryEscape(name), everyByteEscaped(name)} {
				r := newRequest("/?" + strings.ReplaceAll(spelling, "#", "%23") + "=" + goodToken.text)
				named := r.URL.Query().Has(name)
				a, s := g.ask(t, r)
				if named {
					mustAccept(t, a, s, goodToken.id)
					assert.Empty(t, s.request.URL.RawQuery)
				} else {
					mustRefuse(t, a, s, asksForToken, "")
				}
			}
		})
	}
}

func everyByteEscaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func TestAQueryThatNamesTheParameterParsesIfNetURLSaysSo(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
	others := []string{"", "=", "a", "%", "%4", "a=%", "a=%4", "%41", "a=%41%", "a=%41%4", "a=%25zz", "a=%%41", "a=%41%42", "a=%u0041", "a=+", "a b", "a;b", "%3B", "é", "\xff"}
	for c := range 256 {
		b := string([]byte{byte(c)})
		others = append(others, "a=%"+b+"0", "%0"+b, "a=%"+b, b)
	}
	for _, other := range others {
		if strings.HasPrefix(other, "&") {
			continue
		}
		for _, query := range []string{"apiToken=" + goodToken.text + "&" + other, other + "&apiToken=" + goodToken.text} {
			_, notParsed := url.ParseQuery(query)
			_, err := g.Check(bare(query, nil), apitoken.AnyToken())
			assert.Equal(t, notParsed != nil, errors.Is(err, apitoken.ErrMalformed), "%q", query)
			assert.Equal(t, notParsed == nil, err == nil, "%q", query)
		}
	}
}

// HideQueryToken stands before everything else, so anybody can make it work.
func TestAHugeQueryCostsNoMoreMemoryThanItIsLong(t *testing.T) {
	hasNoRaces(t)
	g := newRig(t)
	const mib = 1 << 20
	for _, c := range []struct {
		name, query string
		most        uint64 // bytes allocated
	}{
		{"ampersands", strings.Repeat("&", mib), mib / 16},
		{"pairs", strings.Repeat("a&", mib/2), mib / 16},
		{"ampersands and a token", "apiToken=" + goodToken.text + strings.Repeat("&", mib), 4 * mib},
		{"pairs and a token", strings.Repeat("a&", mib/2) + "apiToken=" + goodToken.text, 4 * mib},
		{"the parameter", strings.Repeat("apiToken&", mib/9), 8 * mib},
		{"escaped names and a token", strings.Repeat("%61%61%61%61%61%61%61%61&", mib/25) + "apiToken=" + goodToken.text, 8 * mib},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := bare(c.query, nil)
			var clean *http.Request
			var err error
			_, size := allocated.Per(1, func() {
				clean = g.WithoutQueryToken(r)
				_, err = g.Check(clean, apitoken.AnyToken())
			})
			assert.LessOrEqual(t, size, c.most, "bytes allocated")
			assert.NotContains(t, clean.URL.RawQuery, "apiToken")
			assert.Equal(t, strings.Contains(c.query, "apiToken"), !errors.Is(err, apitoken.ErrNoToken))
		})
	}
}

func TestAnOuterHandlerStillHasItsOwnRequest(t *testing.T) {
	g := newRig(t)
	type key struct{}
	outer := newRequest("/?apiToken=" + goodToken.text)
	outer = outer.WithContext(context.WithValue(outer.Context(), key{}, "value"))
	body := bytes.NewBufferString("body")
	outer.Body = io.NopCloser(body)
	outer.SetPathValue("id", "7")
	clean := g.WithoutQueryToken(outer)
	require.NotSame(t, outer, clean)
	assert.NotSame(t, outer.URL, clean.URL)
	assert.Equal(t, "value", clean.Context().Value(key{}))
	assert.Equal(t, "7", clean.PathValue("id"))
	assert.Equal(t, outer.Body, clean.Body)
	assert.Equal(t, outer.Header, clean.Header)
}

func TestAQueryWithMorePairsThanNetURLTakesIsMalformedIfItNamesTheParameter(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		pairs int
		want  int
	}{{9_999, 204}, {10_000, 400}} {
		a, _ := g.ask(t, newRequest("/?"+strings.Repeat("a&", c.pairs)+"apiToken="+goodToken.text))
		assert.Equal(t, c.want, a.status, "%d pairs before it", c.pairs)
	}
}

func TestTheParameterIsTakenOutInTimeProportionalToTheQuery(t *testing.T) {
	hasNoRaces(t)
	g := newRig(t)
	r := newRequest("/?" + strings.Repeat("apiToken=x&a=b&", 100_000))
	start := time.Now()
	clean := g.WithoutQueryToken(r)
	assert.Less(t, time.Since(start), time.Minute) // milliseconds on a machine that is not busy; it took minutes when each was cut out of the whole
	assert.Equal(t, strings.Repeat("a=b&", 100_000), clean.URL.RawQuery)
}

// Some services take a token as the user name of Basic. We do not: the answer is
// that of a request without a token, and the next handler may have its own Basic.
func TestATokenAsUserNameOrPasswordOfBasicIsNoToken(t *testing.T) {
	g := newRig(t, accepting(apitoken.Scheme("apiToken"), apitoken.Bearer(), apitoken.QueryParameter("apiToken")))
	for _, both := range [][2]string{
		{goodToken.text, ""}, {goodToken.text, "x"}, {goodToken.text, goodToken.text}, {"", goodToken.text}, {"apiToken", goodToken.text},
	} {
		r := newRequest("/")
		r.SetBasicAuth(both[0], both[1])
		_, err := g.Check(r, apitoken.AnyToken())
		assert.ErrorIs(t, err, apitoken.ErrNoToken)
		a, s := g.ask(t, r)
		assert.Equal(t, http.StatusUnauthorized, a.status)
		assert.Zero(t, s.called())
	}
}

// Padding is a part of a token68, and so of what was presented: the same text with
// more of it is another one.
func TestATokenWithPaddingAppendedIsRefused(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} })
	for _, imported := range []string{"8as7bf9a8s7498svaps8dfabsf", "c2VjcmV0IG9mIGFub3RoZXIgc3lzdGVt="} {
		_, err := g.As(ada).Import(t.Context(), apitoken.ImportParams{
			GenerateParams: apitoken.GenerateParams{Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}, Secret: apitoken.NewSecret(imported),
		})
		require.NoError(t, err)
		for _, text := range []string{imported, goodToken.text} {
			_, err := g.Check(newRequest("/", "apiToken "+text), apitoken.All(wireRead))
			require.NoError(t, err)
			for _, padding := range []string{"=", "==", "==="} {
				_, err := g.Check(newRequest("/", "apiToken "+text+padding), apitoken.All(wireRead))
				assert.ErrorIs(t, err, apitoken.ErrUnknownToken)
				_, err = g.Check(newRequest("/?apiToken="+url.QueryEscape(text+padding)), apitoken.All(wireRead))
				assert.ErrorIs(t, err, apitoken.ErrUnknownToken)
			}
		}
	}
}
