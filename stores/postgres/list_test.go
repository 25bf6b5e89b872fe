package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// The conformance of lists once more, but where every filter lets through more
// than a few tokens, and pages end early or late.
func TestEveryWayToAPageIsRight(t *testing.T) {
	testserver.Unwatched(t)
	defer func(b sqlkit.Bounds) { bounds = b }(bounds)
	url := testserver.PostgresDatabase(t)
	for _, c := range []struct {
		name string
		sqlkit.Bounds
	}{
		{"one window", sqlkit.Bounds{Window: 10_000}},
		{"many windows", sqlkit.Bounds{Window: 1, Time: time.Hour}},
		{"partial pages", sqlkit.Bounds{Window: 20}},
	} {
		bounds = c.Bounds
		bounds.Rows = 10_000
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) apitoken.Store {
				_, name, _ := strings.Cut(t.Name(), "/")
				for _, about := range []string{"List", "Status", "Position", "Paging", "Filter"} {
					if strings.Contains(name, about) {
						s, err := Open(t.Context(), inSchema(t, url))
						if err != nil {
							t.Fatal(err)
						}
						return s
					}
				}
				t.Skip("not about lists")
				return nil
			})
		})
	}
}

func TestNoListReadsAWholeTable(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	s := stocked(t, 3000)
	tx, err := s.pool.BeginTx(t.Context(), pgx.TxOptions{BeginQuery: beginList})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	plan := func(c clause) string {
		t.Helper()
		rows, err := tx.Query(t.Context(), `EXPLAIN `+numbered(c), c.Args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%v in %s", err, c.Text)
		}
		p := strings.Join(lines, "\n")
		if strings.Contains(p, "Seq Scan") {
			t.Fatalf("a table is read as a whole:\n%s\n%s", c.Text, p)
		}
		return p
	}
	indexes := map[apitoken.Order]string{
		apitoken.ByName: "apitoken_by_name", apitoken.ByCreated: "apitoken_by_created",
		apitoken.ByExpires: "apitoken_by_expires", apitoken.ByLastUsed: "apitoken_by_last_used",
	}
	inOrder := func(c clause, order apitoken.Order, after bool) {
		t.Helper()
		p := plan(c)
		if !strings.Contains(p, " using "+indexes[order]) || strings.Contains(p, "Sort") || after && !strings.Contains(p, "Index Cond: ((environment = 'production'::text) AND (ROW(") {
			t.Fatalf("a walk in order sorts, or does not begin at the position:\n%s\n%s", c.Text, p)
		}
	}
	for order := range dialect.Orders {
		for _, descending := range []bool{false, true} {
			for _, after := range []*apitoken.Position{nil, {Name: "k", Time: today, ID: "x"}} {
				base := apitoken.Query{Environment: "production", Order: order, Descending: descending, After: after, At: today, Limit: 50}
				bare := newLister(s, t.Context(), pgxConn{tx.Conn()}, base)
				inOrder(cat(bare.inOrder(selected), dialect.Limit(51)), order, after != nil)
				for bits := 1; bits < 1<<6; bits++ {
					q := base
					if bits&1 != 0 {
						q.Owner = "machine"
					}
					if bits&2 != 0 {
						q.Permission = "one-in:2"
					}
					if bits&4 != 0 {
						q.Text = "test"
					}
					q.Status = []apitoken.Status{
						"", apitoken.StatusActive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusInactive,
					}[min(bits>>3, 4)]
					if bits == 61 {
						q.Status, q.Policy = apitoken.StatusActive, apitoken.Policy{MaxLifetime: 1, MaxIdle: 1}
					}
					l := newLister(s, t.Context(), pgxConn{tx.Conn()}, q)
					if len(l.Filters) == 0 {
						continue
					}
					for _, f := range l.Filters {
						p := plan(l.From(f, 10))
						if q.Policy.MaxIdle == 0 && !strings.Contains(p, "Index Only Scan") {
							t.Fatalf("a filter reads rows besides its index:\n%s\n%s", f.Rows.Text, p)
						}
					}
					if order == apitoken.ByExpires && q.Status != "" {
						plan(l.walked(bounds.Window)) // of a part, which may be so small that any way is right
					} else {
						inOrder(l.walked(bounds.Window), order, after != nil)
					}
					if q.Text != "" && len(l.Filters) == 1 {
						if p := plan(l.begun(bounds.Window)); !strings.Contains(p, "Index Only Scan") || strings.Contains(p, "Sort") || after != nil && !strings.Contains(p, "(ROW(entry, id)") {
							t.Fatalf("those with a beginning are sorted, or not begun at the position:\n%s", p)
						}
					}
					plan(l.Sorted())
					plan(l.Matching(bounds.Rows))
				}
			}
		}
	}
}
