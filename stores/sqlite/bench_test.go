package sqlite

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// How many tokens the benchmarks of a large store have:
//
//	go test -run - -bench . -tokens 1000000
var tokens = flag.Int("tokens", 10_000, "number of tokens for benchmarks")

var today = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// benchRecord returns the token number i of a service with some 20 tokens per
// user, of which a few are owned by a machine.
func benchRecord(i int) apitoken.Record {
	h := i * 7919 % 1_000_003 // in no order
	digest := sha256.Sum256(fmt.Append(nil, "secret ", i))
	created := today.Add(-time.Duration(h) * time.Minute)
	rec := apitoken.Record{
		ID: fmt.Sprintf("%x", digest[:8]), Version: created.UnixMicro(), Environment: "production",
		Owner: fmt.Sprintf("user-%d@example.org", h/20), Name: fmt.Sprintf("%s %s %06d", benchNames[h%len(benchNames)], benchNames[h/7%len(benchNames)], h),
		Permissions: []string{"devices:read"}, Status: apitoken.StatusActive,
		CreatedAt: created, CreatedBy: "user", ChangedAt: created,
		Secrets: []apitoken.SecretRecord{{Digest: digest[:], CreatedAt: created}},
		History: []apitoken.HistoryEntry{{At: created, By: "user", Action: "generate"}},
	}
	if h%10 == 0 {
		rec.Owner = "machine"
	}
	for d := range 6 {
		if n := []int{2, 3, 10, 100, 300, 1000}[d]; h%n == 1 {
			rec.Permissions = append(rec.Permissions, fmt.Sprintf("one-in:%d", n))
		}
	}
	if h%3 > 0 {
		rec.ExpiresAt = today.Add(time.Duration(h%400_000-40_000) * time.Minute)
	}
	if h%20 == 0 {
		rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = apitoken.StatusInactive, today, "admin"
	}
	if h%1000 == 3 {
		rec.NotBefore = today.Add(time.Hour)
	}
	if h%3 == 0 {
		rec.Uses = []apitoken.Use{{ID: rec.ID, Digest: digest[:], Source: apitoken.Scheme("apiToken"), At: today.Add(-time.Duration(h) * time.Second)}}
	}
	return rec
}

var benchNames = []string{"backup", "laptop", "build", "monitor", "deploy", "gateway", "sensor", "test", "import", "export", "phone"}

// stocked opens a database with n tokens.
func stocked(b *testing.B, n int) (*Store, string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "tokens.db")
	s := mustOpen(b, path)
	const batch = 5000
	for i := 0; i < n; i += batch {
		var recs []apitoken.Record
		for j := i; j < min(i+batch, n); j++ {
			recs = append(recs, benchRecord(j))
		}
		_, err := s.CreateAll(b.Context(), recs)
		if err != nil {
			b.Fatal(err)
		}
	}
	return s, path
}

