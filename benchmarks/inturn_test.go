//go:build unix

package benchmarks

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// BenchmarkColdInTurn is BenchmarkCold for busy machines: it reads the row by hand, calls
// Get and sends a request in turn, 128 times each, and reports the medians. So all three
// have the same noise.
func BenchmarkColdInTurn(b *testing.B) {
	const each = 128
	if *stored < coldTokens {
		b.Skip("BenchmarkCold has the same calls, and takes less time with few tokens")
	}
	for _, e := range engines {
		b.Run("store="+e.name, func(b *testing.B) {
			forget(b)
			d := e.open(b)
			s, err := newLibraryOver(NewWork(min(coldTokens, *stored)), d.store, apitoken.NoCache, Accepted)
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]string, len(s.Tokens))
			for i, token := range s.Tokens {
				ids[i] = token[len("acme_"):][:idLen]
			}
			useAll(b, s, d.store, ids)
			client, values := s.Client(Allowed), s.Rotation(s.Tokens)
			calls := []func(i int) error{
				func(i int) error { return d.row(b.Context(), ids[i]) },
				func(i int) error { _, err := d.store.Get(b.Context(), ids[i]); return err },
				func(i int) error {
					if got := client(values[i]); got != http.StatusOK {
						b.Fatal(got)
					}
					return nil
				},
			}
			var times [3][]float64
			n := 0
			for b.Loop() {
				for k, call := range calls {
					begun := time.Now()
					for i := range each {
						if err := call((n + i) % len(ids)); err != nil {
							b.Fatal(err)
						}
					}
					times[k] = append(times[k], float64(time.Since(begun))/each)
				}
				n += each
			}
			var get, request []float64
			for i, row := range times[0] {
				get, request = append(get, times[1][i]/row), append(request, times[2][i]/row)
			}
			median := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(times[0]), "ns/row")
			b.ReportMetric(median(times[1]), "ns/get")
			b.ReportMetric(median(times[2]), "ns/request")
			b.ReportMetric(median(get), "get/row")
			b.ReportMetric(median(request), "request/row")
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
