package credential

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/apitoken-go/apitoken/internal/grammar"
)

// Place returns where a source is in a request, all empty if it is in none.
func Place(source string) (in, name, scheme string) {
	if scheme, ok := strings.CutPrefix(source, Authorization); ok {
		return "header", "Authorization", strings.TrimSuffix(scheme, OwnerName)
	}
	if name, ok := strings.CutPrefix(source, "?"); ok {
		return "query", name, ""
	}
	if name, ok := strings.CutSuffix(source, ":"); ok {
		return "header", name, ""
	}
	return "", "", ""
}

// How the texts of sources begin or end.
const (
	Authorization = "Authorization: "
	OwnerName     = ", user name = owner"
)

// MaxSources bounds Config.Accept: with Direct and Derived, what fits into four bits.
const MaxSources = 7

// Check returns what is wrong with a list of sources.
func Check(accept []string) (mistakes []string) {
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	if len(accept) == 0 {
		wrong("is empty, so that no request could present a token; nil means the defaults")
	}
	if len(accept) > MaxSources {
		wrong("has %d sources: at most %d are possible", len(accept), MaxSources)
	}
	seen := make(map[string]bool)
	for _, source := range accept {
		in, name, scheme := Place(source)
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
		case name != http.CanonicalHeaderKey(name):
			wrong("names the header field %.40q, which requests have as %q: use HeaderField", name, http.CanonicalHeaderKey(name))
		case scheme != "" && !grammar.IsToken(scheme):
			wrong("names the scheme %.40q, which is not a token as RFC 9110 section 5.6.2 defines it", scheme)
		case lower == "digest" || lower == "negotiate":
			wrong("names the scheme %q, which has credentials of its own kind (RFC 7616, 4559), not a token", scheme)
		case lower != "basic" && strings.HasSuffix(source, OwnerName):
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

// Manual says how a token can be presented. The query is not recommended.
func (p *Reader) Manual() string {
	var list []string
	for i := range p.ways {
		switch w := &p.ways[i]; {
		case w.Owner:
			list = append(list, `the password of "Authorization: Basic", with the owner of the token as user name`)
		case w.basic:
			list = append(list, `the password of "Authorization: Basic"`)
		case w.Source[0] != '?':
			list = append(list, `"`+w.Source+` <token>"`)
		}
	}
	for _, name := range p.Names {
		if len(list) == 0 {
			list = []string{`the query parameter "` + name + `"`}
		}
	}
	return strings.Join(list, ", or as ")
}