// BenchmarkGet compares Get with a bare read of the same row by the same driver.
func BenchmarkGet(b *testing.B) {
	s, _ := stocked(b, *tokens)
	ids := make([]string, 1024)
	for i := range ids {
		ids[i] = benchRecord(i * 31 % *tokens).ID
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := s.Get(ctx, ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, bare := range []struct {
		name, columns string
		n             int
	}{{"bare/row", "*", 40}, {"bare/digest", "digest", 1}} {
		b.Run(bare.name, func(b *testing.B) {
			stmt, err := s.readers.PrepareContext(ctx, `SELECT `+bare.columns+` FROM apitoken_tokens WHERE id = ?`)
			if err != nil {
				b.Fatal(err)
			}
			defer stmt.Close()
			vals, dest := make([]any, bare.n), make([]any, bare.n)
			for i := range vals {
				dest[i] = &vals[i]
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := stmt.QueryRowContext(ctx, ids[i%len(ids)]).Scan(dest...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := s.Get(ctx, ids[i%len(ids)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

var benchQueries = []struct {
	name string
	q    apitoken.Query
}{
	{"first", apitoken.Query{Order: apitoken.ByName}},
	{"deep", apitoken.Query{Order: apitoken.ByName, After: &apitoken.Position{Name: "monitor test", ID: "x"}}},
	{"deep by last use descending", apitoken.Query{Order: apitoken.ByLastUsed, Descending: true, After: &apitoken.Position{Time: today.Add(-time.Hour), ID: "x"}}},
	{"owner with 20", apitoken.Query{Order: apitoken.ByName, Owner: "user-7@example.org"}},
	{"owner with many", apitoken.Query{Order: apitoken.ByCreated, Owner: "machine"}},
	{"text found everywhere", apitoken.Query{Order: apitoken.ByName, Text: "b"}},
	{"text found often", apitoken.Query{Order: apitoken.ByName, Text: "sensor"}},
	{"text found last", apitoken.Query{Order: apitoken.ByName, Text: "test test"}},
	{"text found rarely", apitoken.Query{Order: apitoken.ByCreated, Text: "00012"}},
	{"text found once", apitoken.Query{Order: apitoken.ByName, Text: "000123"}},
	{"text found never", apitoken.Query{Order: apitoken.ByName, Text: "xyz"}},
	{"permission of half", apitoken.Query{Order: apitoken.ByName, Permission: "one-in:2"}},
	{"permission of one in 100", apitoken.Query{Order: apitoken.ByName, Permission: "one-in:100"}},
	{"permission of one in 300", apitoken.Query{Order: apitoken.ByName, Permission: "one-in:300"}},
	{"permission of one in 1000", apitoken.Query{Order: apitoken.ByName, Permission: "one-in:1000"}},
	{"active", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusActive}},
	{"inactive", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusInactive}},
	{"expired", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusExpired}},
	{"expired by expiry descending", apitoken.Query{Order: apitoken.ByExpires, Descending: true, Status: apitoken.StatusExpired}},
	{"pending", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusPending}},
	{"active text permission", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusActive, Text: "sensor", Permission: "one-in:3"}},
	{"nothing by three filters", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusInactive, Permission: "one-in:2", Text: "test"}},
}

// BenchmarkList lists pages of 50 in a small and in a large environment.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1000, *tokens} {
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			s, _ := stocked(b, n)
			for _, c := range benchQueries {
				b.Run(c.name, func(b *testing.B) {
					c.q.Environment, c.q.At, c.q.Limit = "production", today, 50
					var page apitoken.Page
					var err error
					for b.Loop() {
						if page, err = s.List(b.Context(), c.q); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(len(page.Records)), "records")
					b.ReportMetric(float64(page.Count), "count")
				})
			}
		})
	}
}

// BenchmarkChange times changes, each of which waits for the disk.
func BenchmarkChange(b *testing.B) {
	s, _ := stocked(b, *tokens)
	b.Run("Create and Delete", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			rec := benchRecord(*tokens + i%1000)
			if err := s.Create(b.Context(), rec); err != nil {
				b.Fatal(err)
			}
			if err := s.Delete(b.Context(), rec.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprint("CreateAll ", n), func(b *testing.B) {
			s, _ := stocked(b, 0)
			next := 0
			for b.Loop() {
				recs := make([]apitoken.Record, n)
				for i := range recs {
					recs[i] = benchRecord(next)
					next++
				}
				if _, err := s.CreateAll(b.Context(), recs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(next), "µs/record")
		})
	}
	b.Run("Replace", func(b *testing.B) {
		rec := benchRecord(1)
		for b.Loop() {
			rec.Version++
			rec.ExpiresAt = rec.ExpiresAt.Add(time.Second)
			if err := s.Replace(b.Context(), rec); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Touch 100", func(b *testing.B) {
		uses := make([]apitoken.Use, 100)
		for n := 0; b.Loop(); n++ {
			for i := range uses {
				rec := benchRecord(i)
				uses[i] = apitoken.Use{ID: rec.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: today.Add(time.Duration(n) * time.Minute)}
			}
			if err := s.Touch(b.Context(), uses); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLook times what a Watch does every 50 ms when there is nothing new.
func BenchmarkLook(b *testing.B) {
	s, _ := stocked(b, *tokens)
	log, err := s.readers.PrepareContext(b.Context(), logged)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var last logEntry
	if err := s.readers.QueryRowContext(b.Context(), `SELECT change, id FROM apitoken_changes WHERE change = ?`, *tokens).Scan(&last.change, &last.id); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ids, lost, err := read(whole(b.Context()), log, &last); ids != nil || lost || err != nil {
			b.Fatal(ids, lost, err)
		}
	}
}
