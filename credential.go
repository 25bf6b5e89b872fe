package apitoken

import (
	"net/http"

	"github.com/apitoken-go/apitoken/internal/credential"
)

// A Source is a way by which a token is presented. [Config].Accept has those that are
// read; the one by which a token came is recorded with its use, and is its text in logs,
// in the JSON API and in stores.
type Source string

// Direct is the Source of what does not come by [http.Request]; see [Authority.Verify].
const Direct Source = "direct"

// Scheme is the field Authorization with this authentication scheme, followed by spaces
// and the token. The case of the name does not matter in requests.
func Scheme(name string) Source { return Source(credential.Authorization + name) }

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
func BasicOwnerPassword() Source { return Scheme("Basic") + credential.OwnerName }

// HeaderField is a header field that has the token and nothing else, such as X-API-Key.
func HeaderField(name string) Source { return Source(http.CanonicalHeaderKey(name) + ":") }

// QueryParameter is a parameter of the query, whose name is compared with its case. URLs
// end up in logs and histories: see [Authority.HideQueryToken] and [Requirement.HeaderOnly].
func QueryParameter(name string) Source { return Source("?" + name) }

// Place returns where a Source is in a request: "header" with the name of the field, and
// with the scheme if that is Authorization; or "query" with the name of the parameter.
// All are empty for Direct.
func (s Source) Place() (in, name, scheme string) { return credential.Place(string(s)) }

// texts returns the texts of sources.
func texts(sources []Source) []string {
	list := make([]string, len(sources))
	for i, s := range sources {
		list[i] = string(s)
	}
	return list
}
