package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// How many tokens the benchmarks of a large store have, and where:
//
//	go test -run - -bench . -tokens 1000000
//
// In a database that is named the tokens stay.
var (
	tokens   = flag.Int("tokens", 10_000, "number of tokens for benchmarks")
	database = flag.String("database", "", "URL of the database for benchmarks with -tokens, which are put into it if it has none")
)

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
func stocked(b testing.TB, n int) *Store {
	b.Helper()
	url := *database
	if url == "" || n != *tokens {
		url = testserver.PostgresDatabase(b)
	}
	s := mustOpen(b, url)
	var stocked bool
	if err := s.pool.QueryRow(b.Context(), `SELECT EXISTS (SELECT FROM apitoken_tokens)`).Scan(&stocked); err != nil {
		b.Fatal(err)
	}
	if !stocked {
		stock(b, s, n)
	}
	return s
}

// stock loads n tokens as fast as can be.
func stock(b testing.TB, s *Store, n int) {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	conn, err := s.pool.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	load := func(table string, names []string, row func(rec apitoken.Record) []any) {
		const batch = 50_000
		for from := 0; from < n; from += batch {
			rows := pgx.CopyFromSlice(min(batch, n-from), func(i int) ([]any, error) { return row(benchRecord(from + i)), nil })
			if _, err := conn.CopyFrom(b.Context(), pgx.Identifier{table}, names, rows); err != nil {
				b.Fatal(err)
			}
		}
	}
	exec := func(query string) {
		if _, err := conn.Exec(b.Context(), query); err != nil {
			b.Fatal(err)
		}
	}
	exec(`SET statement_timeout = 0; CREATE TEMPORARY TABLE used (id text, last_used_at timestamptz)`)
	load("apitoken_tokens", names, values)
	load("used", []string{"id", "last_used_at"}, func(rec apitoken.Record) []any {
		return []any{rec.ID, lastUsed(rec.LastUsed())}
	})
	exec(`UPDATE apitoken_last_used l SET last_used_at = used.last_used_at FROM used WHERE l.id = used.id AND used.last_used_at > '-infinity'`)
	exec(`DROP TABLE used`)
	exec(`VACUUM ANALYZE`)
}

// BenchmarkGet compares Get with a bare read of the same row through the same
// pool, by turns, so that a noisy machine is noisy for both. It reports medians.
func BenchmarkGet(b *testing.B) {
	s := stocked(b, *tokens)
	ids := make([]string, 1024)
	for i := range ids {
		ids[i] = benchRecord(i * 31 % *tokens).ID
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	bare := func(id string, decode func(pgx.Rows) error) error {
		rows, err := s.pool.Query(ctx, `SELECT * FROM apitoken_tokens WHERE id = $1`, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return errors.Join(rows.Err(), errors.New("no row"))
		}
		return decode(rows)
	}
	reads := []struct {
		name string
		read func(id string) error
	}{
		{"Get", func(id string) error { _, err := s.Get(ctx, id); return err }},
		{"bare", func(id string) error {
			return bare(id, func(rows pgx.Rows) error { _, err := rows.Values(); return err })
		}},
		{"bare-undecoded", func(id string) error { return bare(id, func(pgx.Rows) error { return nil }) }},
	}
	took := make([][]time.Duration, len(reads))
	for i := 0; b.Loop(); i++ {
		for n := range reads {
			n = (n + i) % len(reads) // the first one finds the row in no cache
			begin := time.Now()
			if err := reads[n].read(ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
			took[n] = append(took[n], time.Since(begin))
		}
	}
	b.ReportMetric(0, "ns/op")
	median := make([]float64, len(reads))
	for n, r := range reads {
		slices.Sort(took[n])
		median[n] = float64(took[n][len(took[n])/2])
		b.ReportMetric(median[n], "ns/"+r.name)
	}
	b.ReportMetric(median[1]/median[0], "bare/Get")
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

// BenchmarkList compares pages of 50 in a large environment with the first page of
// one with 1,000 tokens, by turns, so that a noisy machine is noisy for both. It
// reports medians.
func BenchmarkList(b *testing.B) {
	small, large := stocked(b, 1000), stocked(b, *tokens)
	list := func(s *Store, q apitoken.Query) (apitoken.Page, time.Duration) {
		q.Environment, q.At, q.Limit = "production", today, 50
		begin := time.Now()
		page, err := s.List(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		return page, time.Since(begin)
	}
	for _, c := range benchQueries {
		b.Run(c.name, func(b *testing.B) {
			var first, took []time.Duration
			var page apitoken.Page
			for b.Loop() {
				_, d := list(small, benchQueries[0].q)
				first = append(first, d)
				page, d = list(large, c.q)
				took = append(took, d)
			}
			slices.Sort(first)
			slices.Sort(took)
			n := len(took) / 2
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took[n].Microseconds()), "µs/page")
			b.ReportMetric(float64(took[n])/float64(first[n]), "x-first-of-1000")
			b.ReportMetric(float64(len(page.Records)), "records")
			b.ReportMetric(float64(page.Count), "count")
		})
	}
}

// BenchmarkKeysInUse is what New asks once.
func BenchmarkKeysInUse(b *testing.B) {
	s := stocked(b, *tokens)
	for b.Loop() {
		if _, _, err := s.KeysInUse(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChange times changes, each of which waits for the disk.
func BenchmarkChange(b *testing.B) {
	s := stocked(b, *tokens)
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
	b.Run("Replace", func(b *testing.B) {
		rec, err := s.Get(b.Context(), benchRecord(1).ID)
		if err != nil {
			b.Fatal(err)
		}
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
