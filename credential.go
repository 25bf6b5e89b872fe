package apitoken

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// A credential is what a request presents.
type credential struct {
	text   string
	via    Transport // "" if there was none
	scheme int       // index of the scheme it was presented with, for the challenge
	fault  string    // why it is malformed; "" if it is not
}

// Faults, as clients are told them.
const (
	faultTwoHeaders = "The request has more than one Authorization field."
	faultTwoParams  = "The query parameter for the API token is given more than once."
	faultBoth       = "The request has an API token both in the Authorization field and in the query."
	faultNoToken    = "The authentication scheme is not followed by a space and an API token."
	faultTooLong    = "The API token is too long."
	faultSyntax     = "The API token contains a character that is not allowed (RFC 9110 section 11.2, token68)."
	faultEmpty      = "The query parameter for the API token is empty."
	faultQuery      = "The query cannot be parsed."
	faultHeaderOnly = "This resource accepts an API token in the Authorization field only."
)

// credential finds what a request presents: in Authorization fields of our
// schemes and in the query parameter, and nowhere else.
func (a *Authority) credential(r *http.Request) credential {
	header := a.fromHeader(r.Header["Authorization"])
	if a.config.NoQueryToken {
		return header
	}
	query := fromQuery(r.URL.RawQuery, a.config.Parameter)
	if moved, ok := r.Context().Value(movedKey{a}).(*movedContext); ok {
		if query.via == "" {
			query = moved.query
		} else {
			query = credential{via: InQuery, fault: faultTwoParams}
		}
	}
	switch {
	case query.via == "":
		return header
	case header.via == "":
		return query
	}
	return credential{via: InHeader, scheme: header.scheme, fault: faultBoth}
}

// A scheme is an authentication scheme that we answer to.
type scheme struct {
	lower string
	// the values of WWW-Authenticate; scopes follow the last
	none, malformed, invalid, scope string
}

func newScheme(name, realm string) scheme {
	plain := name + ` realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`
	return scheme{
		lower:     lowerASCII(name),
		none:      plain,
		malformed: plain + `, error="invalid_request"`,
		invalid:   plain + `, error="invalid_token"`,
		scope:     plain + `, error="insufficient_scope"`,
	}
}

// fromHeader judges the values of the Authorization fields. Fields with other
// schemes do not concern us, unless one of ours is among several.
func (a *Authority) fromHeader(fields []string) credential {
	found := credential{}
	for _, field := range fields {
		if i := a.schemeOf(field); i >= 0 {
			if len(fields) > 1 {
				return credential{via: InHeader, scheme: i, fault: faultTwoHeaders}
			}
			found = fromField(field[len(a.schemes[i].lower):])
			found.scheme = i
		}
	}
	return found
}

// schemeOf returns the index of the scheme that an Authorization value begins
// with, -1 if it is none of ours. The name of a scheme is compared as ASCII
// (strings.EqualFold takes the Kelvin sign for a k) and ends where a token
// (RFC 9110 section 5.6.2) ends.
func (a *Authority) schemeOf(field string) int {
	for i := range a.schemes {
		name := a.schemes[i].lower
		if len(field) >= len(name) && equalFoldASCII(field[:len(name)], name) &&
			(len(field) == len(name) || !tokenByte[field[len(name)]]) {
			return i
		}
	}
	return -1
}

// fromField judges what follows the name of our scheme: one or more spaces and
// a token, and nothing after it.
func fromField(rest string) credential {
	c := credential{via: InHeader}
	switch {
	case len(rest) > 2*maxText: // before the spaces are counted
		c.fault = faultTooLong
	case rest == "" || rest[0] != ' ':
		c.fault = faultNoToken
	default:
		c.text = strings.TrimLeft(rest, " ")
		c.fault = faultIn(c.text, faultNoToken)
	}
	return c
}

// faultIn checks that a presented text is of the form that a token may have:
// token68 (RFC 9110 section 11.2), not too long.
func faultIn(text, empty string) string {
	switch {
	case text == "":
		return empty
	case len(text) > maxText:
		return faultTooLong
	}
	body := strings.TrimRight(text, "=")
	if body == "" {
		return faultSyntax
	}
	for i := range len(body) {
		if !token68Byte[body[i]] {
			return faultSyntax
		}
	}
	return ""
}

