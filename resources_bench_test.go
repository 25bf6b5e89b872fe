package apitoken_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A request with a token that is limited to objects, behind a mux, and one without limits.
func BenchmarkAcceptObjects(b *testing.B) {
	store := memory.New()
	only := mint("only").record(wireRead)
	only.Only = []string{"device:7", "device:8"}
	require.NoError(b, store.Create(b.Context(), only))
	require.NoError(b, store.Create(b.Context(), mint("plain").record(wireRead)))
	g := newRig(b, func(c *apitoken.Config) { c.Store, c.Observe = store, nil })
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.Handle("GET /plain/{id}", g.Require(wireRead)(ok))
	mux.Handle("GET /on/{id}", g.Guard(onDevice)(ok))
	mux.Handle("GET /filtered/{id}", g.Guard(apitoken.All(wireRead).Filtered(wireDevice))(ok))
	for _, c := range [][2]string{{"plain", "/plain/7"}, {"plain", "/on/7"}, {"only", "/on/7"}, {"only", "/filtered/7"}} {
		b.Run(c[0]+c[1][:len(c[1])-2], func(b *testing.B) {
			r := newRequest(c[1], "apiToken "+mint(c[0]).text)
			w := &discard{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				mux.ServeHTTP(w, r)
			}
			require.Equal(b, 204, w.status)
		})
	}
}
