package probe

import (
	"encoding/base64"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

// Sources are what the cases of SourceCases are for.
var Sources = []apitoken.Source{
	apitoken.Scheme("apiToken"), apitoken.Bearer(), apitoken.BasicPassword(), apitoken.HeaderField("X-API-Key"), apitoken.QueryParameter("apiToken"),
}

// SourceCases are the requests to a Rig that accepts Sources.
func (r *Rig) SourceCases() []Case {
	const (
		every     = `apiToken realm="api" and Bearer realm="api" and Basic realm="api"`
		malformed = ` realm="api", error="invalid_request"`
		invalid   = ` realm="api", error="invalid_token"`
		scope     = ` realm="api", error="insufficient_scope", scope="devices:write"`
	)
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	row := func(name string, status int, challenge, query string, fields ...string) Case {
		c := Case{Name: name, Status: status, Challenge: challenge, Query: query, Fields: fields}
		c.Problem = map[int]string{400: "invalid-request", 401: "invalid-token", 403: "insufficient-scope"}[status]
		if challenge == every {
			c.Problem = "no-token"
		}
		c.Write = status == 403
		return c
	}
	const authorization, key = "Authorization: ", "X-API-Key: "
	bearer, jwt := authorization+"Bearer "+r.Reader, authorization+"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."
	return []Case{
		row("no token in any source", 401, every, ""),
		row("our scheme beside others", 200, "", "", authorization+"apiToken "+r.Reader),
		row("Bearer", 200, "", "", bearer),
		row("Bearer in upper case", 200, "", "", authorization+"BEARER "+r.Reader),
		row("Bearer, an unknown token", 401, "Bearer"+invalid, "", authorization+"Bearer "+r.Unknown),
		row("Bearer, no permission", 403, "Bearer"+scope, "", bearer),
		row("a JWT", 401, every, "", jwt),
		row("a password", 200, "", "", authorization+basic("git", r.Reader)),
		row("a password that is unknown", 401, "Basic"+invalid, "", authorization+basic("git", r.Unknown)),
		row("a password, no permission", 403, "Basic"+scope, "", authorization+basic("git", r.Reader)),
		row("a password of somebody", 401, every, "", authorization+basic("ada", "correct horse")),
		row("a token as user name", 401, every, "", authorization+basic(r.Reader, "")),
		row("Basic that is not encoded", 401, every, "", authorization+"Basic "+r.Reader),
		row("a field of its own", 200, "", "", key+r.Reader),
		row("a field whose name is in lower case", 200, "", "", "x-api-key: "+r.Reader),
		row("a field, an unknown token", 401, "apiToken"+invalid, "", key+r.Unknown),
		row("a field, no permission", 403, "apiToken"+scope, "", key+r.Reader),
		row("a field that is empty", 400, "apiToken"+malformed, "", key),
		row("a field with a scheme", 400, "apiToken"+malformed, "", key+"apiToken "+r.Reader),
		row("a field that comes twice", 400, "apiToken"+malformed, "", key+r.Reader, key+r.Reader),
		row("a field beside a JWT", 200, "", "", key+r.Reader, jwt),
		row("a field beside a password of somebody", 200, "", "", key+r.Reader, authorization+basic("ada", "correct horse")),
		row("a field and Bearer", 400, "Bearer"+malformed, "", key+r.Reader, bearer),
		row("a field that is unknown, and Bearer", 400, "Bearer"+malformed, "", key+r.Unknown, bearer),
		row("a field and a parameter", 400, "apiToken"+malformed, "apiToken="+r.Reader, key+r.Reader),
		row("Bearer and a parameter", 400, "Bearer"+malformed, "apiToken="+r.Reader, bearer),
		row("a JWT and a parameter", 200, "", "apiToken="+r.Reader, jwt),
		row("Bearer and our scheme", 400, "Bearer"+malformed, "", bearer, authorization+"apiToken "+r.Reader),
		row("a JWT and our scheme", 400, "apiToken"+malformed, "", jwt, authorization+"apiToken "+r.Reader),
		row("a cookie of that name", 401, every, "", "Cookie: X-API-Key="+r.Reader),
	}
}

// ListCases are the requests for /devices, which a token with devices:read opens, and a
// session.
func (r *Rig) ListCases() []Case {
	const (
		session   = "Cookie: session=" + demo.Session
		malformed = `apiToken realm="api", error="invalid_request"`
		invalid   = `apiToken realm="api", error="invalid_token"`
		scope     = `apiToken realm="api", error="insufficient_scope", scope="devices:read"`
	)
	const authorization = "Authorization: apiToken "
	good := authorization + r.Reader
	accepted := func(name, who, query string, fields ...string) Case {
		return Case{Name: name, List: true, Query: query, Fields: fields, Status: 200, Who: who}
	}
	refused := func(name string, status int, challenge, problem, query string, fields ...string) Case {
		return Case{Name: name, List: true, Query: query, Fields: fields, Status: status, Challenge: challenge, Problem: problem, Down: status == 503}
	}
	down := accepted("a session while the store is down", "grace", "", session)
	down.Down = true
	return []Case{
		accepted("a token or a session: a token", "ada", "", good),
		accepted("a token or a session: a token in the query", "ada", "apiToken="+r.Reader),
		accepted("a session", "grace", "", session),
		accepted("a token and a session", "ada", "", good, session),
		accepted("a session and a JWT", "grace", "", session, "Authorization: Bearer a.b.c"),
		accepted("a session and a parameter of another name", "grace", "APITOKEN="+r.Unknown, session),
		down,
		refused("neither a token nor a session", 401, "", "", ""),
		refused("a session that has ended", 401, "", "", "", "Cookie: session=x"),
		refused("an unknown token and a session", 401, invalid, "invalid-token", "", authorization+r.Unknown, session),
		refused("an unknown token in the query and a session", 401, invalid, "invalid-token", "apiToken="+r.Unknown, session),
		refused("a token without the permission and a session", 403, scope, "insufficient-scope", "", authorization+r.Writer, session),
		refused("our scheme without a token, and a session", 400, malformed, "invalid-request", "", "Authorization: apiToken", session),
		refused("an empty parameter and a session", 400, malformed, "invalid-request", "apiToken=", session),
		refused("two tokens and a session", 400, malformed, "invalid-request", "apiToken="+r.Reader, good, session),
		refused("a token and a session while the store is down", 503, "", "unavailable", "", authorization+r.Fresh, session),
	}
}
