package sqlite

import (
	"fmt"
	"slices"
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
	testserver.Unwatched(t)
	defer func(b sqlkit.Bounds) { bounds = b }(bounds)
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
						return mustOpen(t, newPath(t))
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
	s := mustOpen(t, newPath(t))
	tx, err := s.readers.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	plan := func(c clause) string {
		rows, err := tx.Query(`EXPLAIN QUERY PLAN `+c.Text, c.Args...)
		if err != nil {
			t.Fatalf("%v in %s", err, c.Text)
		}
		defer rows.Close()
		var all strings.Builder
		for rows.Next() {
			var id, parent, unused int
			var line string
			if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&all, line)
		}
		return all.String()
	}
	for order, index := range indexes {
		for _, descending := range []bool{false, true} {
			for _, after := range []*apitoken.Position{nil, {ID: "x"}} {
				base := apitoken.Query{Environment: "e", Order: order, Descending: descending, After: after, Limit: 50}
				bare := newLister(t.Context(), tx, base, index)
				walks := []clause{bare.Sliced()}
				searches := []clause{}
				for bits := 1; bits < 1<<6; bits++ {
					q := base
					if bits&1 != 0 {
						q.Owner = "o"
					}
					if bits&2 != 0 {
						q.Permission = "p"
					}
					if bits&4 != 0 {
						q.Text = "text"
					}
					q.Status = []apitoken.Status{
						"", apitoken.StatusActive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusInactive,
					}[min(bits>>3, 4)]
					if bits == 61 {
						q.Policy = apitoken.Policy{MaxLifetime: 1, MaxIdle: 1}
					}
					l := newLister(t.Context(), tx, q, index)
					if len(l.Filters) == 0 {
						continue
					}
					for _, f := range l.Filters {
						if p := plan(l.From(f, bounds.Rows)); q.Policy.MaxIdle == 0 && strings.Contains(p, "USING INDEX") {
							t.Fatalf("a filter reads rows besides its index:\n%s\n%s", f.Rows.Text, p)
						}
					}
					walks = append(walks, l.walked(bounds.Window))
					searches = append(searches, l.Sorted(), l.Matching(bounds.Rows))
					if order == apitoken.ByName && q.Text != "" {
						last := &apitoken.Position{ID: "y"}
						searches = append(searches, l.merged(l.termed(), nil), l.merged(l.begun(last), last))
						if p := plan(cat(l.begun(last), l.Order("t"))); strings.Contains(p, "TEMP B-TREE") || !strings.Contains(p, "(name_key,id)") {
							t.Fatalf("those with a beginning are sorted, or not begun at the position:\n%s", p)
						}
					}
				}
				for _, c := range walks {
					p := plan(c)
					if !strings.Contains(p, "INDEX "+index+" (environment=?") ||
						after != nil && !strings.Contains(p, "("+dialect.Orders[order]+",id)") || strings.Contains(p, "TEMP B-TREE") {
						t.Fatalf("a walk in order sorts, or does not begin at the position:\n%s\n%s", c.Text, p)
					}
				}
				for _, c := range searches {
					p := plan(c)
					for line := range strings.Lines(p) {
						// What is gathered in a subquery may be scanned.
						table, scanned := strings.CutPrefix(line, "SCAN ")
						if scanned && !strings.Contains(p, "CO-ROUTINE "+table) || strings.Contains(line, "AUTOMATIC") {
							t.Fatalf("a search reads a whole table:\n%s\n%s", c.Text, p)
						}
					}
				}
			}
		}
	}
}

func TestASearchGoesOnBelowANameThatOnlyHasTheTextInIt(t *testing.T) {
	defer func(f int) { bounds.Few = f }(bounds.Few)
	bounds.Few = 0
	s := mustOpen(t, newPath(t))
	var want []string
	for i, name := range []string{"z laptop", "other", "m laptop", "laptop", "a laptop"} {
		rec := record(fmt.Sprintf("Search%011d", i))
		rec.Name = name
		mustCreate(t, s, rec)
		if name != "other" {
			want = append(want, name)
		}
	}
	q := apitoken.Query{Environment: record("").Environment, Text: "lap", Order: apitoken.ByName, Descending: true, Limit: 1}
	var got []string
	for {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Records {
			got = append(got, rec.Name)
		}
		if q.After = page.Next; q.After == nil {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAListOfWhatFewTokensHaveIsPartialAndGoesOn(t *testing.T) {
	defer func(b sqlkit.Bounds) { bounds = b }(bounds)
	bounds = sqlkit.Bounds{Few: 1, Rows: 10, Window: 20}
	s := mustOpen(t, newPath(t))
	var want []string
	for i := range 100 {
		rec := record(fmt.Sprintf("Partial%010d", i))
		rec.Name, rec.Permissions = fmt.Sprintf("token %03d", i), []string{"all"}
		if i >= 50 {
			rec.Permissions = []string{"all", "late"}
			rec.Status = []apitoken.Status{apitoken.StatusActive, apitoken.StatusInactive}[i%2]
			if i%2 == 1 {
				want = append(want, rec.ID)
			}
		}
		mustCreate(t, s, rec)
	}
	q := apitoken.Query{
		Environment: record("").Environment, Permission: "late", Status: apitoken.StatusInactive, At: time.Now(),
		Order: apitoken.ByName, Limit: 50,
	}
	var got []string
	var pages []int
	for {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if page.Partial != (page.Next != nil) || !page.More || page.Count > len(want) {
			t.Fatalf("a page of %d: partial %v, next %v, count %d, more %v", len(page.Records), page.Partial, page.Next, page.Count, page.More)
		}
		for _, rec := range page.Records {
			got = append(got, rec.ID)
		}
		pages = append(pages, len(page.Records))
		if q.After = page.Next; q.After == nil {
			break
		}
	}
	if !slices.Equal(got, want) || !slices.Equal(pages, []int{0, 0, 5, 10, 10, 0}) {
		t.Errorf("%q on pages of %d", got, pages)
	}
}
