// Package credential finds what a request presents, in the ways that a service accepts. It
// knows no tokens but their form.
package credential

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/rawquery"
)

// A Way is a source that is accepted, as it is looked for.
type Way struct {
	Source string
	name   string // of the scheme in lower case, of the field, or of the parameter
	Rank   uint8  // place in Config.Accept, from 1
	shared bool   // what cannot be a token of ours is somebody else's
	basic  bool
	Owner  bool // the user name has to be the owner's
	Scheme int  // index of its challenge
}

// Found is what a request presents.
type Found struct {
	Text  string
	Way   *Way // nil if there was none
	User  string
	Fault Fault // why it is malformed
	Query bool  // the query has one, this or another
	more  bool  // there was another one, which does not count

	// The parts of text if that is a token of ours, or derived from one: then ID is that of
	// its parent.
	Ours, Derived bool
	ID, Secret    string
	Body          []byte
}

// Direct is the way of what was not found in a request.
var Direct = Way{Source: "direct"}

// Uses of derived tokens have a source of their own, and its rank, which is that of no Way.
const (
	Derived     = "derived"
	DerivedRank = MaxSources + 1
)

// Source returns how the credential was presented, "" if there was none.
func (c *Found) Source() string {
	if c.Way == nil {
		return ""
	}
	return c.Way.Source
}

// InQuery reports whether the credential was in the query.
func (c *Found) InQuery() bool { return c.Way != nil && c.Way.Source[0] == '?' }

// A Reader finds what requests present.
type Reader struct {
	grammar grammar.Grammar
	first   bool // of several credentials the first counts

	ways       []Way    // all of them, by rank
	schemes    []*Way   // in the field Authorization
	Challenges []string // their names
	fields     []*Way   // in fields of their own
	parameters []*Way   // in the query
	Names      []string // of the parameters
	Vary       string   // the fields that are read

	Moved atomic.Bool // a context may have a credential that was taken out of the query
}

// New returns what finds credentials of these sources.
func New(g grammar.Grammar, accept []string, first bool) *Reader {
	p := &Reader{grammar: g, first: first, ways: make([]Way, len(accept))}
	var vary []string
	for i, source := range accept {
		w := &p.ways[i]
		w.Source, w.Rank = source, uint8(i+1)
		in, name, scheme := Place(source)
		switch {
		case in == "query":
			w.name = name
			p.parameters, p.Names = append(p.parameters, w), append(p.Names, name)
			continue
		case scheme == "":
			w.name = name
			p.fields = append(p.fields, w)
		default:
			w.name, w.Scheme = grammar.Lower(scheme), len(p.schemes)
			w.basic, w.Owner = w.name == "basic", strings.HasSuffix(source, OwnerName)
			w.shared = w.basic || w.name == "bearer"
			p.schemes, p.Challenges = append(p.schemes, w), append(p.Challenges, scheme)
		}
		if !slices.Contains(vary, name) {
			vary = append(vary, name)
		}
	}
	p.Vary = strings.Join(vary, ", ")
	return p
}

// Label returns the way of a credential that the application has found itself, by the
// Source that it names.
func (p *Reader) Label(source string) *Way {
	for i := range p.ways {
		if w := &p.ways[i]; w.Source == source {
			return &Way{Source: source, Rank: w.Rank, Scheme: w.Scheme}
		}
	}
	return &Direct
}

// Take judges the form of the text that was presented.
func (p *Reader) Take(c *Found, text string, empty Fault) {
	c.Text = text
	if c.ID, c.Secret, c.Ours = p.grammar.Parse(text); c.Ours {
		return
	}
	if c.ID, c.Body, c.Derived = p.grammar.ParseDerived(text); !c.Derived {
		c.Fault = faultIn(text, empty)
	}
}

// A fault is what makes a credential malformed.
type Fault uint8

const (
	NoFault Fault = iota
	FaultTwoHeaders
	FaultTwoFields
	FaultTwoParams
	FaultSeveral
	FaultNoToken
	FaultTooLong
	FaultSyntax
	FaultEmptyField
	FaultEmpty
	FaultQuery
	FaultHeaderOnly
	FaultNotDerived
)

