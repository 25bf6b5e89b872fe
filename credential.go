package apitoken

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/rawquery"
)

// A Source is a way by which a token is presented. [Config].Accept has those that are
// read; the one by which a token came is recorded with its use, and is its text in logs,
// in the JSON API and in stores.
type Source string

// Direct is the Source of what does not come by [http.Request]; see [Authority.Verify].
const Direct Source = "direct"

// Scheme is the field Authorization with this authentication scheme, followed by spaces
// and the token. The case of the name does not matter in requests.
func Scheme(name string) Source { return Source(authorization + name) }

// Bearer is Scheme("Bearer"). JWTs and other texts that cannot be tokens of the service
// are not looked at, so that another login can take them.
func Bearer() Source { return Scheme("Bearer") }

// BasicPassword is the field Authorization with the scheme Basic (RFC 7617), for programs
// such as git that know user names and passwords only: the token is the password, and the
// user name is not looked at. Other passwords are not looked at either, so that another
// login can take them. A token as user name is not accepted.
func BasicPassword() Source { return Scheme("Basic") }

// BasicOwnerPassword is BasicPassword, where the user name has to be the owner of the
// token.
func BasicOwnerPassword() Source { return Scheme("Basic") + ownerName }

// HeaderField is a header field that has the token and nothing else, such as X-API-Key.
func HeaderField(name string) Source { return Source(http.CanonicalHeaderKey(name) + ":") }

// QueryParameter is a parameter of the query, whose name is compared with its case. URLs
// end up in logs and histories: see [Authority.HideQueryToken] and [Requirement.HeaderOnly].
func QueryParameter(name string) Source { return Source("?" + name) }

// Place returns where a Source is in a request: "header" with the name of the field, and
// with the scheme if that is Authorization; or "query" with the name of the parameter.
// All are empty for Direct.
func (s Source) Place() (in, name, scheme string) {
	text := string(s)
	if scheme, ok := strings.CutPrefix(text, authorization); ok {
		return "header", "Authorization", strings.TrimSuffix(scheme, ownerName)
	}
	if name, ok := strings.CutPrefix(text, "?"); ok {
		return "query", name, ""
	}
	if name, ok := strings.CutSuffix(text, ":"); ok {
		return "header", name, ""
	}
	return "", "", ""
}

// How the texts of sources begin or end.
const (
	authorization = "Authorization: "
	ownerName     = ", user name = owner"
)

// A way is a Source that is accepted, as it is looked for.
type way struct {
	source Source
	name   string // of the scheme in lower case, of the field, or of the parameter
	rank   uint8  // place in Config.Accept, from 1
	shared bool   // what cannot be a token of ours is somebody else's
	basic  bool
	owner  bool // the user name has to be the owner's
	scheme int  // index of its challenge
}

// A rawCredential is what a request presents.
type rawCredential struct {
	text  string
	way   *way  // nil if there was none
	fault fault // why it is malformed
	user  string
	query bool // the query has one, this or another

	// The parts of text if that is a token of ours.
	id, secret string
	ours       bool
}

// direct is the way of what came by Verify.
var direct = way{source: Direct}

// source returns how the credential was presented, "" if there was none.
func (c *rawCredential) source() Source {
	if c.way == nil {
		return ""
	}
	return c.way.source
}

func (c *rawCredential) inQuery() bool { return c.way != nil && c.way.source[0] == '?' }

// credentials finds what requests present.
type credentials struct {
	grammar grammar.Grammar
	first   bool // of several credentials the first counts

	ways       []way    // all of them, by rank
	schemes    []*way   // in the field Authorization
	challenges []string // their names
	fields     []*way   // in fields of their own
	parameters []*way   // in the query
	names      []string // of the parameters
	vary       string   // the fields that are read

	moved atomic.Bool // without has moved a token into a context
}

// newCredentials returns what finds credentials of these sources.
func newCredentials(g grammar.Grammar, accept []Source, first bool) *credentials {
	p := &credentials{grammar: g, first: first, ways: make([]way, len(accept))}
	var vary []string
	for i, source := range accept {
		w := &p.ways[i]
		w.source, w.rank = source, uint8(i+1)
		in, name, scheme := source.Place()
		switch {
		case in == "query":
			w.name = name
			p.parameters, p.names = append(p.parameters, w), append(p.names, name)
			continue
		case scheme == "":
			w.name = name
			p.fields = append(p.fields, w)
		default:
			w.name, w.scheme = grammar.Lower(scheme), len(p.schemes)
			w.basic, w.owner = w.name == "basic", strings.HasSuffix(string(source), ownerName)
			w.shared = w.basic || w.name == "bearer"
			p.schemes, p.challenges = append(p.schemes, w), append(p.challenges, scheme)
		}
		if !slices.Contains(vary, name) {
			vary = append(vary, name)
		}
	}
	p.vary = strings.Join(vary, ", ")
	return p
}

