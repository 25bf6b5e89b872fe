package benchmarks

import (
	"errors"
	"flag"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/apitoken-go/apitoken"
)

var (
	stored = flag.Int("tokens", Stored, "how many tokens are stored")
	cost   = flag.Int("cost", bcrypt.DefaultCost, "the cost of bcrypt")
	settle = flag.Duration("settle", 0, "a pause after all tokens were presented once to an implementation with a cache, for what that has set going, as recording when they were used")
)

var work = sync.OnceValue(func() *Work {
	w := NewWork(*stored)
	w.PasswordCost = *cost
	return w
})

// latest is the implementation that was set up last. Only one is kept: what the
// others have in memory would be the collector's work in this one's measurement.
var latest struct {
	name   string
	server *Server
}

// forget closes and drops it.
func forget(b *testing.B) {
	b.Helper()
	if s := latest.server; s != nil && s.Close != nil {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
	latest.name, latest.server = "", nil
}

// set sets an implementation up.
func set(b *testing.B, i Impl) *Server {
	b.Helper()
	if latest.name != i.Name {
		forget(b)
		s, err := i.New(work(), Accepted)
		if err != nil {
			b.Fatal(err)
		}
		s.Tokens = packed(s.Tokens)
		latest.name, latest.server = i.Name, s
		if s.Cached {
			s.Warm()
			time.Sleep(*settle)
		}
	}
	runtime.GC()
	return latest.server
}

// present measures requests, of which each must have a status.
func present(b *testing.B, c Client, values []string, status int) {
	b.Helper()
	b.ReportAllocs()
	i, before := 0, processorTime()
	for b.Loop() {
		if got := c(values[i]); got != status {
			b.Fatalf("%.100q has the status %d", values[i], got)
		}
		if i++; i == len(values) {
			i = 0
		}
	}
	// Of all threads, so with what the collector and others do beside, and without
	// the time in which other programs had the processor.
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkAccept is a request with a valid token.
func BenchmarkAccept(b *testing.B) {
	for _, i := range Impls {
		b.Run("impl="+i.Name, func(b *testing.B) {
			s := set(b, i)
			present(b, s.Client(Allowed), s.Rotation(s.Tokens), http.StatusOK)
		})
	}
}

// BenchmarkAcceptQuery is BenchmarkAccept with the token in the query parameter,
// which is taken out of the request before the handler sees it.
func BenchmarkAcceptQuery(b *testing.B) {
	for _, i := range Impls {
		if i.Module != library {
			continue
		}
		b.Run("impl="+i.Name, func(b *testing.B) {
			s := set(b, i)
			present(b, queryClient(s.Handlers[Allowed]), s.Queries(), http.StatusOK)
		})
	}
}

// BenchmarkRefuse is a request that is refused; but by bare, which refuses nobody
// and answers 200: what is left of a refusal when nothing is to be decided.
func BenchmarkRefuse(b *testing.B) {
	for _, why := range Refusals {
		b.Run("why="+why.Name, func(b *testing.B) {
			for _, i := range Impls {
				b.Run("impl="+i.Name, func(b *testing.B) {
					s, status := set(b, i), why.Status(i)
					if i.Name == "bare" {
						status = http.StatusOK
					}
					present(b, s.Client(why.Route), why.Values(s), status)
				})
			}
		})
	}
}

// BenchmarkGet is what refusing an unknown token cannot save: the store has to be
// asked.
func BenchmarkGet(b *testing.B) {
	b.Run("store=memory", func(b *testing.B) {
		i, _ := ByName("apitoken")
		s := set(b, i)
		b.Run("what=unknown", func(b *testing.B) {
			ids := s.Rotation(s.Unknown())
			for k, value := range ids {
				ids[k] = value[len(s.Scheme+" acme_"):][:idLen]
			}
			b.ReportAllocs()
			for k := 0; b.Loop(); k++ {
				if _, err := s.store.Get(b.Context(), ids[k%len(ids)]); !errors.Is(err, apitoken.ErrNotFound) {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkParallel is BenchmarkAccept on all cores, as -cpu says. What it
// reports is the time per request of all of them together.
func BenchmarkParallel(b *testing.B) {
	for _, i := range Impls {
		b.Run("impl="+i.Name, func(b *testing.B) {
			s := set(b, i)
			values := s.Rotation(s.Tokens)
			var start atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				c := s.Client(Allowed)
				k := int(start.Add(1)) * len(values) / 7 % len(values)
				for pb.Next() {
					if got := c(values[k]); got != http.StatusOK {
						b.Errorf("%.100q has the status %d", values[k], got)
						return
					}
					if k++; k == len(values) {
						k = 0
					}
				}
			})
		})
	}
}
