//go:build !race

package apitoken_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/allocated"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// What a decision allocates is the larger part of what it costs, and does not
// depend on the machine. The race detector allocates itself: no such build here.

// A bareWriter allocates nothing: the fields of an answer are overwritten by the next.
type bareWriter struct {
	header http.Header
	status int
}

func (w *bareWriter) Header() http.Header         { return w.header }
func (w *bareWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *bareWriter) WriteHeader(status int)      { w.status = status }

func TestADecisionAllocatesNoMoreThanItDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still: neither the feed nor the recorder of uses has its turn
		store := memory.New()
		for _, rec := range wireRecords() {
			require.NoError(t, store.Create(t.Context(), rec))
		}
		observed := 0
		g := newRig(t, func(c *apitoken.Config) {
			c.Store, c.Observe = store, func(context.Context, apitoken.Event) { observed++ }
		})
		synctest.Wait()
		require.True(t, g.Stats().Feed)
		asContext := g.Require(wireRead)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		asArgument := g.Handler(func(w http.ResponseWriter, _ *http.Request, _ apitoken.Token) { w.WriteHeader(204) }, wireRead)
		good := newRequest("/", "apiToken "+goodToken.text)
		onOne := newRequest("/devices/7", "apiToken "+mint("only").text)
		onOne.SetPathValue("id", "7")
		only := mint("only").record(wireRead)
		only.Only = []string{"device:7", "device:8"}
		require.NoError(t, store.Create(t.Context(), only))
		synctest.Wait() // the feed has told of it
		limitedContext := g.Guard(onDevice)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		for _, c := range []struct {
			name    string
			h       http.Handler
			r       *http.Request
			status  int
			n, size uint64 // at most
		}{
			{"accepted by Require", asContext, good, 204, 2, 384},
			{"accepted for an object", limitedContext, onOne, 204, 2, 384},
			{"accepted by Handler", asArgument, good, 204, 1, 16},
			{"accepted by its parameter", asContext, newRequest("/?apiToken=" + goodToken.text), 204, 5, 704},
			{"no token", asContext, newRequest("/"), 401, 1, 80},
			{"a malformed credential", asContext, newRequest("/", "apiToken"), 400, 1, 80},
			{"a missing permission", asContext, newRequest("/", "apiToken "+lackingToken.text), 403, 1, 80},
			{"an unknown token", asContext, newRequest("/", "apiToken "+unknownToken.text), 401, 8, 640},
		} {
			if c.name == "an unknown token" {
				require.EqualValues(t, 3, g.Stats().Misses, "each of the three tokens was read once")
			}
			w := &bareWriter{header: make(http.Header)}
			before := observed
			n, size := allocated.Per(1000, func() { c.h.ServeHTTP(w, c.r) })
			assert.LessOrEqual(t, n, c.n, "allocations: %s", c.name)
			assert.LessOrEqual(t, size, c.size, "bytes: %s", c.name)
			assert.Equal(t, c.status, w.status, c.name)
			assert.Greater(t, observed-before, 2000, c.name)
			t.Logf("%s: %v allocations, %v bytes", c.name, n, size)
		}
		require.NoError(t, g.Close())
		rec, err := store.Get(t.Context(), goodToken.id)
		require.NoError(t, err)
		assert.Len(t, rec.Uses, 2, "by header and by parameter")
	})
}
