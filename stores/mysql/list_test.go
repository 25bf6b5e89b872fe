package mysql

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// The conformance of lists once more, but where every filter lets through more
// than a few tokens, and pages end early or late.
func TestEveryWayToAPageIsRight(t *testing.T) {
	testserver.LongVariant(t)
	defer func(b sqlkit.Bounds) { bounds = b }(bounds)
	dsn := testserver.MariaDBDatabase(t)
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
						return emptied(t, dsn)
					}
				}
				t.Skip("not about lists")
				return nil
			})
		})
	}
}

// stocked returns a store with n tokens, of which every second belongs to a machine.
func stocked(t testing.TB, n int) *Store {
	t.Helper()
	s := mustUse(t, handle(t, testserver.MariaDBDatabase(t)))
	var recs []apitoken.Record
	for i := range n {
		rec := record(fmt.Sprintf("token%06d", i*7919%n))
		rec.Environment, rec.Name = "production", fmt.Sprintf("%c test %d", 'a'+i%26, i)
		if i%2 == 0 {
			rec.Owner = "machine"
		}
		rec.Permissions = []string{"devices:read", fmt.Sprint("one-in:", 1<<(i%8))}
		rec.CreatedAt = today.Add(time.Duration(i) * time.Second)
		rec.Uses = []apitoken.Use{use(rec.ID, rec.CreatedAt)}
		if i%3 == 0 {
			rec.ExpiresAt = today.Add(time.Duration(i%1000-500) * time.Hour)
		}
		if recs = append(recs, rec); len(recs) == 200 || i == n-1 {
			if _, err := s.CreateAll(t.Context(), recs); err != nil {
				t.Fatal(err)
			}
			recs = nil
		}
	}
	return s
}

func TestNoListReadsAWholeTable(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	s := stocked(t, 3000)
	mustExec(t, s.db, `ANALYZE TABLE apitoken_tokens, apitoken_index`)
	c, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	inOrder := func(c clause, plan []step, after bool) {
		t.Helper()
		for _, p := range plan {
			if p.table == "t" && strings.HasPrefix(p.key, "apitoken_by_") && (strings.Contains(p.extra, "filesort") || after && p.how != "range") {
				t.Fatalf("a walk in order sorts, or does not begin at the position:\n%s\n%v", c.Text, plan)
			}
		}
	}
	for order := range dialect.Orders {
		for _, descending := range []bool{false, true} {
			for _, after := range []*apitoken.Position{nil, {Name: "k", Time: today.Add(25 * time.Minute), ID: "x"}} {
				for bits := range 5 * 8 {
					q := apitoken.Query{Environment: "production", Order: order, Descending: descending, After: after, At: today, Limit: 50}
					if bits&1 != 0 {
						q.Owner = "machine"
					}
					if bits&2 != 0 {
						q.Permission = "one-in:2"
					}
					if bits&4 != 0 {
						q.Text = "test"
					}
					q.Status = []apitoken.Status{"", apitoken.StatusActive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusInactive}[bits>>3]
					l := newLister(t.Context(), c, q)
					inOrder(l.Sliced(), explain(t, c, l.Sliced()), after != nil)
					if len(l.Filters) == 0 {
						continue
					}
					for _, f := range l.Filters {
						for _, p := range explain(t, c, l.From(f, 10)) {
							if p.table == "d" && p.key != "" && !strings.Contains(p.extra, "Using index") {
								t.Fatalf("a filter reads rows besides its index:\n%s\n%v", f.Rows.Text, p)
							}
						}
					}
					inOrder(l.walked(bounds.Window), explain(t, c, l.walked(bounds.Window)), after != nil)
					if q.Text != "" && len(l.Filters) == 1 {
						explain(t, c, l.begun(bounds.Window))
					}
					explain(t, c, l.Sorted())
					explain(t, c, l.Matching(bounds.Rows))
				}
			}
		}
	}
}

// A step of a plan says how a table is read: by which key.
type step struct{ table, how, key, extra string }

// explain returns the plan of a query, in which no table of ours may be read as a whole.
func explain(t *testing.T, c *sql.Conn, q clause) (plan []step) {
	t.Helper()
	rows, err := c.QueryContext(t.Context(), `EXPLAIN `+q.Text, q.Args...)
	if err != nil {
		t.Fatalf("%v in %s", err, q.Text)
	}
	defer rows.Close()
	for rows.Next() {
		var id, kind, table, how, possible, key, length, ref, n, extra sql.NullString
		if err := rows.Scan(&id, &kind, &table, &how, &possible, &key, &length, &ref, &n, &extra); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step{table.String, how.String, key.String, extra.String})
		if ours := !strings.HasPrefix(table.String, "<") && table.String != ""; ours && (how.String == "ALL" || how.String == "index") {
			t.Fatalf("%s is read as a whole (%s):\n%s", table.String, how.String, q.Text)
		}
	}
	return plan
}
