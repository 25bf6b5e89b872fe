package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

var (
	orders   = []apitoken.Order{apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed}
	statuses = []apitoken.Status{apitoken.StatusActive, apitoken.StatusInactive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusDeleted}
)

const maxCount = 1000 // where Page.Count stops

// A model is a list of records that does what a store must, plainly.
type model []apitoken.Record

// list returns all records that match q. It ignores q.After and q.Limit.
func (m model) list(q apitoken.Query) []apitoken.Record {
	type placed struct {
		at  apitoken.Position
		rec apitoken.Record
	}
	var found []placed
	for _, rec := range m {
		if q.Match(&rec) {
			found = append(found, placed{rec.Position(q.Order), rec})
		}
	}
	slices.SortFunc(found, func(a, b placed) int { return compare(q, a.at, b.at) })
	var out []apitoken.Record
	for _, p := range found {
		out = append(out, p.rec)
	}
	return out
}

// compare compares places in the list that q asks for.
func compare(q apitoken.Query, a, b apitoken.Position) int {
	never := 0
	if q.Order == apitoken.ByExpires && a.Time.IsZero() != b.Time.IsZero() {
		if never = -1; a.Time.IsZero() {
			never = 1
		}
	}
	c := cmp.Or(never, strings.Compare(a.Name, b.Name), a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID))
	if q.Descending {
		return -c
	}
	return c
}

// page returns one page, of which it checks what holds for every page.
func (x *trial) page(q apitoken.Query) apitoken.Page {
	page, err := x.List(x.ctx, q)
	x.ok(err, "List of %s", describe(q))
	if len(page.Records) > q.Limit {
		x.failf("List of %s returned %d records", describe(q), len(page.Records))
	}
	last := q.After
	for _, rec := range page.Records {
		here := rec.Position(q.Order)
		if last != nil && compare(q, *last, here) >= 0 {
			x.failf("List of %s has %+v after %+v", describe(q), here, *last)
		}
		last = &here
	}
	if page.Next != nil && last != nil && compare(q, *last, *page.Next) > 0 {
		x.failf("List of %s goes on from %+v, which lies before the last record of the page, %+v", describe(q), *page.Next, *last)
	}
	if page.Next != nil && q.After != nil && compare(q, *q.After, *page.Next) >= 0 {
		x.failf("List of %s gets nowhere: the next page would begin at %+v", describe(q), *page.Next)
	}
	if page.Partial && (page.Next == nil || !page.More || len(page.Records) == q.Limit) {
		x.failf("List of %s says that a page of %d records is partial, where the next page is %+v and more than counted: %v", describe(q), len(page.Records), page.Next, page.More)
	}
	return page
}

// counts fails unless a page counts so many records; fewer may be counted on a partial page. Of
// 1,000 that a text finds a store may say that there are more: an index of words has several
// rows for a record.
func (x *trial) counts(page apitoken.Page, want int, q apitoken.Query) {
	count := min(want, maxCount)
	if page.Partial && page.Count <= count {
		return
	}
	unsure := q.Text != "" && want == maxCount && page.More
	if page.Count != count || page.More != (want > count) && !unsure {
		x.failf("List of %s counts %d (more: %v) where there are %d", describe(q), page.Count, page.More, want)
	}
}

// list returns what is left of a list from q.After on, read page by page.
func (x *trial) list(q apitoken.Query) []apitoken.Record {
	q.Limit = cmp.Or(q.Limit, 100)
	var out []apitoken.Record
	for {
		page := x.page(q)
		out = append(out, page.Records...)
		if page.Next == nil {
			return out
		}
		q.After = page.Next
	}
}

// lists fails unless the store lists what the model does, page by page.
func (x *trial) lists(m model, q apitoken.Query, limit int) {
	want := m.list(q)
	q.Limit = limit
	for n := 0; ; {
		page := x.page(q)
		x.counts(page, len(want), q)
		for _, rec := range page.Records {
			if n == len(want) {
				x.failf("List of %s found %q, which does not belong there", describe(q), rec.ID)
			}
			if rec.ID != want[n].ID {
				x.failf("List of %s has %q as number %d, where %q belongs", describe(q), rec.ID, n, want[n].ID)
			}
			x.same(rec, want[n], "List of "+describe(q))
			n++
		}
		if page.Next == nil {
			if n != len(want) {
				x.failf("List of %s ends after %d of %d records", describe(q), n, len(want))
			}
			return
		}
		q.After = page.Next
	}
}

// describe returns q without what is zero.
func describe(q apitoken.Query) string {
	s := fmt.Sprintf("%q by %s", q.Environment, q.Order)
	if q.Descending {
		s += " descending"
	}
	for what, v := range map[string]string{"owner": q.Owner, "status": string(q.Status), "permission": q.Permission, "text": q.Text} {
		if v != "" {
			s += fmt.Sprintf(", %s %q", what, v)
		}
	}
	if q.Status != "" {
		s += fmt.Sprintf(" at %v", q.At)
	}
	if q.After != nil {
		s += fmt.Sprintf(", after %+v", *q.After)
	}
	return s + fmt.Sprintf(", limit %d", q.Limit)
}

// crowd returns n records among which there are ties in every order.
func crowd(x *trial, n int) model {
	var (
		random = rand.New(rand.NewPCG(1, 2))
		names  = []string{
			"Backup", "backup", "BACKUP", "backup of the laptop", "laptop", "Laptop (old)", "of the lapwing", "zebra", "Äpfel", "äpfel", "apple", "Éclair",
			"100% sure", "a_b", "a'b", "日本", "日本語 テスト", "e\u0301clair", "İstanbul", "straße", "x", "😀 smile", "back-up", "back\\up",
			strings.Repeat("long ", 30), strings.Repeat("long ", 30) + "er", strings.Repeat("é", 40),
		}
		owners      = []string{"alice", "Alice", "alice ", "bob", "o'neil", "100%", "a_b", "日本"}
		permissions = []string{"devices:read", "devices:write", "devices:readwrite", "a_b", "axb", "Devices:read"}
		_, touched  = x.Store.(apitoken.Toucher)
	)
	any := func(of []string) string { return of[random.IntN(len(of))] }
	at := func() time.Time { return noon.Add(time.Duration(random.IntN(9)-4) * time.Microsecond) }
	var m model
	for i := range n {
		rec := plain(fmt.Sprintf("%c%d", "aAzZ_"[random.IntN(5)], i))
		rec.Environment = []string{environment, environment, environment, environment, "Environment", "environment "}[random.IntN(6)]
		rec.Owner, rec.Name = any(owners), any(names)
		rec.Permissions = nil
		for _, p := range permissions {
			if random.IntN(3) == 0 {
				rec.Permissions = append(rec.Permissions, p)
			}
		}
		slices.Sort(rec.Permissions)
		rec.CreatedAt = at()
		if random.IntN(3) > 0 {
			rec.ExpiresAt = at()
		}
		if random.IntN(4) == 0 {
			rec.NotBefore = at()
		}
		if random.IntN(5) == 0 {
			rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = apitoken.StatusInactive, noon, "admin"
		}
		if random.IntN(6) == 0 {
			rec.Status, rec.DeletedAt, rec.DeletedBy = apitoken.StatusDeleted, noon, "admin"
		}
		if touched && random.IntN(2) == 0 {
			rec.Uses = append(rec.Uses, use(rec, 0, apitoken.Scheme("apiToken"), at()), use(rec, 0, apitoken.QueryParameter("apiToken"), at()))
		}
		m = append(m, rec)
	}
	return m
}