// checkSources returns what is wrong with a Config.Accept.
func checkSources(accept []Source) (mistakes []string) {
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	if len(accept) == 0 {
		wrong("is empty, so that no request could present a token; nil means the defaults")
	}
	if len(accept) > maxSources {
		wrong("has %d sources: at most %d are possible", len(accept), maxSources)
	}
	seen := make(map[string]bool)
	for _, source := range accept {
		in, name, scheme := source.Place()
		lower := grammar.Lower(scheme)
		switch {
		case in == "":
			wrong("has %.60q, which is no source: use Scheme, Bearer, BasicPassword, BasicOwnerPassword, HeaderField and QueryParameter", source)
		case in == "query" && (name == "" || encoded(name)):
			wrong("names the query parameter %.40q, which is empty or has a character that queries encode: use A-Z, a-z, 0-9 and -._~", name)
		case in == "query":
		case scheme == "" && name == "Authorization":
			wrong("names the field Authorization without a scheme: use Scheme")
		case name == "Cookie":
			wrong("names the field Cookie: browsers send cookies with requests that other sites make, so that a token in one lets those sites act; use a session for browsers")
		case !grammar.IsToken(name):
			wrong("names the header field %.40q, which is not a token as RFC 9110 section 5.6.2 defines it", name)
		case scheme != "" && !grammar.IsToken(scheme):
			wrong("names the scheme %.40q, which is not a token as RFC 9110 section 5.6.2 defines it", scheme)
		case lower == "digest" || lower == "negotiate":
			wrong("names the scheme %q, which has credentials of its own kind (RFC 7616, 4559), not a token", scheme)
		case lower != "basic" && strings.HasSuffix(string(source), ownerName):
			wrong("names the scheme %q, which has no user name", scheme)
		}
		if place := in + name + lower; seen[place] {
			wrong("has %q more than once", source)
		} else {
			seen[place] = true
		}
	}
	return mistakes
}

// encoded reports whether queries encode characters of a name.
func encoded(name string) bool {
	return strings.ContainsFunc(name, func(c rune) bool { return c > '~' || !grammar.IsAlnum(byte(c)) && !strings.ContainsRune("-._~", c) })
}

// label returns the way of a credential that the application has found itself, by the
// Source that it names.
func (p *credentials) label(source Source) *way {
	for i := range p.ways {
		if w := &p.ways[i]; w.source == source {
			return &way{source: source, rank: w.rank, scheme: w.scheme}
		}
	}
	return &direct
}

// maxSources bounds Config.Accept: with Direct, what fits into three bits.
const maxSources = 7

// take judges the form of the text that was presented.
func (p *credentials) take(c *rawCredential, text string, empty fault) {
	c.text = text
	if c.id, c.secret, c.ours = p.grammar.Parse(text); !c.ours {
		c.fault = faultIn(text, empty)
	}
}

// A fault is what makes a credential malformed.
type fault uint8

const (
	noFault fault = iota
	faultTwoHeaders
	faultTwoFields
	faultTwoParams
	faultSeveral
	faultNoToken
	faultTooLong
	faultSyntax
	faultEmptyField
	faultEmpty
	faultQuery
	faultHeaderOnly
)

// faultTexts are the faults as clients are told them.
var faultTexts = [...]string{
	faultTwoHeaders: "The request has more than one Authorization field.",
	faultTwoFields:  "The header field for the API token is given more than once.",
	faultTwoParams:  "The query parameter for the API token is given more than once.",
	faultSeveral:    "The request presents an API token in more than one way.",
	faultNoToken:    "The authentication scheme is not followed by a space and an API token.",
	faultTooLong:    "The API token is too long.",
	faultSyntax:     "The API token contains a character that is not allowed (RFC 9110 section 11.2, token68).",
	faultEmptyField: "The header field for the API token is empty.",
	faultEmpty:      "The query parameter for the API token is empty.",
	faultQuery:      "The query cannot be parsed.",
	faultHeaderOnly: "This resource does not accept an API token in the query.",
}

// read finds what a request presents in the ways that are accepted, and nowhere else.
func (p *credentials) read(r *http.Request, c *rawCredential) {
	if len(p.schemes) > 0 {
		p.fromHeader(r.Header["Authorization"], c)
	}
	for _, w := range p.fields {
		if values := r.Header[w.name]; len(values) > 0 {
			p.add(c, p.fromField(w, values))
		}
	}
	if len(p.parameters) > 0 && (r.URL.RawQuery != "" || p.moved.Load()) {
		found := p.inQuery(r)
		p.add(c, found)
		c.query = found.way != nil
	}
}

// add takes another credential of the same request into account.
func (p *credentials) add(c *rawCredential, other rawCredential) {
	switch {
	case other.way == nil:
	case c.way == nil || p.first && other.way.rank < c.way.rank:
		*c = other
	case c.way == other.way:
		*c = rawCredential{way: c.way, fault: faultTwoParams}
	case !p.first:
		*c = rawCredential{way: c.way, fault: faultSeveral}
	}
}

