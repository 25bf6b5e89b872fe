package apitoken

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/rawquery"
)

// A rawCredential is what a request presents.
type rawCredential struct {
	text   string
	source Source // "" if there was none
	scheme int    // index of the scheme it was presented with, for the challenge
	fault  fault  // why it is malformed

	// The parts of text if that is a token of ours.
	id, secret string
	ours       bool
}

// credentials finds what requests present.
type credentials struct {
	grammar   grammar.Grammar
	schemes   []string    // in lower case
	parameter string      // of the query; "" if that is not looked at
	moved     atomic.Bool // without has moved a token into a context
}

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
	faultTwoParams
	faultBoth
	faultNoToken
	faultTooLong
	faultSyntax
	faultEmpty
	faultQuery
	faultHeaderOnly
)

// faultTexts are the faults as clients are told them.
var faultTexts = [...]string{
	faultTwoHeaders: "The request has more than one Authorization field.",
	faultTwoParams:  "The query parameter for the API token is given more than once.",
	faultBoth:       "The request has an API token both in the Authorization field and in the query.",
	faultNoToken:    "The authentication scheme is not followed by a space and an API token.",
	faultTooLong:    "The API token is too long.",
	faultSyntax:     "The API token contains a character that is not allowed (RFC 9110 section 11.2, token68).",
	faultEmpty:      "The query parameter for the API token is empty.",
	faultQuery:      "The query cannot be parsed.",
	faultHeaderOnly: "This resource accepts an API token in the Authorization field only.",
}

// read finds what a request presents: in Authorization fields of our
// schemes and in the query parameter, and nowhere else.
func (p *credentials) read(r *http.Request, c *rawCredential) {
	p.fromHeader(r.Header["Authorization"], c)
	if p.parameter == "" || r.URL.RawQuery == "" && !p.moved.Load() {
		return
	}
	query := p.inQuery(r)
	switch {
	case query.source == "":
	case c.source == "":
		*c = query
	default:
		*c = rawCredential{source: InHeader, scheme: c.scheme, fault: faultBoth}
	}
}

// fromHeader judges the values of the Authorization fields. Fields with other
// schemes do not concern us, unless one of ours is among several.
func (p *credentials) fromHeader(fields []string, c *rawCredential) {
	for _, field := range fields {
		if i := p.schemeOf(field); i >= 0 {
			c.source, c.scheme = InHeader, i
			if len(fields) > 1 {
				c.fault = faultTwoHeaders
				return
			}
			p.fromField(c, field[len(p.schemes[i]):])
		}
	}
}

// schemeOf returns the index of the scheme that an Authorization value begins
// with, -1 if it is none of ours. The name of a scheme is compared as ASCII
// (strings.EqualFold takes the Kelvin sign for a k) and ends where a token
// (RFC 9110 section 5.6.2) ends.
func (p *credentials) schemeOf(field string) int {
	for i := range p.schemes {
		name := p.schemes[i]
		if len(field) >= len(name) && grammar.EqualFold(field[:len(name)], name) &&
			(len(field) == len(name) || !grammar.IsTokenByte(field[len(name)])) {
			return i
		}
	}
	return -1
}

// fromField judges what follows the name of our scheme: one or more spaces and
// a token, and nothing after it.
func (p *credentials) fromField(c *rawCredential, rest string) {
	switch {
	case len(rest) > 2*grammar.MaxText: // before the spaces are counted
		c.fault = faultTooLong
	case rest == "" || rest[0] != ' ':
		c.fault = faultNoToken
	default:
		for rest != "" && rest[0] == ' ' {
			rest = rest[1:]
		}
		p.take(c, rest, faultNoToken)
	}
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

// inQuery judges the query parameter of a request, also if WithoutQueryToken has moved it.
func (p *credentials) inQuery(r *http.Request) rawCredential {
	c := p.fromQuery(r.URL.RawQuery)
	if p.moved.Load() {
		moved, ok := r.Context().Value(movedKey{p}).(*movedContext)
		switch {
		case !ok || moved.query().source == "":
		case c.source == "":
			return moved.query()
		default:
			return rawCredential{source: InQuery, fault: faultTwoParams}
		}
	}
	return c
}

// fromQuery judges the query parameter. Names are compared after percent
// decoding; only & separates. A query that does not parse is malformed if it
// names the parameter, and otherwise not ours to judge.
func (p *credentials) fromQuery(query string) rawCredential {
	c := rawCredential{}
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		value, ours := rawquery.Cut(pair, p.parameter)
		switch {
		case !ours:
			continue
		case c.source != "":
			return rawCredential{source: InQuery, fault: faultTwoParams}
		}
		c.source = InQuery
		if len(value) > 3*grammar.MaxText {
			c.fault = faultTooLong
			continue
		}
		// (strings.ContainsAny goes byte by byte.)
		if strings.IndexByte(value, '%') >= 0 || strings.IndexByte(value, '+') >= 0 || strings.IndexByte(value, ';') >= 0 {
			text, err := url.QueryUnescape(value)
			if err != nil || strings.Contains(value, ";") {
				c.fault = faultQuery
				continue
			}
			value = text
		}
		p.take(&c, value, faultEmpty)
	}
	if c.source != "" && c.fault == noFault && !rawquery.Parses(query) {
		c.fault = faultQuery
	}
	return c
}
