package apitoken

import (
	"net/http"
	"net/url"
	"strings"
)

// A movedContext carries a credential that was taken out of the query.
type movedContext struct {
	tokenContext
	key   movedKey
	query func() rawCredential // a pointer would be followed by fmt, which would print the token
}

type movedKey struct{ a *Authority }

func (c *movedContext) Value(key any) any {
	if key == any(c.key) {
		return c
	}
	return c.tokenContext.Value(key)
}

// WithoutQueryToken returns the request without the query parameter: it is taken out of
// URL, RequestURI and, if that was parsed, Form, and remembered in the context,
// where Check and the middleware of the same Authority find it. Of any other token
// of ours in the query, under a misspelt name for instance, only the display ID is
// left in URL and RequestURI, also with Config.NoQueryToken. r is not changed, and
// returned as it is if there is nothing to take out.
func (a *Authority) WithoutQueryToken(r *http.Request) *http.Request {
	if !a.ready() {
		return r
	}
	r = a.withoutQueryToken(r, Token{}, nil)
	query, uri := a.grammar.redact(r.URL.RawQuery), r.RequestURI
	if path, asked, _ := strings.Cut(uri, "?"); asked == r.URL.RawQuery {
		if query != asked {
			uri = path + "?" + query
		}
	} else if public := a.grammar.redact(asked); public != asked {
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

// redact leaves of each token in a query its prefix and ID, which are no secret:
// logs then say which token it was. A token may stand anywhere, with any of its
// characters percent-encoded.
func (g grammar) redact(query string) string {
	var kept strings.Builder
	copied := 0 // of query
	for at := 0; at < len(query); {
		public, n := "", 0
		if query[at] == g.prefix[0] || query[at] == '%' {
			public, n = g.tokenAt(query[at:])
		}
		if n == 0 {
			at++
			continue
		}
		kept.WriteString(query[copied:at])
		kept.WriteString(public)
		at += n
		copied = at
	}
	if copied == 0 {
		return query
	}
	kept.WriteString(query[copied:])
	return kept.String()
}

// tokenAt returns the prefix and ID of the token that a query begins with, and in
// how many bytes it stands there; 0 if it begins with none.
func (g grammar) tokenAt(query string) (public string, n int) {
	var text [maxText]byte
	length := len(g.prefix) + bodyLen
	for i := range length {
		if n == len(query) {
			return "", 0
		}
		c, width := query[n], 1
		if c == '%' && len(query) >= n+3 && isHex(query[n+1]) && isHex(query[n+2]) {
			c, width = unhex(query[n+1])<<4|unhex(query[n+2]), 3
		}
		if i < len(g.prefix) && c != g.prefix[i] || i >= len(g.prefix) && !base62Byte.has(c) {
			return "", 0
		}
		text[i] = c
		n += width
	}
	if _, _, ok := g.parse(string(text[:length])); !ok {
		return "", 0
	}
	return string(text[:len(g.prefix)+idLen]), n
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// withoutQueryToken is WithoutQueryToken, and puts a token into the context unless that is zero: with one
// copy of the request for both. c is what is in the query, if that is known.
func (a *Authority) withoutQueryToken(r *http.Request, tok Token, c *rawCredential) *http.Request {
	if !a.ready() || a.config.NoQueryToken {
		return r
	}
	name := a.config.Parameter
	begin := strings.IndexByte(r.RequestURI, '?') + 1
	if begin == 0 {
		begin = len(r.RequestURI)
	}
	uri := withoutParameter(r.RequestURI, begin, name)
	if len(uri) == begin && uri != r.RequestURI { // nothing but the question mark is left
		uri = uri[:begin-1]
	}
	var query string
	if r.RequestURI[begin:] == r.URL.RawQuery {
		query = uri[min(begin, len(uri)):]
	} else {
		query = withoutParameter(r.URL.RawQuery, 0, name)
	}
	if uri == r.RequestURI && query == r.URL.RawQuery {
		if tok.IsZero() {
			return r
		}
		return r.WithContext(&tokenContext{Context: r.Context(), token: tok})
	}
	if c == nil {
		found := a.inQuery(r)
		c = &found
	}
	if !a.moves.Load() {
		a.moves.Store(true)
	}
	moved := *c // captured by value
	clean := r.WithContext(&movedContext{tokenContext{Context: r.Context(), token: tok}, movedKey{a}, func() rawCredential { return moved }})
	u := *r.URL
	u.RawQuery, u.ForceQuery = query, false
	clean.URL, clean.RequestURI = &u, uri
	if _, parsed := r.Form[name]; parsed {
		form := make(url.Values, len(r.Form))
		for k, v := range r.Form {
			form[k] = v
		}
		delete(form, name)
		if body, ok := r.PostForm[name]; ok {
			form[name] = body
		}
		clean.Form = form
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

// withoutParameter returns a URI, whose query begins at begin, without the
// parameter; the rest keeps its order and spelling.
func withoutParameter(uri string, begin int, parameter string) string {
	var kept strings.Builder
	copied := 0 // of uri
	for at := begin; at < len(uri); {
		end := len(uri)
		if i := strings.IndexByte(uri[at:], '&'); i >= 0 {
			end = at + i
		}
		if _, ours := cutParameter(uri[at:end], parameter); ours {
			if end == len(uri) { // the ampersand or question mark before it goes, too
				if copied == 0 {
					return uri[:max(at-1, 0)]
				}
				kept.WriteString(uri[copied:at])
				return kept.String()[:max(kept.Len()-1, 0)]
			}
			kept.WriteString(uri[copied:at])
			copied = end + 1
		}
		at = end + 1
	}
	if copied == 0 {
		return uri
	}
	kept.WriteString(uri[copied:])
	return kept.String()
}