// fromHeader judges the values of the Authorization fields. Those with other
// schemes, and other credentials of a scheme that is shared, do not concern us, unless
// one of ours is among several.
func (p *credentials) fromHeader(fields []string, c *rawCredential) {
	for _, field := range fields {
		w := p.schemeOf(field)
		if w == nil {
			continue
		}
		one := rawCredential{way: w}
		rest := field[len(w.name):]
		if !w.basic {
			p.fromScheme(&one, rest)
		} else if one.user, one.text = fromBasic(rest); one.text != "" {
			p.take(&one, one.text, faultNoToken)
		}
		if w.shared && !p.grammar.Ours(one.text) {
			continue
		}
		if len(fields) > 1 {
			one = rawCredential{way: w, fault: faultTwoHeaders}
		}
		*c = one
		return
	}
}

// schemeOf returns the way whose scheme an Authorization value begins with, nil if it
// is none of ours. The name of a scheme is compared as ASCII
// (strings.EqualFold takes the Kelvin sign for a k) and ends where a token
// (RFC 9110 section 5.6.2) ends.
func (p *credentials) schemeOf(field string) *way {
	for _, w := range p.schemes {
		if len(field) >= len(w.name) && grammar.EqualFold(field[:len(w.name)], w.name) &&
			(len(field) == len(w.name) || !grammar.IsTokenByte(field[len(w.name)])) {
			return w
		}
	}
	return nil
}

// fromScheme judges what follows the name of our scheme: one or more spaces and
// a token, and nothing after it.
func (p *credentials) fromScheme(c *rawCredential, rest string) {
	switch {
	case len(rest) > 2*grammar.MaxText: // before the spaces are counted
		c.text, c.fault = rest[1:], faultTooLong
	case rest == "" || rest[0] != ' ':
		c.fault = faultNoToken
	default:
		for rest != "" && rest[0] == ' ' {
			rest = rest[1:]
		}
		p.take(c, rest, faultNoToken)
	}
}

// fromBasic returns the user name and the password that follow the name of the scheme
// Basic; none if they cannot be read or are longer than those of ours.
func fromBasic(rest string) (user, password string) {
	if len(rest) > 4*grammar.MaxText {
		return "", ""
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimLeft(rest, " "))
	if err != nil {
		return "", ""
	}
	user, password, _ = strings.Cut(string(pair), ":")
	return user, password
}

// fromField judges the values of a header field that has nothing but a token.
func (p *credentials) fromField(w *way, values []string) rawCredential {
	c := rawCredential{way: w}
	if len(values) > 1 {
		c.fault = faultTwoFields
	} else {
		p.take(&c, values[0], faultEmptyField)
	}
	return c
}

// faultIn checks that a presented text is of the form that a token may have:
// token68 (RFC 9110 section 11.2), not too long.
func faultIn(text string, empty fault) fault {
	switch {
	case text == "":
		return empty
	case len(text) > grammar.MaxText:
		return faultTooLong
	case !grammar.IsToken68(text):
		return faultSyntax
	}
	return noFault
}

// inQuery judges the query parameters of a request, also if WithoutQueryToken has moved
// one.
func (p *credentials) inQuery(r *http.Request) rawCredential {
	c := p.fromQuery(r.URL.RawQuery)
	if p.moved.Load() {
		if moved, ok := r.Context().Value(movedKey{p}).(*movedContext); ok {
			p.add(&c, moved.query())
		}
	}
	return c
}

// fromQuery judges the query parameters. Names are compared after percent
// decoding; only & separates. A query that does not parse is malformed if it
// names one of them, and otherwise not ours to judge.
func (p *credentials) fromQuery(query string) (c rawCredential) {
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if i, value := rawquery.Cut(pair, p.names); i >= 0 {
			p.add(&c, p.fromParameter(p.parameters[i], value))
		}
	}
	if c.way != nil && c.fault == noFault && !rawquery.Parses(query) {
		c.fault = faultQuery
	}
	return c
}

// fromParameter judges the value of a query parameter, as it was sent.
func (p *credentials) fromParameter(w *way, value string) rawCredential {
	c := rawCredential{way: w}
	if len(value) > 3*grammar.MaxText {
		c.fault = faultTooLong
		return c
	}
	// (strings.ContainsAny goes byte by byte.)
	if strings.IndexByte(value, '%') >= 0 || strings.IndexByte(value, '+') >= 0 || strings.IndexByte(value, ';') >= 0 {
		text, err := url.QueryUnescape(value)
		if err != nil || strings.Contains(value, ";") {
			c.fault = faultQuery
			return c
		}
		value = text
	}
	p.take(&c, value, faultEmpty)
	return c
}