// FaultTexts are the faults as clients are told them.
var FaultTexts = [...]string{
	FaultTwoHeaders: "The request has more than one Authorization field.",
	FaultTwoFields:  "The header field for the API token is given more than once.",
	FaultTwoParams:  "The query parameter for the API token is given more than once.",
	FaultSeveral:    "The request presents an API token in more than one way.",
	FaultNoToken:    "The authentication scheme is not followed by a space and an API token.",
	FaultTooLong:    "The API token is too long.",
	FaultSyntax:     "The API token contains a character that is not allowed (RFC 9110 section 11.2, token68).",
	FaultEmptyField: "The header field for the API token is empty.",
	FaultEmpty:      "The query parameter for the API token is empty.",
	FaultQuery:      "The query cannot be parsed.",
	FaultHeaderOnly: "This resource does not accept an API token in the query.",
	FaultNotDerived: "This resource accepts only a derived API token in the query.",
}

// Read finds what a request presents in the ways that are accepted, and nowhere else.
func (p *Reader) Read(r *http.Request, c *Found) {
	if len(p.schemes) > 0 {
		p.fromHeader(r.Header["Authorization"], c)
	}
	for _, w := range p.fields {
		if values := r.Header[w.name]; len(values) > 0 {
			p.add(c, p.fromField(w, values))
		}
	}
	if len(p.parameters) > 0 && (r.URL.RawQuery != "" || p.Moved.Load()) {
		found := p.InQuery(r)
		p.add(c, found)
		c.Query = found.Way != nil
	}
}

// Elsewhere reports whether a request is for another login that stands beside: it presents nothing, or, in a header
// field of its own or in the query, a text that cannot be a token of ours, such as a key of an earlier system.
func (p *Reader) Elsewhere(r *http.Request) bool {
	var c Found
	p.Read(r, &c)
	if c.Way == nil {
		return true
	}
	return c.Text != "" && !c.more && !strings.HasPrefix(c.Way.Source, Authorization) && !p.grammar.Ours(c.Text)
}

// add takes another credential of the same request into account.
func (p *Reader) add(c *Found, other Found) {
	switch {
	case other.Way == nil:
	case c.Way == nil:
		*c = other
	case c.Way == other.Way:
		*c = Found{Way: c.Way, Fault: FaultTwoParams}
	case !p.first:
		*c = Found{Way: c.Way, Fault: FaultSeveral}
	default:
		if other.Way.Rank < c.Way.Rank {
			*c = other
		}
		c.more = true
	}
}

// fromHeader judges the values of the Authorization fields. Those with other
// schemes, and other credentials of a scheme that is shared, do not concern us, unless
// one of ours is among several.
func (p *Reader) fromHeader(fields []string, c *Found) {
	for _, field := range fields {
		w := p.schemeOf(field)
		if w == nil {
			continue
		}
		one := Found{Way: w}
		rest := field[len(w.name):]
		if !w.basic {
			p.fromScheme(&one, rest)
		} else if one.User, one.Text = fromBasic(rest); one.Text != "" {
			p.Take(&one, one.Text, FaultNoToken)
		}
		if w.shared && !p.grammar.Ours(one.Text) {
			continue
		}
		if len(fields) > 1 {
			one = Found{Way: w, Fault: FaultTwoHeaders}
		}
		*c = one
		return
	}
}

