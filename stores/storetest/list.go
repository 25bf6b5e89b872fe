package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

var listCases = []testCase{{
	name: "AnEmptyStoreListsNothing",
	must: "list nothing where there is nothing",
	run: func(x *trial) {
		for _, order := range orders {
			for _, after := range []*apitoken.Position{nil, {ID: "x"}, {Name: "x", Time: noon, ID: "x"}} {
				q := apitoken.Query{
					Environment: environment, Owner: "o", Status: apitoken.StatusActive, At: noon,
					Permission: "p", Text: "t", Order: order, After: after,
				}
				x.lists(nil, q, 10)
				x.lists(nil, apitoken.Query{Environment: environment, Order: order, After: after}, 1000)
			}
		}
	},
}, {
	name: "ListsAreCompleteAndInOrder",
	must: "list what matches, in order, page by page, with ties by ID, never-expiring last and never-used first",
	run: func(x *trial) {
		m := crowd(x, 240)
		x.create(m...)
		filters := []apitoken.Query{
			{}, {Owner: "alice"}, {Owner: "Alice"}, {Owner: "nobody"},
			{Permission: "devices:read"}, {Permission: "a_b"}, {Permission: "devices"}, {Permission: "%"},
			{Text: "b"}, {Text: "backup"}, {Text: "laptop"}, {Text: "é"}, {Text: "e"}, {Text: "100%"}, {Text: "%"}, {Text: "_"}, {Text: "a_"},
			{Text: "日本語"}, {Text: "alice "}, {Text: "z1"}, {Text: "no such"}, {Text: "back\\"},
			{Text: strings.Repeat("long ", 30)[:64]}, {Text: strings.Repeat("long ", 30)[:65]}, {Text: strings.Repeat("é", 32)}, {Text: "\U0010ffff"},
			{Owner: "bob", Permission: "devices:write"}, {Owner: "bob", Text: "back"}, {Permission: "axb", Text: "back"},
			{Owner: "a_b", Permission: "devices:read", Text: "b"},
		}
		for _, s := range statuses {
			filters = append(filters,
				apitoken.Query{Status: s, At: noon},
				apitoken.Query{Status: s, At: noon.Add(-2 * time.Microsecond), Owner: "bob"},
				apitoken.Query{Status: s, At: noon.Add(2 * time.Microsecond), Permission: "devices:read"},
				apitoken.Query{Status: s, At: noon, Text: "l"},
				apitoken.Query{Status: s, At: noon, Text: "b", Permission: "axb", Owner: "alice"},
				apitoken.Query{Status: s, At: noon, Policy: apitoken.Policy{MaxLifetime: 2 * time.Microsecond}},
				apitoken.Query{Status: s, At: noon, Policy: apitoken.Policy{MaxIdle: time.Microsecond}, Owner: "bob"},
				apitoken.Query{Status: s, At: noon, Policy: apitoken.Policy{MaxLifetime: 3 * time.Microsecond, MaxIdle: time.Microsecond}, Text: "b"},
			)
		}
		for o, order := range orders {
			for d, descending := range []bool{false, true} {
				for i, q := range filters {
					if i > 0 && (i+o+d)%2 == 1 {
						continue // each in every order, in one direction
					}
					q.Environment, q.Order, q.Descending = environment, order, descending
					x.lists(m, q, []int{21, 60, 1000}[i%3])
				}
				q := apitoken.Query{Environment: environment, Order: order, Descending: descending, Permission: "a_b"}
				x.lists(m, q, 1)
			}
		}
	},
}, {
	name: "EnvironmentsAreSeparate",
	must: "list no record of another environment, and none for no environment",
	run: func(x *trial) {
		var m model
		for i, env := range []string{"one", "One", "one ", "on", "one%", "o_e", "two"} {
			for j := range 3 {
				rec := plain(fmt.Sprintf("%d %d", i, j))
				rec.Environment, rec.Name = env, "the same name"
				m = append(m, rec)
			}
		}
		x.create(m...)
		for _, env := range []string{"one", "One", "one ", "on", "one%", "o_e", "two", "ONE", "%", "_", "o", "one\u0000"} {
			if odd(env) {
				page, err := x.List(x.ctx, apitoken.Query{Environment: env, Order: apitoken.ByName, Limit: 10})
				if err == nil && len(page.Records)+page.Count > 0 {
					x.failf("List of environment %q found something", env)
				}
				continue
			}
			for _, order := range orders {
				q := apitoken.Query{Environment: env, Order: order}
				x.lists(m, q, 2)
				q.Owner = "owner"
				x.lists(m, q, 2)
				q.Owner, q.Permission = "", "devices:read"
				x.lists(m, q, 2)
				q.Permission, q.Text = "", "same"
				x.lists(m, q, 2)
				q.Text, q.Status, q.At = "", apitoken.StatusActive, noon
				x.lists(m, q, 2)
			}
		}
		page, err := x.List(x.ctx, apitoken.Query{Order: apitoken.ByName, Limit: 10})
		if err == nil && (len(page.Records) > 0 || page.Count > 0) {
			x.failf("List without environment found %d records", max(len(page.Records), page.Count))
		}
	},
}, {
	name: "ListsFollowChanges",
	must: "list records as they are after Replace and Delete, by what they are and not by what they were",
	run: func(x *trial) {
		m := crowd(x, 60)
		for i := range m {
			m[i].Environment = environment
		}
		x.create(m...)
		for i := range m {
			switch next := &m[i]; i % 7 {
			case 0:
				next.Name = "renamed thing"
			case 1:
				next.Permissions = []string{"devices:erase"}
			case 2:
				next.ExpiresAt, next.NotBefore = noon.Add(time.Hour), time.Time{}
			case 3:
				next.Status = apitoken.StatusInactive
			case 4:
				next.Owner, next.Permissions = "carol", nil
			case 6:
				next.Status, next.DeletedAt, next.DeletedBy = apitoken.StatusDeleted, noon, "admin"
			case 5:
				next.Name, next.Environment, next.CreatedAt = "moved", "elsewhere", noon.Add(time.Duration(i)*time.Second)
			}
			m[i].Version++
			x.replace(m[i])
		}
		check := func() {
			for _, q := range []apitoken.Query{
				{}, {Text: "renamed"}, {Text: "thing"}, {Text: "backup"}, {Text: "moved"}, {Permission: "devices:erase"},
				{Permission: "devices:read"}, {Owner: "carol"}, {Text: "carol"}, {Owner: "bob"}, {Text: "bob"},
				{Status: apitoken.StatusActive, At: noon}, {Status: apitoken.StatusInactive, At: noon},
				{Status: apitoken.StatusExpired, At: noon}, {Status: apitoken.StatusPending, At: noon},
				{Status: apitoken.StatusDeleted, At: noon}, {Status: apitoken.StatusDeleted, At: noon, Text: "b", Permission: "devices:read"},
			} {
				for _, order := range orders {
					for _, q.Environment = range []string{environment, "elsewhere"} {
						q.Order = order
						x.lists(m, q, 25)
					}
				}
			}
		}
		check()
		var left model
		for i, rec := range m {
			if i%2 == 0 {
				x.delete(rec.ID)
			} else {
				left = append(left, rec)
			}
		}
		m = left
		check()
	},
}, {
	name: "StatusIsThatOfTheMoment",
	must: "judge the status at Query.At: expired from ExpiresAt on, pending before NotBefore, inactive before all",
	run: func(x *trial) {
		var m model
		for i := range 3 * 3 * 2 {
			rec := plain(fmt.Sprint("token ", i))
			rec.ExpiresAt = []time.Time{{}, noon, noon.Add(time.Microsecond)}[i%3]
			rec.NotBefore = []time.Time{{}, noon, noon.Add(time.Microsecond)}[i/3%3]
			if i >= 9 {
				rec.Status = apitoken.StatusInactive
			}
			m = append(m, rec)
		}
		x.create(m...)
		for _, order := range orders {
			for _, status := range statuses {
				for d := time.Duration(-2); d <= 3; d++ {
					at := noon.Add(d * time.Microsecond)
					q := apitoken.Query{Environment: environment, Status: status, At: at, Order: order}
					x.lists(m, q, 4)
					q.At = at.Add(999) // within the same microsecond
					x.lists(m, q, 1000)
					q.At = at.In(time.FixedZone("west", -11*60*60))
					x.lists(m, q, 1000)
				}
			}
		}
	},
}, {
	name: "StatusIsThatOfThePolicy",
	must: "judge the status by Query.Policy: expired from the greatest age on, and after too long without use",
	run: func(x *trial) {
		const hour = time.Hour
		_, touched := x.Store.(apitoken.Toucher)
		var m model
		for i := range 3 * 4 * 3 * 2 {
			rec := plain(fmt.Sprint("token ", i))
			rec.CreatedAt = noon.Add([]time.Duration{0, -2 * hour, -5 * hour}[i%3])
			if used := i / 3 % 4; used > 0 && touched {
				at := noon.Add([]time.Duration{0, -hour, -3 * hour, -9 * hour}[used]) // once before it was created
				rec.Uses = []apitoken.Use{use(rec, 0, apitoken.Scheme("apiToken"), at), use(rec, 0, apitoken.QueryParameter("apiToken"), at.Add(-hour))}
			}
			rec.ExpiresAt = []time.Time{{}, noon.Add(-hour), noon.Add(hour)}[i/12%3]
			if i%5 == 0 {
				rec.NotBefore = noon.Add(hour)
			}
			if i >= 36 && i%7 == 0 {
				rec.Status = apitoken.StatusInactive
			}
			m = append(m, rec)
		}
		x.create(m...)
		for i, policy := range []apitoken.Policy{
			{MaxLifetime: 2 * hour}, {MaxLifetime: 5*hour + 500}, {MaxLifetime: 1}, {MaxLifetime: 100 * 365 * 24 * hour},
			{MaxIdle: hour}, {MaxIdle: 3 * hour}, {MaxIdle: 2*hour + 999}, {MaxIdle: 1},
			{MaxLifetime: 5 * hour, MaxIdle: hour}, {MaxLifetime: 2 * hour, MaxIdle: 100 * hour},
		} {
			for _, status := range statuses {
				for d := time.Duration(-1); d <= 1; d++ {
					q := apitoken.Query{Environment: environment, Status: status, Policy: policy, At: noon.Add(d * time.Microsecond)}
					q.Order, q.Descending = orders[i%len(orders)], d == 0
					x.lists(m, q, 13)
					q.Order, q.Text = apitoken.ByExpires, "token 1"
					x.lists(m, q, 1000)
				}
			}
		}
	},
}, {
	name: "PositionsOutliveRecords",
	must: "go on from any position, also where no record is or is any more",
	run: func(x *trial) {
		m := crowd(x, 80)
		for i := range m {
			m[i].Environment = environment
		}
		x.create(m...)
		places := []apitoken.Position{
			{}, {ID: "m"}, {Name: "backup", ID: "zzz"}, {Name: "backuq"}, {Name: "\U0010ffff", ID: "\U0010ffff"}, {Name: "%", ID: "_"},
			{Time: noon}, {Time: noon, ID: "zzz"}, {Time: noon.Add(-time.Hour)}, {Time: noon.Add(time.Hour), ID: "a"},
			{Time: time.UnixMicro(0)}, {Time: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), ID: "zzz"},
		}
		for _, order := range orders {
			for _, descending := range []bool{false, true} {
				q := apitoken.Query{Environment: environment, Order: order, Descending: descending}
				for _, place := range places {
					if place.Name != "" != (order == apitoken.ByName) && place.ID != "m" {
						continue
					}
					q.After = &place
					var want []string
					for _, rec := range m.list(q) {
						if compare(q, place, rec.Position(order)) < 0 {
							want = append(want, rec.ID)
						}
					}
					var got []string
					for _, rec := range x.list(q) {
						got = append(got, rec.ID)
					}
					if !slices.Equal(got, want) {
						x.failf("List of %s found %q, not %q", describe(q), got, want)
					}
				}

				// The whole page goes, and with it the record at the position.
				q.After, q.Limit = nil, 4
				page := x.page(q)
				for _, rec := range page.Records {
					x.delete(rec.ID)
					m = slices.DeleteFunc(m, func(o apitoken.Record) bool { return o.ID == rec.ID })
				}
				want := m.list(q)
				if q.After = page.Next; q.After == nil {
					x.failf("List of %s has no next page", describe(q))
				}
				got := x.list(q)
				if len(got) != len(want) || got[0].ID != want[0].ID {
					x.failf("List of %s, where the record at the position was deleted, found %d records, not %d", describe(q), len(got), len(want))
				}
			}
		}
	},
}, {
	name: "PagingSurvivesChanges",
	must: "list every record that stays exactly once while others come and go",
	run: func(x *trial) {
		m := crowd(x, 60)
		for i := range m {
			m[i].Environment = environment
		}
		x.create(m...)
		random := rand.New(rand.NewPCG(5, 6))
		guests := crowd(x, 400)
		for i := range guests {
			guests[i].Environment, guests[i].ID = environment, "guest "+guests[i].ID
			for j := range guests[i].Uses {
				guests[i].Uses[j].ID = guests[i].ID
			}
		}
		var here []apitoken.Record
		// Two come and one goes, if possible the one at the end of the last page.
		churn := func(last *apitoken.Position) error {
			for range 2 {
				guest := guests[0]
				guests = guests[1:]
				if err := x.Create(x.ctx, guest); err != nil {
					return err
				}
				here = append(here, guest)
			}
			i := slices.IndexFunc(here, func(rec apitoken.Record) bool { return last != nil && rec.ID == last.ID })
			if i < 0 {
				i = random.IntN(len(here))
			}
			guest := here[i]
			here = slices.Delete(here, i, i+1)
			return x.Delete(x.ctx, guest.ID)
		}
		for _, order := range orders {
			for _, descending := range []bool{false, true} {
				q := apitoken.Query{Environment: environment, Order: order, Descending: descending, Limit: 9}
				want := m.list(q)
				for more := true; more; {
					// The first pages with changes between, the rest meanwhile.
					changed := make(chan error, 1)
					if len(want) > 30 {
						changed <- churn(q.After)
					} else {
						go func() { changed <- churn(q.After) }()
					}
					page := x.page(q)
					x.ok(<-changed, "a change meanwhile")
					for _, rec := range page.Records {
						if strings.HasPrefix(rec.ID, "guest ") {
							continue
						}
						if len(want) == 0 || rec.ID != want[0].ID {
							x.failf("List of %s, while others come and go, missed or repeated a record near %q", describe(q), rec.ID)
						}
						want = want[1:]
					}
					q.After, more = page.Next, page.Next != nil
				}
				if len(want) > 0 {
					x.failf("List of %s, while others come and go, missed %q", describe(q), want[0].ID)
				}
				for _, guest := range here {
					x.delete(guest.ID)
				}
				here = nil
			}
		}
	},
}, {
	name: "CountsStopAt1000",
	must: "count what matches in all, on every page, and stop at 1,000",
	run: func(x *trial) {
		var m model
		for i := range maxCount + 1 {
			rec := plain(fmt.Sprintf("token %04d", i))
			if i%2 == 0 {
				rec.ExpiresAt = noon.Add(time.Hour)
			}
			m = append(m, rec)
		}
		queries := []apitoken.Query{
			{}, {Owner: "owner"}, {Permission: "devices:read"}, {Text: "name"}, {Text: "o"},
			{Status: apitoken.StatusActive, At: noon}, {Owner: "owner", Permission: "devices:read", Text: "token"},
			{Text: "n", Status: apitoken.StatusActive, At: noon}, {Owner: "nobody"},
			{Permission: "devices:read", Status: apitoken.StatusExpired, At: noon.Add(time.Hour)},
		}
		counts := func() {
			for i, q := range queries {
				q.Environment, q.Order = environment, orders[i%len(orders)]
				want := len(m.list(q))
				for q.Limit = 1; q.Limit <= 3; q.Limit++ { // of the first page, of the next
					page := x.page(q)
					x.counts(page, want, q)
					if q.After = page.Next; q.After == nil {
						break
					}
				}
			}
		}
		all := m
		m = all[:maxCount]
		x.create(m...)
		counts()
		m = all
		x.create(all[maxCount])
		counts()
		x.lists(m, apitoken.Query{Environment: environment, Order: apitoken.ByName}, 1000)
		m = all[1:]
		x.delete(all[0].ID)
		counts()
	},
}, {
	name: "UnknownOrdersAreRefused",
	must: "refuse an order that it does not know",
	run: func(x *trial) {
		x.create(plain("token"))
		for _, order := range []apitoken.Order{"", "id", "name; DROP TABLE apitoken_tokens", "NAME"} {
			page, err := x.List(x.ctx, apitoken.Query{Environment: environment, Order: order, Limit: 10})
			if err == nil {
				x.failf("List by the order %q returned %d records and no error", order, len(page.Records))
			}
			if errors.Is(err, apitoken.ErrNotFound) {
				x.failf("List by the order %q reports %w", order, err)
			}
		}
	},
}}
