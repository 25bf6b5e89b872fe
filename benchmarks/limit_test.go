package benchmarks

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// limits are those of BenchmarkLimit, of which none is ever reached.
var limits = func() map[string]apitoken.Limits {
	much := apitoken.Limit{Requests: 1_000_000, Per: time.Second, Burst: 1_000_000}
	return map[string]apitoken.Limits{"none": {}, "token": {Token: much}, "both": {Token: much, Owner: much}}
}()

// BenchmarkLimit is a request that is accepted, without a limit, with one for each token, and with one
// for each token and each owner: what the middleware alone takes, and over a connection.
func BenchmarkLimit(b *testing.B) {
	for _, of := range []string{"none", "token", "both"} {
		impl := Impl{Name: "limit-" + of, New: func(w *Work, serve Serve) (*Server, error) { return newLimited(w, serve, limits[of]) }}
		b.Run("way=middleware/of="+of, func(b *testing.B) {
			s := set(b, impl)
			present(b, s.Client(Allowed), s.Rotation(s.Tokens), http.StatusOK)
		})
		b.Run("way=connection/of="+of, func(b *testing.B) {
			s := set(b, impl)
			server := httptest.NewServer(s.Handlers[Allowed])
			defer server.Close()
			c := func(authorization string) int {
				r, _ := http.NewRequest("GET", server.URL, nil)
				r.Header.Set("Authorization", authorization)
				resp, err := server.Client().Do(r)
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			present(b, c, s.Rotation(s.Tokens), http.StatusOK)
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
