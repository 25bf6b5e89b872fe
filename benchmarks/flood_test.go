package benchmarks

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/allocated"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// counting counts the look-ups of a store, and the uses it was told of.
type counting struct {
	*memory.Store
	found, missing, touched atomic.Int64
}

func (c *counting) Touch(ctx context.Context, uses []apitoken.Use) error {
	c.touched.Add(int64(len(uses)))
	return c.Store.Touch(ctx, uses)
}

func (c *counting) Get(ctx context.Context, id string) (apitoken.Record, error) {
	rec, err := c.Store.Get(ctx, id)
	if err == nil {
		c.found.Add(1)
	} else {
		c.missing.Add(1)
	}
	return rec, err
}

// cleanup closes something at the end of the test.
func cleanup(t testing.TB, closing func() error) {
	t.Cleanup(func() {
		if err := closing(); err != nil {
			t.Error(err)
		}
	})
}

// flooded is the library while it is flooded.
type flooded struct {
	store  *counting
	client Client
	good   []string // in use, and in memory
	next   int
}

func newFlooded(tb testing.TB, tokens int, maxStaleness time.Duration) *flooded {
	tb.Helper()
	store := &counting{Store: memory.New()}
	s, err := newLibraryOver(NewWork(tokens), store, maxStaleness, Accepted)
	require.NoError(tb, err)
	cleanup(tb, s.Close)
	s.Warm()
	for store.touched.Load() < int64(tokens) { // what waits to be recorded is no part of the flood
		time.Sleep(time.Millisecond)
	}
	return &flooded{store: store, client: s.Client(Allowed), good: s.Rotation(s.Tokens)}
}

// A flood is what came of one.
type flood struct {
	added     float64 // MiB in use afterwards that were not before
	hits      float64 // requests with a good token that were answered from memory, of 1
	storeGets float64 // look-ups for each unknown token
}

// flood presents n tokens as they should be, all different, that nobody has issued,
// and a good one after each eight.
func (f *flooded) flood(tb testing.TB, n int) flood {
	before := heap()
	f.store.found.Store(0)
	f.store.missing.Store(0)
	good := 0
	buf := []byte("apiToken ")
	for i := range n {
		unknown := string(appendToken(buf, i))
		if got := f.client(unknown); got != http.StatusUnauthorized {
			tb.Fatalf("%q has the status %d", unknown, got)
		}
		if i%8 != 7 {
			continue
		}
		if got := f.client(f.good[f.next]); got != http.StatusOK {
			tb.Fatalf("%q has the status %d", f.good[f.next], got)
		}
		f.next = (f.next + 1) % len(f.good)
		good++
	}
	after := heap()
	runtime.KeepAlive(f)
	return flood{
		float64(after-before) / (1 << 20),
		1 - float64(f.store.found.Load())/float64(good),
		float64(f.store.missing.Load()) / float64(n),
	}
}

// floodGood is how many good tokens are in use meanwhile.
const floodGood = 10_000

// huge is the value of a header field of 0.9 MB, which is nearly all that net/http
// takes, that begins as a token does.
var huge = "apiToken acme_" + strings.Repeat("0aB", 300_000)

// BenchmarkFlood is what an attacker can do who has no token: a million that look
// like some, or one without an end.
func BenchmarkFlood(b *testing.B) {
	forget(b)
	f := newFlooded(b, min(floodGood, *stored), 0)
	b.Run("what=unknown", func(b *testing.B) {
		n := min(1_000_000, 10**stored)
		var all flood
		for b.Loop() {
			all = f.flood(b, n)
		}
		b.ReportMetric(all.added, "MiB-added")
		b.ReportMetric(100*all.hits, "%hits")
		b.ReportMetric(all.storeGets, "gets/token")
		b.ReportMetric(float64(n), "unknown")
		b.ReportMetric(float64(len(f.good)), "good")
	})
	b.Run("what=huge", func(b *testing.B) {
		present(b, f.client, []string{huge}, http.StatusBadRequest) // as it is longer than a token may be
	})
}

// A million is for the benchmark.
func TestAFloodOfUnknownTokensTakesLittleMemoryAndDrivesNoGoodOneOut(t *testing.T) {
	const n = 100_000
	f := newFlooded(t, floodGood, time.Hour) // on a slow machine, too, only the flood drives tokens out
	got := f.flood(t, n)
	t.Logf("%+v", got)
	assert.LessOrEqual(t, got.added, 6.4)
	assert.GreaterOrEqual(t, got.hits, 0.99)
	assert.LessOrEqual(t, got.storeGets, 1.0)
}

// How long that takes is for the benchmark.
func TestATokenOfNearlyAMegabyteIsRefusedWithoutACopyAndWithoutTheStore(t *testing.T) {
	f := newFlooded(t, 1, 0)
	f.store.found.Store(0)
	_, bytes := allocated.Per(20, func() { require.Equal(t, http.StatusBadRequest, f.client(huge)) })
	assert.LessOrEqual(t, bytes, uint64(1<<10))
	assert.Zero(t, f.store.found.Load()+f.store.missing.Load())
}
