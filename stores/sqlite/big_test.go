package sqlite

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestBuildBig(t *testing.T) {
	path := os.Getenv("BUILDDB")
	if path == "" {
		t.Skip()
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.writer.conn.ExecContext(t.Context(), "PRAGMA synchronous=OFF; PRAGMA cache_size=-2000000")
	const n = 1_000_000
	for i := 0; i < n; i += 50000 {
		err := s.write(t.Context(), func(ctx context.Context, w *writer) error {
			for j := i; j < i+50000; j++ {
				rec := benchRecord(j)
				if err := create(ctx, w, &rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
func TestBig(t *testing.T) {
	path := os.Getenv("BIGDB")
	if path == "" {
		t.Skip()
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	small, _ := stocked2(t, 1000)
	if os.Getenv("REINDEX") != "" {
		if _, err := s.writer.conn.ExecContext(t.Context(), `DROP INDEX apitoken_by_status; DROP INDEX apitoken_by_not_before; CREATE INDEX apitoken_by_status     ON apitoken_tokens (environment, status, expires_key, not_before);
CREATE INDEX apitoken_by_not_before ON apitoken_tokens (environment, not_before, status, expires_key) WHERE not_before IS NOT NULL;`); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range benchQueries {
		c.q.Environment, c.q.At, c.q.Limit = "production", today, 50
		m := func(s *Store) (time.Duration, int, int) {
			best := time.Hour
			var n, k int
			for range 15 {
				b := time.Now()
				page, err := s.List(t.Context(), c.q)
				if err != nil {
					t.Fatal(err)
				}
				best = min(best, time.Since(b))
				n, k = len(page.Records), page.Count
				if time.Since(b) > 300*time.Millisecond {
					break
				}
			}
			return best, n, k
		}
		b1, _, _ := m(small)
		b, n, k := m(s)
		fmt.Printf("%-32s 1k %7.2f ms  big %8.2f ms   records %d count %d\n", c.name, float64(b1.Microseconds())/1000, float64(b.Microseconds())/1000, n, k)
	}
}
func stocked2(t testing.TB, n int) (*Store, string) {
	path := newPath(t)
	s := mustOpen(t, path)
	s.write(t.Context(), func(ctx context.Context, w *writer) error {
		for j := range n {
			rec := benchRecord(j)
			if err := create(ctx, w, &rec); err != nil {
				return err
			}
		}
		return nil
	})
	return s, path
}