// schemeOf returns the way whose scheme an Authorization value begins with, nil if it
// is none of ours. The name of a scheme is compared as ASCII
// (strings.EqualFold takes the Kelvin sign for a k) and ends where a token
// (RFC 9110 section 5.6.2) ends.
func (p *Reader) schemeOf(field string) *Way {
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
func (p *Reader) fromScheme(c *Found, rest string) {
	switch {
	case len(rest) > 2*grammar.MaxText: // before the spaces are counted
		c.Text, c.Fault = rest[1:], FaultTooLong
	case rest == "" || rest[0] != ' ':
		c.Fault = FaultNoToken
	default:
		for rest != "" && rest[0] == ' ' {
			rest = rest[1:]
		}
		p.Take(c, rest, FaultNoToken)
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
func (p *Reader) fromField(w *Way, values []string) Found {
	c := Found{Way: w}
	if len(values) > 1 {
		c.Fault = FaultTwoFields
	} else {
		p.Take(&c, values[0], FaultEmptyField)
	}
	return c
}

// faultIn checks that a presented text is of the form that a token may have:
// token68 (RFC 9110 section 11.2), not too long.
func faultIn(text string, empty Fault) Fault {
	switch {
	case text == "":
		return empty
	case len(text) > grammar.MaxText:
		return FaultTooLong
	case !grammar.IsToken68(text):
		return FaultSyntax
	}
	return NoFault
}

// InQuery judges the query parameters of a request, also if WithoutQueryToken has moved
// one.
func (p *Reader) InQuery(r *http.Request) Found {
	c := p.fromQuery(r.URL.RawQuery)
	if p.Moved.Load() {
		if moved, ok := r.Context().Value(MovedKey{p}).(interface{ Moved() Found }); ok {
			p.add(&c, moved.Moved())
		}
	}
	return c
}

// fromQuery judges the query parameters. Names are compared after percent
// decoding; only & separates. A query that does not parse is malformed if it
// names one of them, and otherwise not ours to judge.
func (p *Reader) fromQuery(query string) (c Found) {
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if i, value := rawquery.Cut(pair, p.Names); i >= 0 {
			p.add(&c, p.fromParameter(p.parameters[i], value))
		}
	}
	if c.Way != nil && c.Fault == NoFault && !rawquery.Parses(query) {
		c.Fault = FaultQuery
	}
	return c
}

// fromParameter judges the value of a query parameter, as it was sent.
func (p *Reader) fromParameter(w *Way, value string) Found {
	c := Found{Way: w}
	if len(value) > 3*grammar.MaxText {
		c.Text, c.Fault = value, FaultTooLong
		return c
	}
	// (strings.ContainsAny goes byte by byte.)
	if strings.IndexByte(value, '%') >= 0 || strings.IndexByte(value, '+') >= 0 || strings.IndexByte(value, ';') >= 0 {
		text, err := url.QueryUnescape(value)
		if err != nil || strings.Contains(value, ";") {
			c.Fault = FaultQuery
			return c
		}
		value = text
	}
	p.Take(&c, value, FaultEmpty)
	return c
}

// Strip returns the RequestURI and the query of the URL without the parameters.
func (p *Reader) Strip(r *http.Request) (uri, query string) {
	if len(p.Names) == 0 {
		return r.RequestURI, r.URL.RawQuery
	}
	begin := strings.IndexByte(r.RequestURI, '?') + 1
	if begin == 0 {
		begin = len(r.RequestURI)
	}
	uri = rawquery.Without(r.RequestURI, begin, p.Names)
	if len(uri) == begin && uri != r.RequestURI { // nothing but the question mark is left
		uri = uri[:begin-1]
	}
	if r.RequestURI[begin:] == r.URL.RawQuery {
		return uri, uri[min(begin, len(uri)):]
	}
	return uri, rawquery.Without(r.URL.RawQuery, 0, p.Names)
}

// StripForm returns the Form without the parameters of the query, nil if the query was not
// parsed. Form and the request stay as they are.
func (p *Reader) StripForm(r *http.Request) url.Values {
	form := maps.Clone(r.Form)
	for _, name := range p.Names {
		delete(form, name)
		if body, ok := r.PostForm[name]; ok && form != nil {
			form[name] = body
		}
	}
	return form
}

// TokenKey is the key of the token in a context. It is a string, as a gin.Context looks for
// no other keys in what middlewares have set.
const TokenKey = "github.com/apitoken-go/apitoken token"

// MovedKey is the key of a context in which a credential of a Reader was put aside: its
// value has the method Moved.
type MovedKey struct{ Reader *Reader }
