package valkey

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// BenchmarkGet compares Get with a bare GET of the same value by the same
// client, one after the other, so that what else the machine does hits both.
// The share is that of the medians: 90 % means that Get takes 1.11 times as long.
func BenchmarkGet(b *testing.B) {
	s, err := Open(b.Context(), "redis://"+testserver.Redis(b, "--appendfsync", "no").Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, used := range []bool{false, true} {
		b.Run(fmt.Sprintf("used=%v", used), func(b *testing.B) {
			rec := record(b.Name())
			if used {
				rec.Uses = []apitoken.Use{{ID: rec.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: time.Now()}}
			}
			if err := s.Create(b.Context(), rec); err != nil {
				b.Fatal(err)
			}
			var ours, bare []time.Duration
			for b.Loop() {
				begin := time.Now()
				if _, err := s.Get(b.Context(), rec.ID); err != nil {
					b.Fatal(err)
				}
				between := time.Now()
				if _, err := s.client.Do(b.Context(), s.client.B().Get().Key(recordKey(rec.ID)).Build()).ToString(); err != nil {
					b.Fatal(err)
				}
				ours, bare = append(ours, between.Sub(begin)), append(bare, time.Since(between))
			}
			median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2]) }
			b.ReportMetric(median(ours), "ns/Get")
			b.ReportMetric(median(bare), "ns/GET")
			b.ReportMetric(100*median(bare)/median(ours), "%")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkDecode is what Get does besides asking the server.
func BenchmarkDecode(b *testing.B) {
	one := stored{rec: record("token"), stamp: newStamp(), birth: newStamp()}
	value, err := one.encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode("token", value); err != nil {
			b.Fatal(err)
		}
	}
}
