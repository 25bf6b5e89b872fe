package apitoken_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

// Clients misspell the parameter, and paste tokens into search fields.
func TestATokenThatOnlyTheRequestURIHasIsRedacted(t *testing.T) {
	g := newRig(t)
	r := newRequest("/p?a=1")
	r.RequestURI = "/p?token=" + goodToken.text // as a middleware leaves it that edits URL only
	clean := g.WithoutQueryToken(r)
	assert.Equal(t, "/p?token="+goodToken.text[:len(goodToken.text)-43-6], clean.RequestURI)
	assert.Equal(t, "a=1", clean.URL.RawQuery)
}

func TestHideQueryTokenLeavesOfAnyTokenInTheQueryItsDisplayIDOnly(t *testing.T) {
	display := goodToken.text[:len(goodToken.text)-43-6]
	text, encoded := goodToken.text, ""
	for _, c := range []byte(goodToken.text) {
		encoded += fmt.Sprintf("%%%02x", c)
	}
	foreign := strings.Replace(text, "acme_", "other_", 1)
	broken := text[:len(text)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(text, "0")]
	for _, c := range []struct{ name, query, want string }{
		{"a misspelt name", "apitoken=" + text, "apitoken=" + display},
		{"in the middle", "a=1&token=" + text + "&b=%zz", "a=1&token=" + display + "&b=%zz"},
		{"twice", "a=" + text + "&b=" + text, "a=" + display + "&b=" + display},
		{"a name of its own", text, display},
		{"within another text", "q=Bearer+x" + text + "y", "q=Bearer+x" + display + "y"},
		{"within another URL", "to=" + url.QueryEscape("https://h/?apiToken="+text), "to=" + url.QueryEscape("https://h/?apiToken=") + display},
		{"after a semicolon", "a=1;apiToken=" + text, "a=1;apiToken=" + display},
		{"its underscore encoded", "a=" + strings.ReplaceAll(text, "_", "%5F"), "a=" + display},
		{"all of it encoded", "a=" + encoded, "a=" + display},
		{"all of it encoded in upper case", "a=" + strings.ToUpper(encoded), "a=" + display},
		{"of another prefix", "a=" + foreign, "a=" + foreign},
		{"without a right checksum", "a=" + broken, "a=" + broken},
		{"cut off", "a=" + text[:len(text)-1], "a=" + text[:len(text)-1]},
		{"a display ID", "a=" + display, "a=" + display},
		{"half an escape", "a=acme%5", "a=acme%5"},
		{"the parameter too", "apiToken=" + text + "&apitoken=" + text, "apitoken=" + display},
	} {
		for _, off := range []bool{false, true} {
			g := newRig(t, func(c *apitoken.Config) {
				if off {
					c.Accept = []apitoken.Source{apitoken.Bearer()}
				}
			})
			want := c.want
			if c.name == "the parameter too" && off {
				want = "apiToken=" + display + "&" + want
			}
			r := newRequest("/p?" + c.query)
			clean := g.WithoutQueryToken(r)
			assert.Equal(t, want, clean.URL.RawQuery, c.name)
			assert.Equal(t, "/p?"+want, clean.RequestURI, c.name)
			assert.Equal(t, c.query, r.URL.RawQuery, "the outer handler's is not touched")
			assert.Same(t, clean, g.WithoutQueryToken(clean))
		}
	}

	g := newRig(t)
	var s spy
	g.HideQueryToken(g.Require(wireRead)(&s)).ServeHTTP(httptest.NewRecorder(), newRequest("/?q="+text, "apiToken "+text))
	require.Equal(t, 1, s.called())
	assert.Equal(t, "q="+display, s.request.URL.RawQuery)
	r := newRequest("/?q=" + text)
	assert.Same(t, r, new(apitoken.Authority).WithoutQueryToken(r))
}

func TestLookingForTokensCostsNoMoreThanTheQueryIsLong(t *testing.T) {
	hasNoRaces(t)
	g := newRig(t)
	const mib = 1 << 20
	for _, part := range []string{"a", "%", "acme_", "acme%5f", "acme_" + strings.Repeat("0", 66)} {
		r := newRequest("/")
		r.URL.RawQuery = strings.Repeat(part, mib/len(part))
		var clean *http.Request
		_, size := allocated.Per(1, func() { clean = g.WithoutQueryToken(r) })
		assert.Same(t, r, clean)
		assert.LessOrEqual(t, size, uint64(2*mib), part)
	}
}

func TestHasCredentialDecidesAndCountsNothing(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		target string
		fields []string
		want   bool
	}{
		{"/", nil, false}, {"/?a=1", []string{"Basic x"}, false}, {"/", []string{"apiToken " + goodToken.text}, true}, {"/", []string{"apiToken"}, true},
		{"/?apiToken=", nil, true}, {"/?apiToken=" + expiredToken.text, nil, true}, {"/?apiToken=%zz", nil, true},
	} {
		assert.Equal(t, c.want, g.HasCredential(newRequest(c.target, c.fields...)), c.target)
		assert.Equal(t, c.want, g.HasCredential(g.WithoutQueryToken(newRequest(c.target, c.fields...))), c.target)
	}
	for reason, n := range g.Stats().Refused {
		assert.Zero(t, n, reason)
	}
	assert.False(t, new(apitoken.Authority).HasCredential(newRequest("/", "apiToken "+goodToken.text)))
}

// Who puts HideQueryToken around an access log wants the token kept from it,
// also if the log prints the context.
func TestTheContextOfAHiddenTokenDoesNotShowIt(t *testing.T) {
	g := newRig(t)
	c := newCanaries(t)
	c.token("the token", apitoken.NewSecret(goodToken.text))
	show := func(ctx context.Context) {
		for _, verb := range everyVerb {
			if text := fmt.Sprintf(verb, ctx); c.in(text) != nil {
				t.Errorf("%s shows %q: %.200s", verb, c.in(text), text)
				break
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("request", "ctx", ctx)
		assert.Empty(t, c.in(log.String()))
	}
	s := &spy{do: func(_ http.ResponseWriter, r *http.Request) { show(r.Context()) }}
	g.HideQueryToken(s).ServeHTTP(httptest.NewRecorder(), newRequest("/?apiToken="+goodToken.text))
	require.Equal(t, 1, s.called())
	g.HideQueryToken(g.Require(wireRead)(s)).ServeHTTP(httptest.NewRecorder(), newRequest("/?apiToken="+goodToken.text))
	require.Equal(t, 2, s.called())
}

func TestHidingTheParameterFromNoHandlerPanics(t *testing.T) {
	g := newRig(t)
	assert.Panics(t, func() { g.HideQueryToken(nil) })
}
