package apitoken

import (
	"maps"
	"net/http"
	"strings"

	"github.com/apitoken-go/apitoken/internal/rawquery"
)

// A movedContext carries a credential that was taken out of the query.
type movedContext struct {
	tokenContext
	key   movedKey
	query func() rawCredential // a pointer would be followed by fmt, which would print the token
}

type movedKey struct{ p *credentials }

func (c *movedContext) Value(key any) any {
	if key == any(c.key) {
		return c
	}
	return c.tokenContext.Value(key)
}

// WithoutQueryToken returns the request without the query parameters of Config.Accept: they are taken out of
// URL, RequestURI and, if that was parsed, Form, and the token is remembered in the context,
// where Check and the middleware of the same Authority find it. Of any other token
// of ours in the query, under a misspelt name for instance, only the display ID is
// left in URL and RequestURI, also where Config.Accept has no parameter. r is not changed, and
// returned as it is if there is nothing to take out.
func (a *Authority) WithoutQueryToken(r *http.Request) *http.Request {
	if !a.ready() {
		return r
	}
	r = a.credentials.without(r, Token{}, nil)
	query, uri := a.credentials.grammar.Redact(r.URL.RawQuery), r.RequestURI
	if path, asked, _ := strings.Cut(uri, "?"); asked == r.URL.RawQuery {
		if query != asked {
			uri = path + "?" + query
		}
	} else if public := a.credentials.grammar.Redact(asked); public != asked {
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
func (p *credentials) without(r *http.Request, tok Token, c *rawCredential) *http.Request {
	if len(p.names) == 0 {
		return r
	}
	begin := strings.IndexByte(r.RequestURI, '?') + 1
	if begin == 0 {
		begin = len(r.RequestURI)
	}
	uri := rawquery.Without(r.RequestURI, begin, p.names)
	if len(uri) == begin && uri != r.RequestURI { // nothing but the question mark is left
		uri = uri[:begin-1]
	}
	var query string
	if r.RequestURI[begin:] == r.URL.RawQuery {
		query = uri[min(begin, len(uri)):]
	} else {
		query = rawquery.Without(r.URL.RawQuery, 0, p.names)
	}
	if uri == r.RequestURI && query == r.URL.RawQuery {
		if tok.IsZero() {
			return r
		}
		return r.WithContext(&tokenContext{Context: r.Context(), token: tok})
	}
	if c == nil {
		found := p.inQuery(r)
		c = &found
	}
	if !p.moved.Load() {
		p.moved.Store(true)
	}
	moved := *c // captured by value
	clean := r.WithContext(&movedContext{tokenContext{Context: r.Context(), token: tok}, movedKey{p}, func() rawCredential { return moved }})
	u := *r.URL
	u.RawQuery, u.ForceQuery = query, false
	clean.URL, clean.RequestURI = &u, uri
	if r.Form != nil {
		clean.Form = maps.Clone(r.Form)
		for _, name := range p.names {
			delete(clean.Form, name)
			if body, ok := r.PostForm[name]; ok {
				clean.Form[name] = body
			}
		}
	}
	return clean
}

// HideQueryToken takes the query parameter out of requests and hands it on to
// the middleware inside, and redacts what else of the query is a token
// ([Authority.WithoutQueryToken]). Put it outermost: around access logs, which would
// write the token, and around http.ServeMux, which would repeat it in the
// Location of a redirect to a cleaned path.
func (a *Authority) HideQueryToken(next http.Handler) http.Handler {
	if next == nil {
		panic("apitoken: " + caller() + ": HideQueryToken around no handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, a.WithoutQueryToken(r))
	})
}
