package storetest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

// listFaults are about lists, scans, keys in use, contexts and the end.
var listFaults = []fault{
	// Lists.
	{"invents records", paged(func(q apitoken.Query, page *apitoken.Page) {
		if page.Records == nil {
			page.Records = []apitoken.Record{plain("\U0010ffff\U0010ffff")}
		}
	}), []string{"AnEmptyStoreListsNothing"}},
	{"breaks ties as it likes", listed(func(q apitoken.Query, recs []apitoken.Record) {
		slices.Reverse(recs)
		slices.SortStableFunc(recs, func(a, b apitoken.Record) int {
			pa, pb := a.Position(q.Order), b.Position(q.Order)
			pa.ID, pb.ID = "", ""
			return compare(q, pa, pb)
		})
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"breaks ties ascending in a descending list", listed(func(q apitoken.Query, recs []apitoken.Record) {
		slices.SortFunc(recs, func(a, b apitoken.Record) int {
			pa, pb := a.Position(q.Order), b.Position(q.Order)
			pa.ID, pb.ID = "", ""
			return cmp.Or(compare(q, pa, pb), strings.Compare(a.ID, b.ID))
		})
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"orders by the name as it is written", listed(func(q apitoken.Query, recs []apitoken.Record) {
		if q.Order == apitoken.ByName {
			slices.SortFunc(recs, func(a, b apitoken.Record) int {
				return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
			})
		}
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"has never-expiring first", listed(func(q apitoken.Query, recs []apitoken.Record) {
		if q.Order == apitoken.ByExpires {
			slices.SortStableFunc(recs, func(a, b apitoken.Record) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
		}
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"ignores descending", asked(func(q *apitoken.Query) { q.Descending = false }), []string{"ListsAreCompleteAndInOrder"}},
	{"orders by creation only", asked(func(q *apitoken.Query) {
		if slices.Contains(orders, q.Order) {
			q.Order = apitoken.ByCreated
		}
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"begins again on every page", asked(func(q *apitoken.Query) { q.After = nil }), []string{"ListsAreCompleteAndInOrder", "PositionsOutliveRecords"}},
	{"ignores the owner", asked(func(q *apitoken.Query) { q.Owner = "" }), []string{"ListsAreCompleteAndInOrder"}},
	{"ignores the permission", asked(func(q *apitoken.Query) { q.Permission = "" }), []string{"ListsAreCompleteAndInOrder"}},
	{"ignores the text", asked(func(q *apitoken.Query) { q.Text = "" }), []string{"ListsAreCompleteAndInOrder"}},
	{"ignores the status", asked(func(q *apitoken.Query) { q.Status = "" }), []string{"ListsAreCompleteAndInOrder", "StatusIsThatOfTheMoment"}},
	{"leaves out a record", paged(func(_ apitoken.Query, page *apitoken.Page) {
		page.Records = slices.DeleteFunc(page.Records, func(rec apitoken.Record) bool { return strings.HasSuffix(rec.ID, "77") })
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"says that its last page is partial", paged(func(_ apitoken.Query, page *apitoken.Page) { page.Partial = page.Next == nil }), []string{"ListsAreCompleteAndInOrder"}},
	{"says that full pages are partial", paged(func(_ apitoken.Query, page *apitoken.Page) { page.Partial = page.Next != nil }), []string{"ListsAreCompleteAndInOrder"}},
	{"ends after the first page", paged(func(_ apitoken.Query, page *apitoken.Page) { page.Next = nil }), []string{"ListsAreCompleteAndInOrder"}},
	{"never ends", paged(func(q apitoken.Query, page *apitoken.Page) {
		if page.Next == nil {
			page.Next = &apitoken.Position{}
			if q.After != nil {
				page.Next = q.After
			}
		}
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"lists without the uses", paged(func(_ apitoken.Query, page *apitoken.Page) {
		for i := range page.Records {
			page.Records[i].Uses = nil
		}
	}), []string{"ListsAreCompleteAndInOrder"}},
	{"returns more than the limit", asked(func(q *apitoken.Query) { q.Limit++ }), []string{"ListsAreCompleteAndInOrder"}},
	{"folds environments", asked(func(q *apitoken.Query) { q.Environment = strings.ToLower(q.Environment) }), []string{"EnvironmentsAreSeparate"}},
	{"mixes environments for an owner", func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			if q.Owner != "" && q.Environment == "two" {
				q.Environment = "one"
			}
			return s.Store.List(ctx, q)
		}
	}, []string{"EnvironmentsAreSeparate"}},
	{"lists all environments for none", func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			if q.Environment != "" {
				return s.Store.List(ctx, q)
			}
			recs, err := s.Store.Scan(ctx, "", q.Limit)
			return apitoken.Page{Records: recs, Count: len(recs)}, err
		}
	}, []string{"EnvironmentsAreSeparate"}},
	{"searches by the name at creation", func(s *faulty) {
		first := map[string]string{}
		var mu sync.Mutex
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			mu.Lock()
			defer mu.Unlock()
			first[rec.ID] = rec.Name
			return s.Store.Create(ctx, rec)
		}
		paged(func(q apitoken.Query, page *apitoken.Page) {
			if q.Text != "" {
				page.Records = slices.DeleteFunc(page.Records, func(rec apitoken.Record) bool {
					rec.Name = first[rec.ID]
					return !slices.ContainsFunc(rec.Terms(), func(t string) bool { return strings.HasPrefix(t, q.Text) })
				})
			}
		})(s)
	}, []string{"ListsFollowChanges"}},
	{"expires a microsecond late", asked(func(q *apitoken.Query) { q.At = q.At.Add(-time.Microsecond) }), []string{"StatusIsThatOfTheMoment"}},
	{"expires a microsecond early", asked(func(q *apitoken.Query) { q.At = q.At.Add(time.Microsecond) }), []string{"StatusIsThatOfTheMoment"}},
	{"knows no policy", asked(func(q *apitoken.Query) { q.Policy = apitoken.Policy{} }), []string{"StatusIsThatOfThePolicy", "ListsAreCompleteAndInOrder"}},
	{"knows no greatest age", asked(func(q *apitoken.Query) { q.Policy.MaxLifetime = 0 }), []string{"StatusIsThatOfThePolicy"}},
	{"knows no idle tokens", asked(func(q *apitoken.Query) { q.Policy.MaxIdle = 0 }), []string{"StatusIsThatOfThePolicy"}},
	{"is a microsecond late with the greatest age", asked(func(q *apitoken.Query) {
		if q.Policy.MaxLifetime > 0 {
			q.Policy.MaxLifetime += time.Microsecond
		}
	}), []string{"StatusIsThatOfThePolicy"}},
	{"is a microsecond late with idle tokens", asked(func(q *apitoken.Query) {
		if q.Policy.MaxIdle > 0 {
			q.Policy.MaxIdle += time.Microsecond
		}
	}), []string{"StatusIsThatOfThePolicy"}},
	{"judges the status now", asked(func(q *apitoken.Query) { q.At = time.Now() }), []string{"StatusIsThatOfTheMoment"}},
	{"says active for pending", asked(func(q *apitoken.Query) {
		if q.Status == apitoken.StatusPending {
			q.Status = apitoken.StatusActive
		}
	}), []string{"StatusIsThatOfTheMoment"}},
	{"goes on from the record at the position", listed(func(apitoken.Query, []apitoken.Record) {}), []string{"PositionsOutliveRecords", "PagingSurvivesChanges"}},
	{"goes on from the ID alone", func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			if q.After != nil {
				if rec, err := s.Store.Get(ctx, q.After.ID); err == nil {
					p := rec.Position(q.Order)
					q.After = &p
				} else {
					q.After = nil
				}
			}
			return s.Store.List(ctx, q)
		}
	}, []string{"PositionsOutliveRecords"}},
	{"pages by number", func(s *faulty) {
		seen := 0
		listed(func(apitoken.Query, []apitoken.Record) {})(s)
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			if q.After == nil {
				seen = 0
			}
			limit := q.Limit
			q.After, q.Limit = nil, seen+limit
			page, err := s.Store.List(ctx, q)
			page.Records = page.Records[min(seen, len(page.Records)):]
			seen += limit
			return page, err
		}
	}, []string{"PagingSurvivesChanges", "PositionsOutliveRecords"}},
	{"counts what is left", func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			page, err := s.Store.List(ctx, q)
			if q.After != nil {
				page.Count = min(page.Count, len(page.Records))
			}
			return page, err
		}
	}, []string{"ListsAreCompleteAndInOrder", "CountsStopAt1000"}},
	{"counts one too many", paged(func(_ apitoken.Query, page *apitoken.Page) {
		if page.More {
			page.Count++
		}
	}), []string{"CountsStopAt1000"}},
	{"says more at exactly 1,000", paged(func(_ apitoken.Query, page *apitoken.Page) { page.More = page.Count >= 1000 }),
		[]string{"CountsStopAt1000"}},
	{"counts nothing", paged(func(_ apitoken.Query, page *apitoken.Page) { page.Count = 0 }), []string{"ListsAreCompleteAndInOrder", "CountsStopAt1000"}},
	{"lists in any order", asked(func(q *apitoken.Query) {
		if !slices.Contains(orders, q.Order) {
			q.Order = apitoken.ByName
		}
	}), []string{"UnknownOrdersAreRefused"}},

	// Scan and keys.
	{"scans from the ID on", func(s *faulty) {
		s.scan = func(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
			recs, err := s.Store.Scan(ctx, after, limit)
			if rec, missing := s.Store.Get(ctx, after); missing == nil {
				recs = slices.Insert(recs, 0, rec)
			}
			return recs, err
		}
	}, []string{"ScanReadsEverythingOnce"}},
	{"scans from the beginning when the ID is gone", func(s *faulty) {
		s.scan = func(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
			if _, err := s.Store.Get(ctx, after); err != nil {
				after = ""
			}
			return s.Store.Scan(ctx, after, limit)
		}
	}, []string{"ScanGoesOnAfterADeletedRecord"}},
	{"scans in an order of its own", func(s *faulty) {
		s.scan = func(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
			recs, err := s.Store.Scan(ctx, after, limit)
			slices.SortFunc(recs, func(a, b apitoken.Record) int {
				return cmp.Or(strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)), strings.Compare(a.ID, b.ID))
			})
			return recs, err
		}
	}, []string{"ScanReadsEverythingOnce"}},
	{"scans less than it should", func(s *faulty) {
		s.scan = func(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
			return s.Store.Scan(ctx, after, min(limit, 30))
		}
	}, []string{"ScanReadsEverythingOnce"}},
	{"counts keys of the first secret only", func(s *faulty) {
		s.keys = func(ctx context.Context) (map[string]int, map[string]int, error) {
			macs, _, err := s.Store.KeysInUse(ctx)
			secrets := map[string]int{}
			recs, _ := s.Store.Scan(ctx, "", 1000)
			for _, rec := range recs {
				if key := rec.Secrets[0].EncryptionKeyID; key != "" {
					secrets[key]++
				}
			}
			return macs, secrets, err
		}
	}, []string{"KeysInUseAreCounted"}},
	{"counts what has no key", func(s *faulty) {
		s.keys = func(ctx context.Context) (map[string]int, map[string]int, error) {
			macs, secrets, err := s.Store.KeysInUse(ctx)
			macs = maps.Clone(macs)
			macs[""] = 1
			return macs, secrets, err
		}
	}, []string{"KeysInUseAreCounted"}},

	// Contexts and the end.
	{"reads although the context has ended", func(s *faulty) {
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			return s.Store.Get(context.WithoutCancel(ctx), id)
		}
	}, []string{"ADoneContextIsAnError"}},
	{"creates although the context has ended", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			return cmp.Or(s.Store.Create(context.WithoutCancel(ctx), rec), ctx.Err())
		}
	}, []string{"ADoneContextIsAnError"}},
	{"deletes before it looks at the context", func(s *faulty) {
		s.delete = func(ctx context.Context, id string) error {
			return cmp.Or(s.Store.Delete(context.WithoutCancel(ctx), id), ctx.Err())
		}
	}, []string{"ADoneContextIsAnError"}},
	{"says not found when the context is done", func(s *faulty) {
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			rec, err := s.Store.Get(ctx, id)
			if err != nil {
				err = apitoken.ErrNotFound
			}
			return rec, err
		}
	}, []string{"ADoneContextIsAnError"}},
	{"stops in the middle of Create", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			if !hurried(ctx) {
				return s.Store.Create(ctx, rec)
			}
			rec = clone(rec)
			rec.Permissions = nil
			return cmp.Or(s.Store.Create(context.WithoutCancel(ctx), rec), context.DeadlineExceeded)
		}
	}, []string{"ABrokenOffChangeIsWholeOrNot"}},
	{"acknowledges what it has not done", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			if !hurried(ctx) {
				return s.Store.Replace(ctx, rec)
			}
			return nil
		}
	}, []string{"ABrokenOffChangeIsWholeOrNot"}},
	{"cannot be closed", func(s *faulty) { s.close = func() error { return errors.New("busy") } }, []string{"EveryFieldComesBack"}},
}
