package benchmarks

import (
	"net/http"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// BenchmarkLimit is a request that is accepted, without a limit, with one for each token, and with one
// for each token and each owner, of which none is ever reached.
func BenchmarkLimit(b *testing.B) {
	much := apitoken.Limit{Requests: 1_000_000, Per: time.Second, Burst: 1_000_000}
	for _, of := range []struct {
		name   string
		limits apitoken.Limits
	}{{"none", apitoken.Limits{}}, {"token", apitoken.Limits{Token: much}}, {"both", apitoken.Limits{Token: much, Owner: much}}} {
		b.Run("of="+of.name, func(b *testing.B) {
			s := set(b, Impl{Name: "limit-" + of.name, New: func(w *Work, serve Serve) (*Server, error) { return newLimited(w, serve, of.limits) }})
			present(b, s.Client(Allowed), s.Rotation(s.Tokens), http.StatusOK)
		})
	}
}

// newLimited is the library over a memory store, with limits.
func newLimited(w *Work, serve Serve, limits apitoken.Limits) (*Server, error) {
	catalog := new(apitoken.Catalog)
	var perms []apitoken.Permission
	for _, name := range w.Permissions {
		perms = append(perms, catalog.Define(name, "What "+name+" allows"))
	}
	a, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: memory.New(), StoreTimeout: time.Minute, Limits: limits,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{Scheme: "apiToken", Cached: true, Close: a.Close}
	s.Tokens, err = generate(a, w, len(w.Users), perms)
	s.Handlers[Allowed] = a.Require(perms[w.Required[Allowed][0]], perms[w.Required[Allowed][1]])(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			tok, _ := apitoken.FromContext(r.Context())
			w.WriteHeader(serve(tok.Owner()))
		}))
	return s, err
}
