package storetest

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A faulty store is a good one in which methods are replaced.
type faulty struct {
	*memory.Store
	create  func(context.Context, apitoken.Record) error
	all     func(context.Context, []apitoken.Record) ([]bool, error)
	get     func(context.Context, string) (apitoken.Record, error)
	replace func(context.Context, apitoken.Record) error
	delete  func(context.Context, string) error
	list    func(context.Context, apitoken.Query) (apitoken.Page, error)
	touch   func(context.Context, []apitoken.Use) error
	scan    func(context.Context, string, int) ([]apitoken.Record, error)
	keys    func(context.Context) (map[string]int, map[string]int, error)
	count   func(context.Context, map[string]time.Duration) (map[string]time.Duration, error)
	close   func() error
}

func newFaulty() *faulty {
	m := memory.New()
	return &faulty{
		m, m.Create, m.CreateAll, m.Get, m.Replace, m.Delete, m.List, m.Touch, m.Scan, m.KeysInUse, m.Count,
		func() error { return nil },
	}
}

func (f *faulty) Create(ctx context.Context, rec apitoken.Record) error { return f.create(ctx, rec) }
func (f *faulty) CreateAll(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
	return f.all(ctx, recs)
}
func (f *faulty) Get(ctx context.Context, id string) (apitoken.Record, error) {
	return f.get(ctx, id)
}
func (f *faulty) Replace(ctx context.Context, rec apitoken.Record) error { return f.replace(ctx, rec) }
func (f *faulty) Delete(ctx context.Context, id string) error            { return f.delete(ctx, id) }
func (f *faulty) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	return f.list(ctx, q)
}
func (f *faulty) Touch(ctx context.Context, uses []apitoken.Use) error { return f.touch(ctx, uses) }
func (f *faulty) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	return f.scan(ctx, after, limit)
}
func (f *faulty) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	return f.count(ctx, add)
}
func (f *faulty) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	return f.keys(ctx)
}
func (f *faulty) Close() error { return f.close() }

// spell makes a store that keeps IDs as spelled by f.
func spell(f func(string) string) func(*faulty) {
	return func(s *faulty) {
		ids := func(rec apitoken.Record) apitoken.Record {
			rec.ID = f(rec.ID)
			return rec
		}
		s.create = func(ctx context.Context, rec apitoken.Record) error { return s.Store.Create(ctx, ids(rec)) }
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			rec, err := s.Store.Get(ctx, f(id))
			if err == nil {
				rec.ID = id // not even visible
			}
			return rec, err
		}
		s.replace = func(ctx context.Context, rec apitoken.Record) error { return s.Store.Replace(ctx, ids(rec)) }
		s.delete = func(ctx context.Context, id string) error { return s.Store.Delete(ctx, f(id)) }
	}
}

// written makes a store that alters the records it writes.
func written(f func(*apitoken.Record)) func(*faulty) {
	return func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			rec = clone(rec)
			f(&rec)
			return s.Store.Create(ctx, rec)
		}
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			rec = clone(rec)
			f(&rec)
			return s.Store.Replace(ctx, rec)
		}
	}
}

// read makes a store that alters the records it returns from Get.
func read(f func(*apitoken.Record)) func(*faulty) {
	return func(s *faulty) {
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			rec, err := s.Store.Get(ctx, id)
			if err == nil {
				f(&rec)
			}
			return rec, err
		}
	}
}

// asked makes a store that alters the queries it answers.
func asked(f func(*apitoken.Query)) func(*faulty) {
	return func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			f(&q)
			return s.Store.List(ctx, q)
		}
	}
}

// paged makes a store that alters the pages it returns.
func paged(f func(apitoken.Query, *apitoken.Page)) func(*faulty) {
	return func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			page, err := s.Store.List(ctx, q)
			if err == nil {
				f(q, &page)
			}
			return page, err
		}
	}
}

