package page

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// commandLines are lines for a shell that make a request with a token.
type commandLines struct{ Header, Variable string }

// commands returns commandLines for a route that the token can use.
func (h *handler) commands(rq *request, in *apitoken.TokenInfo, secret string) commandLines {
	address := cmp.Or(h.config.PublicURL, originOf(rq.Request)) + h.sample(in)
	variable := strings.ToUpper(strings.TrimSuffix(in.DisplayID, "_"+in.ID)) + "_TOKEN"
	if in.DisplayID == "" {
		variable = "API_TOKEN"
	}
	// No character of a token is special between these quotes. The history of the shell
	// keeps commands, but not what read reads. Variable is a single line: read would take
	// a second pasted line for the token.
	source := h.config.Authority.Accepted()[0]
	return commandLines{
		Header:   curl(source, in.Owner, secret, "'", address),
		Variable: "read -rs " + variable + " && export " + variable + " && " + curl(source, in.Owner, "$"+variable, `"`, address),
	}
}

// curl returns a command that presents a token, which may stand between these quotes.
func curl(source apitoken.Source, owner, token, quote, address string) string {
	in, name, scheme := source.Place()
	address = "'" + address + "'"
	switch {
	case strings.EqualFold(scheme, "Basic"):
		return "curl -u '" + strings.ReplaceAll(owner, "'", `'\''`) + ":'" + quote + token + quote + " " + address
	case in == "query":
		return "curl " + quote + strings.Trim(address, "'") + "?" + name + "=" + token + quote
	case scheme != "":
		name += ": " + scheme
	default:
		name += ":"
	}
	return "curl -H " + quote + name + " " + token + quote + " " + address
}

var pathPattern = regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`)

// sample returns the path of a GET route without wildcards that the token can use, "/"
// if there is none.
func (h *handler) sample(in *apitoken.TokenInfo) string {
	for _, rt := range h.config.Routes {
		if rt.Method != http.MethodGet || !pathPattern.MatchString(rt.Pattern) || rt.Match == "open" {
			continue
		}
		has := func(name string) bool {
			return slices.ContainsFunc(in.Permissions, func(p apitoken.Permission) bool { return p.Name() == name })
		}
		lacks := func(name string) bool { return !has(name) }
		if rt.Match == "token" || rt.Match == "any" && slices.ContainsFunc(rt.Permissions, has) ||
			rt.Match == "all" && !slices.ContainsFunc(rt.Permissions, lacks) {
			return rt.Pattern
		}
	}
	return "/"
}

var hostPattern = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// originOf returns the scheme and host at which the browser reached the page. The
// browser sends them as the Origin of a form (RFC 6454 section 7), also where a proxy
// hides them from this server; CrossOrigin has checked that it is no other site.
// Without an Origin, originOf returns the scheme and host that this server sees.
func originOf(r *http.Request) string {
	if o, err := url.Parse(r.Header.Get("Origin")); err == nil && (o.Scheme == "https" || o.Scheme == "http") && hostPattern.MatchString(o.Host) {
		return o.Scheme + "://" + o.Host
	}
	scheme, host := "http", "localhost"
	if r.TLS != nil {
		scheme = "https"
	}
	if hostPattern.MatchString(r.Host) {
		host = r.Host
	}
	return scheme + "://" + host
}