// fromQuery judges the query parameter. Names are compared after percent
// decoding; only & separates. A query that does not parse is malformed if it
// names the parameter, and otherwise not ours to judge.
func fromQuery(query, parameter string) credential {
	c := credential{}
	for pair := range pairs(query) {
		value, ours := cutParameter(pair, parameter)
		switch {
		case !ours:
			continue
		case c.via != "":
			return credential{via: InQuery, fault: faultTwoParams}
		}
		c.via = InQuery
		if len(value) > 3*maxText {
			c.fault = faultTooLong
			continue
		}
		text, err := url.QueryUnescape(value)
		if err != nil || strings.Contains(value, ";") {
			c.fault = faultQuery
			continue
		}
		c.text = text
		c.fault = faultIn(text, faultEmpty)
	}
	if c.via != "" && c.fault == "" && !parses(query) {
		c.fault = faultQuery
	}
	return c
}

// parses reports whether url.ParseQuery takes a query, without building what it
// builds.
func parses(query string) bool {
	if strings.Contains(query, ";") {
		return false
	}
	for {
		i := strings.IndexByte(query, '%')
		if i < 0 {
			return true
		}
		if len(query) < i+3 || !isHex(query[i+1]) || !isHex(query[i+2]) {
			return false
		}
		query = query[i+3:]
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// withoutParameter returns a query without the parameter; the rest keeps its
// order and spelling.
func withoutParameter(query, parameter string) string {
	var kept strings.Builder
	copied, end := 0, 0 // query[copied:end] is to be kept
	found, last := false, false
	for pair := range pairs(query) {
		if _, last = cutParameter(pair, parameter); last {
			kept.WriteString(query[copied:end])
			copied, found = end+len(pair)+1, true
		}
		end += len(pair) + 1 // with the ampersand
	}
	switch {
	case !found:
		return query
	case last: // the ampersand before it goes, too
		return strings.TrimSuffix(kept.String(), "&")
	}
	kept.WriteString(query[copied:])
	return kept.String()
}

// pairs yields the parts of a query between ampersands.
func pairs(query string) func(func(string) bool) {
	if query == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(query, "&")
}

// cutParameter returns the undecoded value of a pair of a query, and whether
// its name is that of the parameter.
func cutParameter(pair, parameter string) (value string, ours bool) {
	name, value, _ := strings.Cut(pair, "=")
	if name == parameter {
		return value, true
	}
	if len(name) <= len(parameter) || len(name) > 3*len(parameter) || !strings.Contains(name, "%") {
		return "", false
	}
	decoded, err := url.QueryUnescape(name)
	return value, err == nil && decoded == parameter
}

// A movedContext carries a credential that was taken out of the query.
type movedContext struct {
	context.Context
	key   movedKey
	query credential
}

type movedKey struct{ a *Authority }

func (c *movedContext) Value(key any) any {
	if key == any(c.key) {
		return c
	}
	return c.Context.Value(key)
}

// Scrub returns the request without the query parameter: it is taken out of
// URL, RequestURI and, if that was parsed, Form, and remembered in the context,
// where Check, the middleware and Verify of the same Authority find it. r is not
// changed, and returned as it is if it does not have the parameter.
func (a *Authority) Scrub(r *http.Request) *http.Request {
	if !a.ready() {
		return r
	}
	name := a.config.Parameter
	query := withoutParameter(r.URL.RawQuery, name)
	path, uriQuery, _ := strings.Cut(r.RequestURI, "?")
	uriScrubbed := withoutParameter(uriQuery, name)
	if a.config.NoQueryToken || query == r.URL.RawQuery && uriScrubbed == uriQuery {
		return r
	}
	c := credential{}
	if moved, ok := r.Context().Value(movedKey{a}).(*movedContext); ok {
		c = moved.query
	}
	if found := fromQuery(r.URL.RawQuery, name); c.via == "" {
		c = found
	} else if found.via != "" {
		c = credential{via: InQuery, fault: faultTwoParams}
	}
	clean := r.WithContext(&movedContext{r.Context(), movedKey{a}, c})
	u := *r.URL
	u.RawQuery = query
	u.ForceQuery = false
	clean.URL = &u
	if uriScrubbed != uriQuery {
		clean.RequestURI = path
		if uriScrubbed != "" {
			clean.RequestURI += "?" + uriScrubbed
		}
	}
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
// the middleware inside. Put it outermost: around access logs, which would
// write the token, and around http.ServeMux, which would repeat it in the
// Location of a redirect to a cleaned path.
func (a *Authority) HideQueryToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, a.Scrub(r))
	})
}

func equalFoldASCII(s, lower string) bool {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// tokenByte and token68Byte are the bytes of token (RFC 9110 section 5.6.2)
// and of token68 before its padding (section 11.2).
var tokenByte, token68Byte = byteSet("!#$%&'*+-.^_`|~"), byteSet("-._~+/")

func byteSet(more string) (set [256]bool) {
	for i := range set {
		set[i] = isAlnum(byte(i)) || strings.IndexByte(more, byte(i)) >= 0
	}
	return set
}

func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}
