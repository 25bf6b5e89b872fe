// Package apitokentest helps to test services that use apitoken.
//
//	func TestDevices(t *testing.T) {
//		auth := apitokentest.New(t, &catalog)
//		h := newHandler(auth)
//
//		r := apitokentest.Request("GET", "/devices", apitokentest.Token(t, auth, readDevices))
//		w := httptest.NewRecorder()
//		h.ServeHTTP(w, r)
//		...
//	}
//
// [CheckRoutes] finds routes without protection.
package apitokentest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// New returns an Authority without tokens, on a store in memory. It closes the Authority
// when the test ends.
//
// To test a special [apitoken.Config], make the Authority yourself; the other functions
// accept any Authority.
func New(t testing.TB, c *apitoken.Catalog) *apitoken.Authority {
	t.Helper()
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: c, Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	return auth
}

// Owner is the owner of the tokens of [Token]. Their environment is
// [apitoken.DefaultEnvironment].
const Owner = "tester"

// Token generates a token with exactly these permissions, possibly none, and returns its
// text. The token expires after one hour.
func Token(t testing.TB, auth *apitoken.Authority, perms ...apitoken.Permission) string {
	t.Helper()
	return TokenOf(t, auth, Owner, apitoken.DefaultEnvironment, perms...)
}

// TokenOf is [Token] for another owner or environment.
func TokenOf(t testing.TB, auth *apitoken.Authority, owner, environment string, perms ...apitoken.Permission) string {
	t.Helper()
	all := auth.Catalog().All()
	if len(all) == 0 {
		t.Fatal("apitokentest: the catalog is empty")
	}
	// A Manager generates no token without any permission, but may take one's
	// last away.
	first := perms
	if len(first) == 0 {
		first = all[:1]
	}
	m := auth.As(apitoken.Actor{User: owner, Environment: environment, Grants: first})
	info, secret, err := m.Generate(t.Context(), apitoken.GenerateParams{
		Name: t.Name(), Permissions: first, Expiry: apitoken.In(time.Hour),
	})
	if err == nil && len(perms) == 0 {
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret.Reveal()
}

// Request returns a request for a handler, like [httptest.NewRequest], with the token in
// the Authorization field. If token is "", the request has no token.
func Request(method, target, token string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	if token != "" {
		r.Header.Set("Authorization", "apiToken "+token)
	}
	return r
}
