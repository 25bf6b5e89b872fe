package benchmarks

import "net/http"

// An Impl is a way to authenticate requests.
type Impl struct {
	Name   string // in the names of benchmarks
	Module string // whose version counts; "" for what is written here

	// Does says what it is, and what had to be added for the work to be the same.
	Does string

	// Plain says that tokens are kept as they are, not hashed.
	Plain bool

	// Self says that tokens are not stored at all.
	Self bool

	// Missing and Junk are the statuses for a request without a token and with a
	// text that is none; 0 means 401.
	Missing, Junk int

	New func(*Work, Serve) (*Server, error)
}

// Serve is what every handler does with the user who made the request. It returns
// the status to answer with.
type Serve func(user string) (status int)

// Accepted is the Serve that is measured.
func Accepted(user string) int {
	if user == "" {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// Impls are all implementations, in the order of the tables.
var Impls = []Impl{
	{Name: "bare", Does: "the handler alone, without authentication", New: newBare},
	{Name: "floor", Does: "hand-written, the least that does the work: index the header, fold the scheme, SHA-256, Go map, test bits, identity in the context", New: newFloor},
	{Name: "floor-typed", Does: "the same, the identity being an argument of the handler", New: newFloorTyped},
	{Name: "apitoken", Module: library, Does: "`Require`, everything on: cache with its lease, expiry, events to an observer that does nothing, last use recorded, statistics", New: newLibrary},
	{Name: "apitoken-typed", Module: library, Does: "`Handler`: the same, the token being an argument of the handler", New: newLibraryTyped},
	{Name: "typical", Does: "hand-written as one finds it: Header.Get, SHA-256 in hex, RWMutex around a map, a loop over permission names", New: newTypical},

	{Name: "connectrpc-authn", Module: "connectrpc.com/authn", Does: "added: SHA-256, map, bits", New: newConnect},
	{Name: "mcp-go-sdk", Module: "github.com/modelcontextprotocol/go-sdk", Does: "RequireBearerToken with scopes; added: SHA-256, map", New: newMCP},
	{Name: "kubernetes", Module: "k8s.io/apiserver", Does: "bearertoken and request.WithUser; added: SHA-256, map, bits, the answers", New: newKubernetes},
	{Name: "kubernetes-cached", Module: "k8s.io/apiserver", Does: "the same behind its token cache (HMAC-SHA-256 as key)", New: newKubernetesCached},
	{Name: "go-guardian-static", Module: "github.com/shaj13/go-guardian/v2", Does: "strategies/token, static, as it comes: with SetHash it refuses every token, as static compares the token with the hashes; added: bits, the answers", Plain: true, New: newGuardianStatic},
	{Name: "go-guardian-cached", Module: "github.com/shaj13/go-guardian/v2", Does: "strategies/token with an LRU cache (libcache); added: SHA-256 and map behind it, bits, the answers", Plain: true, New: newGuardianCached},
	{Name: "echo-keyauth", Module: "github.com/labstack/echo/v5", Does: "KeyAuth in Echo's own pooled contexts, by ServeHTTP with routing; added: SHA-256, map, bits", New: newEcho5, Missing: http.StatusUnauthorized},
	{Name: "echo4-keyauth", Module: "github.com/labstack/echo/v4", Does: "the same in version 4", New: newEcho4, Missing: http.StatusBadRequest},
	{Name: "fiber-keyauth", Module: "github.com/gofiber/fiber/v3", Does: "keyauth in Fiber's own contexts on fasthttp, by App.Handler with routing; added: SHA-256, map, bits", New: newFiber},
	{Name: "casbin", Module: "github.com/casbin/casbin/v2", Does: "floor with Enforce for each permission, one role of 20 policies", New: newCasbin},
	{Name: "casbin-cached", Module: "github.com/casbin/casbin/v2", Does: "the same with CachedEnforcer", New: newCasbinCached},
	{Name: "fosite", Module: "github.com/ory/fosite", Does: "IntrospectToken of opaque tokens in its memory store, with scopes; added: the answers", New: newFosite},
	{Name: "go-oauth2", Module: "github.com/go-oauth2/oauth2/v4", Does: "ValidationBearerToken of opaque tokens in its memory store; added: scopes, the answers", Plain: true, New: newOAuth2},
	{Name: "scs", Module: "github.com/alexedwards/scs/v2", Does: "SessionManager.Load of a hashed session token in its memory store; added: the header, permissions, the answers", New: newSCS},
	{Name: "golang-jwt-hs256", Module: "github.com/golang-jwt/jwt/v5", Does: "nothing is stored, nothing can be revoked; added: scopes, the answers", Self: true, New: newJWT("HS256")},
	{Name: "golang-jwt-es256", Module: "github.com/golang-jwt/jwt/v5", Does: "the same with ECDSA P-256", Self: true, New: newJWT("ES256")},
	{Name: "chi-jwtauth", Module: "github.com/go-chi/jwtauth/v5", Does: "HS256, Verifier and Authenticator; nothing is stored, nothing can be revoked; added: scopes", Self: true, New: newJWTAuth},
	{Name: "bcrypt", Module: "golang.org/x/crypto", Does: "a warning: the map keyed by a public part, bcrypt (cost 10) of the rest; 4 tokens", New: newBcrypt},
}

const library = "github.com/apitoken-go/apitoken"

// ByName returns an Impl.
func ByName(name string) (Impl, bool) {
	for _, i := range Impls {
		if i.Name == name {
			return i, true
		}
	}
	return Impl{}, false
}
