package page

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// commandLines are lines for a shell that use a token.
type commandLines struct{ Header, Variable string }

// commands returns lines that try a token on a route that it can use.
func (h *handler) commands(rq *request, in *apitoken.TokenInfo, secret string) commandLines {
	address := originOf(rq.Request) + h.sample(in)
	scheme := h.config.Scheme
	if scheme == "" {
		scheme = "apiToken"
	}
	variable := strings.ToUpper(strings.TrimSuffix(in.DisplayID, "_"+in.ID)) + "_TOKEN"
	if in.DisplayID == "" {
		variable = "API_TOKEN"
	}
	// A token has no character that means something between these quotes. The shell
	// keeps commands, not what read reads. It is one line, as pasted lines that follow
	// would be read for the token.
	return commandLines{
		Header:   "curl -H 'Authorization: " + scheme + " " + secret + "' '" + address + "'",
		Variable: "read -rs " + variable + " && export " + variable + " && curl -H \"Authorization: " + scheme + " $" + variable + "\" '" + address + "'",
	}
}

var pathPattern = regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`)

// sample returns the path of a route that is there to look at and that the
// token can use, "/" if there is none.
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

// originOf returns the scheme and host at which the browser reached the page.
// It says so itself with a form (RFC 6454 section 7), also where a proxy has
// hidden it from us; that it is not another site's was checked before. Without
// it, it is what this server sees.
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
