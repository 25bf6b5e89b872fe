package apitoken

import (
	"net/http"
	"strings"

	"github.com/apitoken-go/apitoken/internal/credential"
)

// A movedContext carries a credential that was taken out of the query.
type movedContext struct {
	tokenContext
	key   credential.MovedKey
	query func() credential.Found // a pointer would be followed by fmt, which would print the token
}

// Moved returns the credential, for the Reader that took it out.
func (c *movedContext) Moved() credential.Found { return c.query() }

func (c *movedContext) Value(key any) any {
	if key == any(c.key) {
		return c
	}
	return c.tokenContext.Value(key)
}

// WithoutQueryToken returns the request without the query parameters of Config.Accept.
// It removes them from URL, RequestURI and, if it was parsed, Form. The context keeps
// the token, where Check and the middleware of the same Authority find it. Of any other
// token of this service in the query, for instance under a misspelled name, only the
// display ID stays in URL and RequestURI. r does not change; it is returned itself if
// there is nothing to remove.
func (a *Authority) WithoutQueryToken(r *http.Request) *http.Request {
	if !a.ready() {
		return r
	}
	r = without(a.credentials, r, Token{}, nil)
	query, uri := a.decider.grammar.Redact(r.URL.RawQuery), r.RequestURI
	path, asked, _ := strings.Cut(uri, "?")
	if public := a.decider.grammar.Redact(asked); public != asked {
		uri = path + "?" + public
	}
	if query == r.URL.RawQuery && uri == r.RequestURI {
		return r
	}
	clean := r.WithContext(r.Context())
	u := *r.URL
	u.RawQuery = query
	clean.URL, clean.RequestURI = &u, uri
	return clean
}

// without takes the query parameter out of a request, and puts a token into its context
// unless that is zero: with one copy of the request for both. c is what is in the query,
// if that is known.
func without(p *credential.Reader, r *http.Request, tok Token, c *credential.Found) *http.Request {
	uri, query := p.Strip(r)
	if uri == r.RequestURI && query == r.URL.RawQuery {
		if tok.IsZero() {
			return r
		}
		return r.WithContext(&tokenContext{Context: r.Context(), token: tok})
	}
	if c == nil {
		found := p.InQuery(r)
		c = &found
	}
	if !p.Moved.Load() {
		p.Moved.Store(true)
	}
	moved := *c // captured by value
	clean := r.WithContext(&movedContext{tokenContext{Context: r.Context(), token: tok}, credential.MovedKey{Reader: p}, func() credential.Found { return moved }})
	u := *r.URL
	u.RawQuery, u.ForceQuery = query, false
	clean.URL, clean.RequestURI, clean.Form = &u, uri, p.StripForm(r)
	return clean
}

// HideQueryToken removes the query parameter from requests and passes its token to the
// middleware inside. It also redacts other tokens in the query, see
// [Authority.WithoutQueryToken]. Put it outermost: around access logs, which would write
// the token, and around [http.ServeMux], which would repeat the token in the Location of
// a redirect to a cleaned path.
func (a *Authority) HideQueryToken(next http.Handler) http.Handler {
	if next == nil {
		panic("apitoken: " + caller() + ": HideQueryToken around no handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, a.WithoutQueryToken(r))
	})
}