// listed makes a store that lists a model of its own, the altered records,
// under an altered query.
func listed(sorted func(apitoken.Query, []apitoken.Record)) func(*faulty) {
	return func(s *faulty) {
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			all, err := s.Store.List(ctx, apitoken.Query{
				Environment: q.Environment, Owner: q.Owner, Status: q.Status, At: q.At, Permission: q.Permission, Text: q.Text,
				Order: q.Order, Limit: 100_000, Descending: q.Descending,
			})
			if err != nil {
				return all, err
			}
			sorted(q, all.Records)
			start := 0
			if q.After != nil {
				start = len(all.Records)
				for i, rec := range all.Records {
					if rec.ID == q.After.ID {
						start = i + 1
					}
				}
			}
			page := all
			page.Records, page.Next = all.Records[start:min(start+q.Limit, len(all.Records))], nil
			if start+q.Limit < len(all.Records) {
				next := all.Records[start+q.Limit-1].Position(q.Order)
				page.Next = &next
			}
			return page, nil
		}
	}
}

// forgetful returns, for each field of a record, a store that does not keep it.
func forgetful() []fault {
	var faults []fault
	var fields func(path string, t reflect.Type, index []int, zero func(*apitoken.Record, []int))
	fields = func(path string, t reflect.Type, index []int, zero func(*apitoken.Record, []int)) {
		for i := range t.NumField() {
			f, index := t.Field(i), append(slices.Clone(index), i)
			if name := path + f.Name; name != "ID" && name != "Uses.ID" && name != "Uses.Digest" {
				faults = append(faults, fault{
					"forgets " + name, written(func(rec *apitoken.Record) { zero(rec, index) }), []string{"EveryFieldComesBack"},
				})
			}
			if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && f.Type.Elem().PkgPath() == t.PkgPath() {
				fields(path+f.Name+".", f.Type.Elem(), nil, func(rec *apitoken.Record, inner []int) {
					list := reflect.ValueOf(rec).Elem().FieldByIndex(index)
					for i := range list.Len() {
						list.Index(i).FieldByIndex(inner).SetZero()
					}
				})
			}
		}
	}
	fields("", reflect.TypeFor[apitoken.Record](), nil, func(rec *apitoken.Record, index []int) {
		reflect.ValueOf(rec).Elem().FieldByIndex(index).SetZero()
	})
	return faults
}

func times(rec *apitoken.Record, f func(*time.Time)) {
	list := []*time.Time{&rec.DeactivatedAt, &rec.CreatedAt, &rec.ChangedAt, &rec.ExpiresAt, &rec.NotBefore}
	for i := range rec.Secrets {
		list = append(list, &rec.Secrets[i].CreatedAt, &rec.Secrets[i].ValidUntil)
	}
	for i := range rec.History {
		list = append(list, &rec.History[i].At)
	}
	for _, t := range list {
		if !t.IsZero() {
			f(t)
		}
	}
}

// hurried reports whether there is hardly time left.
func hurried(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < time.Millisecond
}

// ignoreVersion replaces a record of any other version, or of any older one.
func ignoreVersion(ctx context.Context, s *memory.Store, rec apitoken.Record, older bool) error {
	for {
		old, err := s.Get(ctx, rec.ID)
		if err != nil {
			return err
		}
		if older && old.Version >= rec.Version {
			return apitoken.ErrConflict
		}
		rec.Uses = old.Uses
		if err := s.Delete(ctx, rec.ID); err != nil {
			continue
		}
		return s.Create(ctx, rec)
	}
}

// touchBy makes a Touch that merges uses by f.
func touchBy(s *faulty, f func(*apitoken.Record, apitoken.Use)) func(context.Context, []apitoken.Use) error {
	var mu sync.Mutex
	s.replace = func(ctx context.Context, rec apitoken.Record) error {
		mu.Lock()
		defer mu.Unlock()
		return s.Store.Replace(ctx, rec)
	}
	return func(ctx context.Context, uses []apitoken.Use) error {
		mu.Lock()
		defer mu.Unlock()
		for _, u := range uses {
			rec, err := s.Store.Get(ctx, u.ID)
			if err != nil {
				continue
			}
			f(&rec, u)
			if err := cmp.Or(s.Store.Delete(ctx, rec.ID), s.Store.Create(ctx, rec)); err != nil {
				return err
			}
		}
		return nil
	}
}
