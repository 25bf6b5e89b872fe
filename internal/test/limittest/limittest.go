// Package limittest tests with any framework that a request counts once behind two guards, and
// what the answer to one over the limit says.
package limittest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A Service serves a route that is behind two guards, and behind the fields of a Gateway.
type Service struct {
	Call   Call
	Or     Call // of a route behind GuardOr; nil: there is none
	Called *int // how often a handler was called, or another login asked

	NoFields  bool // accepted answers do not have the fields of limits
	NoQuery   bool // there is no query
	NoProblem bool // a refusal is no problem document
}

// A Call makes a request with a token, in the query or in the header.
type Call func(token string, query bool) (status int, header http.Header, body string)

// Gateway has the fields that others around the guards set.
func Gateway() http.Header {
	return http.Header{"Ratelimit-Policy": {`"gateway";q=9;w=1`}, "Ratelimit": {`"gateway";r=5;t=1`}}
}

// Request makes a request of net/http.
func Request(target, token string, query bool) *http.Request {
	if query {
		return apitokentest.Request("GET", target+"?apiToken="+token, "")
	}
	return apitokentest.Request("GET", target, token)
}

// Check tests the service that serve returns.
func Check(t *testing.T, catalog *apitoken.Catalog, p apitoken.Permission, serve func(auth *apitoken.Authority) Service) {
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "test", Permissions: catalog, Store: memory.New(),
		Limits: apitoken.Limits{Token: apitoken.Limit{Requests: 2, Per: 48 * time.Hour, Burst: 2}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	s := serve(auth)
	token := apitokentest.Token(t, auth, p)
	for i, left := range []string{"1", "0"} {
		status, header, _ := s.Call(token, i == 1 && !s.NoQuery)
		require.Equal(t, 200, status)
		if !s.NoFields {
			s.fields(t, header, left)
		}
		assert.Empty(t, header.Get("Retry-After"))
	}
	calls := []Call{s.Call}
	if s.Or != nil {
		calls = append(calls, s.Or)
	}
	for _, call := range calls {
		for _, query := range []bool{false, true} {
			if query && s.NoQuery {
				continue
			}
			status, header, body := call(token, query)
			require.Equal(t, 429, status)
			s.fields(t, header, "0")
			assert.Len(t, header.Values("Retry-After"), 1)
			assert.Empty(t, header.Values("WWW-Authenticate"))
			if !s.NoProblem {
				assert.Equal(t, "application/problem+json", header.Get("Content-Type"))
				assert.Contains(t, body, "#rate-limited")
			}
			assert.NotContains(t, body, apitokentest.Owner)
		}
	}
	assert.Equal(t, 2, *s.Called, "what is over the limit reaches nothing")
}

// fields checks the two fields, which join those of the gateway.
func (s Service) fields(t *testing.T, header http.Header, left string) {
	t.Helper()
	join := func(name string) string { return strings.Join(header.Values(name), ", ") }
	policy, rest := `"gateway";q=9;w=1, `, `"gateway";r=5;t=1, `
	if s.NoFields { // then it is the trailer, in which no gateway writes
		policy, rest = "", ""
	}
	assert.Equal(t, policy+`"token";q=2;w=172800`, join("RateLimit-Policy"))
	assert.Regexp(t, `^`+rest+`"token";r=`+left+`;t=\d+$`, join("RateLimit"))
}
