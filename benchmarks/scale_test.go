package benchmarks

import (
	"flag"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

var largest = flag.Int("largest", Stored, "the largest number of tokens of BenchmarkScale")

var sizes = []struct {
	name string
	n    int
}{{"1k", 1_000}, {"100k", 100_000}, {"1M", 1_000_000}, {"5M", 5_000_000}}

// BenchmarkScale is BenchmarkAccept with more and more tokens in memory, all of
// which are presented in turn. Beside the time it reports what a token takes in
// memory and how long a collection takes with all of them.
func BenchmarkScale(b *testing.B) {
	for _, size := range sizes {
		if size.n > *largest {
			continue
		}
		b.Run("tokens="+size.name, func(b *testing.B) {
			for _, c := range crowds {
				b.Run("impl="+c.name, func(b *testing.B) {
					forget(b)
					measureScale(b, size.n, c.new)
				})
			}
		})
	}
}

func measureScale(b *testing.B, n int, make func(*Work, *synthetic) (*crowd, error)) {
	w := NewWork(0)
	store := newSynthetic(w, n)
	before := heap()
	crowd, err := make(w, store)
	if err != nil {
		b.Fatal(err)
	}
	made := heap() - before
	all, each := store.headers(crowd.length)
	before = heap()
	c := client(crowd.handler)
	for k := 0; k < len(all); k += each { // in memory from now on
		if got := c(all[k : k+each]); got != http.StatusOK {
			b.Fatalf("%q has the status %d", all[k:k+each], got)
		}
	}
	if held := crowd.held(); held != n {
		b.Fatalf("%d tokens of %d are in memory", held, n)
	}
	size := made + heap() - before
	start := time.Now()
	runtime.GC()
	collection := time.Since(start)

	b.ReportAllocs()
	k := 0
	for b.Loop() {
		if got := c(all[k : k+each]); got != http.StatusOK {
			b.Fatalf("status %d", got)
		}
		if k += each; k == len(all) {
			k = 0
		}
	}
	b.ReportMetric(float64(size)/float64(n), "B/token")
	b.ReportMetric(float64(collection.Microseconds())/1000, "gc-ms")
	runtime.KeepAlive(crowd)
	if err := crowd.close(); err != nil {
		b.Fatal(err)
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools had
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTheSyntheticStoreHasJustItsTokens(t *testing.T) {
	w := NewWork(0)
	for _, c := range crowds {
		t.Run(c.name, func(t *testing.T) {
			store := newSynthetic(w, 1000)
			crowd, err := c.new(w, store)
			require.NoError(t, err)
			defer crowd.close()
			client := client(crowd.handler)
			all, each := store.headers(crowd.length)
			seen := make(map[string]bool)
			for k := 0; k < len(all); k += each {
				value := all[k : k+each]
				require.Equal(t, http.StatusOK, client(value))
				seen[value] = true
			}
			assert.Len(t, seen, 1000)
			assert.Equal(t, 1000, crowd.held())
			assert.Equal(t, http.StatusUnauthorized, client("apiToken "+string(appendToken(nil, 1000)[:crowd.length])))
			value := []byte(all[:each])
			value[len("apiToken acme_")] ^= 1 // the checksum is wrong then
			assert.Equal(t, http.StatusUnauthorized, client(string(value)))
		})
	}
	store := newSynthetic(w, 1000)
	text := string(appendToken(nil, 7))
	id := text[len("acme_"):][:idLen]
	rec, err := store.Get(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, id, rec.ID)
	for _, other := range []string{"", id[1:], "0" + id[1:], id + "0", "-----------------"} {
		if other != id {
			_, err := store.Get(t.Context(), other)
			assert.ErrorIs(t, err, apitoken.ErrNotFound, other)
		}
	}
}
