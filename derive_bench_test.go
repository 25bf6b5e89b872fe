package apitoken_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A request with a derived token, and one with its parent.
func BenchmarkAcceptDerived(b *testing.B) {
	key, err := apitoken.NewKey("2026-11", sha256Of("key"))
	require.NoError(b, err)
	g := newRig(b, func(c *apitoken.Config) {
		c.Store, c.IntegrityKeys, c.Observe = memory.New(), []apitoken.Key{key}, nil
	})
	_, parent := g.generate(b)
	tok, err := g.Verify(b.Context(), apitoken.Credential{Secret: parent, Environment: "production"}, apitoken.AnyToken())
	require.NoError(b, err)
	text := map[string]string{"parent": parent.Reveal()}
	for name, d := range map[string]apitoken.Derived{
		"all":   {For: time.Hour},
		"route": {For: time.Hour, Permissions: []apitoken.Permission{wireRead}, Route: "GET /events", Label: "browser"},
	} {
		s, err := g.Derive(tok, d)
		require.NoError(b, err)
		text[name] = s.Reveal()
	}
	h := g.Require(wireRead)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	for _, name := range []string{"parent", "all", "route"} {
		b.Run(name, func(b *testing.B) {
			r := newRequest("/", "apiToken "+text[name])
			r.Pattern = "GET /events"
			w := &discard{header: make(http.Header)}
			before := g.Stats().Misses
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
			require.Equal(b, 204, w.status)
			require.Equal(b, before, g.Stats().Misses)
		})
	}
}

// A discard is a ResponseWriter that keeps the status.
type discard struct {
	header http.Header
	status int
}

func (w *discard) Header() http.Header         { return w.header }
func (w *discard) Write(b []byte) (int, error) { return len(b), nil }
func (w *discard) WriteHeader(status int)      { w.status = status }
