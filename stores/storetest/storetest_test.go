package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A faulty store is a good one in which methods are replaced.
type faulty struct {
	*memory.Store
	create  func(context.Context, apitoken.Record) error
	get     func(context.Context, string) (apitoken.Record, error)
	replace func(context.Context, apitoken.Record) error
	delete  func(context.Context, string) error
	list    func(context.Context, apitoken.Query) (apitoken.Page, error)
	touch   func(context.Context, []apitoken.Use) error
	scan    func(context.Context, string, int) ([]apitoken.Record, error)
	keys    func(context.Context) (map[string]int, map[string]int, error)
	close   func() error
}

func newFaulty() *faulty {
	m := memory.New()
	return &faulty{
		m, m.Create, m.Get, m.Replace, m.Delete, m.List, m.Touch, m.Scan, m.KeysInUse,
		func() error { return nil },
	}
}

func (f *faulty) Create(ctx context.Context, rec apitoken.Record) error { return f.create(ctx, rec) }
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

// A fault is a way to break a store, and the cases that must notice.
type fault struct {
	name   string
	breaks func(*faulty)
	found  []string
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

var faults = []fault{
	// Texts.
	{"folds IDs", spell(strings.ToLower), []string{"IDsAreComparedByteByByte"}},
	{"trims IDs", spell(func(s string) string { return strings.TrimRight(s, " ") }), []string{"IDsAreComparedByteByByte"}},
	{"cuts IDs at a zero byte", spell(func(s string) string { s, _, _ = strings.Cut(s, "\x00"); return s }), []string{"IDsAreComparedByteByByte"}},
	{"composes accents in IDs", spell(func(s string) string { return strings.ReplaceAll(s, "e\u0301", "é") }), []string{"IDsAreComparedByteByByte"}},
	{"replaces what is not UTF-8 in IDs", spell(func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }), []string{"IDsAreComparedByteByByte"}},
	{"cuts names at a zero byte", written(func(rec *apitoken.Record) { rec.Name, _, _ = strings.Cut(rec.Name, "\x00") }), []string{"AllTextsAreKeptByteForByte"}},
	{"trims descriptions", written(func(rec *apitoken.Record) { rec.Description = strings.TrimSpace(rec.Description) }), []string{"AllTextsAreKeptByteForByte"}},
	{"refuses emoji", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			if strings.Contains(rec.Name, "😀") {
				return errors.New("incorrect string value")
			}
			return s.Store.Create(ctx, rec)
		}
	}, []string{"AllTextsAreKeptByteForByte", "LargeRecordsComeBack"}},
	{"stores what it refuses", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			if err := s.Store.Create(ctx, rec); err != nil || !odd(rec.ID) {
				return err
			}
			return errors.New("refused")
		}
	}, []string{"IDsAreComparedByteByByte"}},
	{"folds owners in filters", paged(func(q apitoken.Query, page *apitoken.Page) {
		if q.Owner != "" && q.Owner != strings.ToLower(q.Owner) {
			*page = apitoken.Page{}
		}
	}), []string{"FiltersAreComparedByteByByte", "ListsAreCompleteAndInOrder"}},
	{"takes % in a prefix for a pattern", asked(func(q *apitoken.Query) { q.Text = strings.TrimRight(q.Text, "%") }),
		[]string{"FiltersAreComparedByteByByte", "ListsAreCompleteAndInOrder"}},
	{"takes % as a permission for all", asked(func(q *apitoken.Query) { q.Permission = strings.TrimRight(q.Permission, "%") }),
		[]string{"FiltersAreComparedByteByByte", "ListsAreCompleteAndInOrder"}},

	// Fields.
	{"drops what a later version wrote into a secret", written(func(rec *apitoken.Record) { rec.Secrets[0].Unknown = "" }),
		[]string{"FieldsOfALaterVersionComeBack", "RecordsOfALaterVersionOutliveThisOne", "RecordsThatALaterVersionHasToJudgeStay"}},
	{"has no large tags", written(func(rec *apitoken.Record) {
		rec.Unknown = strings.TrimPrefix(rec.Unknown, unknown(1<<40, strings.Repeat("\x00\xffx", 150)))
	}),
		[]string{"FieldsOfALaterVersionComeBack"}},
	{"keeps milliseconds", written(func(rec *apitoken.Record) {
		times(rec, func(t *time.Time) { *t = t.Truncate(time.Millisecond) })
	}), []string{"TimesAreUTCToTheMicrosecond", "EveryFieldComesBack"}},
	{"returns local times", read(func(rec *apitoken.Record) {
		times(rec, func(t *time.Time) { *t = t.In(time.FixedZone("", 0)) })
	}), []string{"TimesAreUTCToTheMicrosecond"}},
	{"returns a monotonic reading", read(func(rec *apitoken.Record) {
		times(rec, func(t *time.Time) { now := time.Now(); *t = now.Add(t.Sub(now)).UTC() })
	}), []string{"TimesAreUTCToTheMicrosecond"}},
	{"takes 1970 for zero", read(func(rec *apitoken.Record) {
		times(rec, func(t *time.Time) {
			if t.UnixMicro() == 0 {
				*t = time.Time{}
			}
		})
	}), []string{"TimesAreUTCToTheMicrosecond"}},
	{"takes zero for 1970", read(func(rec *apitoken.Record) {
		if rec.ExpiresAt.IsZero() {
			rec.ExpiresAt = time.UnixMicro(0).UTC()
		}
	}), []string{"TimesAreUTCToTheMicrosecond", "EveryFieldComesBack"}},
	{"keeps nanoseconds in an int64", written(func(rec *apitoken.Record) {
		times(rec, func(t *time.Time) { *t = time.Unix(0, t.UnixNano()) })
	}), []string{"TimesAreUTCToTheMicrosecond"}},
	{"loses bits of a network", written(func(rec *apitoken.Record) {
		for i, n := range rec.Networks {
			rec.Networks[i] = netip.PrefixFrom(n.Addr(), min(n.Bits(), 64))
		}
	}), []string{"NetworksComeBack"}},
	{"has room for 255 bytes of owner", written(func(rec *apitoken.Record) { rec.Owner = rec.Owner[:min(len(rec.Owner), 255)] }), []string{"LargeRecordsComeBack"}},
	{"keeps 100 permissions", written(func(rec *apitoken.Record) { rec.Permissions = rec.Permissions[:min(len(rec.Permissions), 100)] }), []string{"LargeRecordsComeBack"}},
	{"keeps one secret", written(func(rec *apitoken.Record) { rec.Secrets = rec.Secrets[:1] }), []string{"EveryFieldComesBack"}},
	{"keeps what it is given", func(s *faulty) {
		recs := map[string]apitoken.Record{}
		s.create = func(_ context.Context, rec apitoken.Record) error { recs[rec.ID] = rec; return nil }
		s.get = func(_ context.Context, id string) (apitoken.Record, error) { return clone(recs[id]), nil }
	}, []string{"RecordsShareNoMemory"}},
	{"keeps what it is given in Replace", func(s *faulty) {
		var last apitoken.Record
		s.replace = func(ctx context.Context, rec apitoken.Record) error { last = rec; return s.Store.Replace(ctx, rec) }
		read(func(rec *apitoken.Record) {
			if last.ID == rec.ID {
				rec.Permissions = last.Permissions
			}
		})(s)
	}, []string{"RecordsShareNoMemory"}},
	{"returns what it keeps", func(s *faulty) {
		recs := map[string]apitoken.Record{}
		s.create = func(_ context.Context, rec apitoken.Record) error { recs[rec.ID] = clone(rec); return nil }
		s.replace = s.create
		s.get = func(_ context.Context, id string) (apitoken.Record, error) { return recs[id], nil }
	}, []string{"RecordsShareNoMemory"}},
	{"lists what it keeps", func(s *faulty) {
		var kept apitoken.Page
		s.list = func(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
			var err error
			kept, err = s.Store.List(ctx, q)
			return kept, err
		}
		read(func(rec *apitoken.Record) {
			if kept.Records != nil {
				rec.Permissions = kept.Records[0].Permissions
			}
		})(s)
	}, []string{"RecordsShareNoMemory"}},
	{"keeps the uses it is given", func(s *faulty) {
		var last []apitoken.Use
		s.touch = func(ctx context.Context, uses []apitoken.Use) error { last = uses; return s.Store.Touch(ctx, uses) }
		read(func(rec *apitoken.Record) {
			if last != nil {
				rec.Uses = last
			}
		})(s)
	}, []string{"RecordsShareNoMemory"}},
	{"overwrites uses in Replace", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			if err := s.Store.Replace(ctx, rec); err != nil {
				return err
			}
			if err := s.Store.Delete(ctx, rec.ID); err != nil {
				return err
			}
			return s.Store.Create(ctx, rec)
		}
	}, []string{"ReplaceWritesEveryFieldButUses"}},
	{"does not replace the owner", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			old, err := s.Store.Get(ctx, rec.ID)
			if err == nil {
				rec.Owner = old.Owner
			}
			return s.Store.Replace(ctx, rec)
		}
	}, []string{"ReplaceWritesEveryFieldButUses"}},

	// Changes.
	{"overwrites in Create", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			s.Store.Delete(ctx, rec.ID)
			return s.Store.Create(ctx, rec)
		}
	}, []string{"CreateKeepsWhatExists"}},
	{"says it overwrote in Create", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			if err := s.Store.Create(ctx, rec); !errors.Is(err, apitoken.ErrExists) {
				return err
			}
			return nil
		}
	}, []string{"CreateKeepsWhatExists", "OfManyCreatorsOneWins"}},
	{"has an error of its own for what exists", func(s *faulty) {
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			if err := s.Store.Create(ctx, rec); err != nil {
				return errors.New("duplicate key")
			}
			return nil
		}
	}, []string{"CreateKeepsWhatExists"}},
	{"ignores the version", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error { return ignoreVersion(ctx, s.Store, rec, false) }
	}, []string{"ReplaceNeedsTheVersionBefore", "OfManyReplacersOneWins", "ADeletedIDStartsAnew"}},
	{"replaces all older versions", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error { return ignoreVersion(ctx, s.Store, rec, true) }
	}, []string{"ReplaceNeedsTheVersionBefore"}},
	{"compares the version before it locks", func(s *faulty) {
		var mu sync.Mutex
		compared := map[int64]int{} // by version
		others := func(version int64) bool {
			mu.Lock()
			defer mu.Unlock()
			return compared[version] > 1
		}
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			old, err := s.Store.Get(ctx, rec.ID)
			if err == nil && old.Version != rec.Version-1 {
				err = apitoken.ErrConflict
			}
			if err != nil {
				return err
			}
			mu.Lock()
			compared[rec.Version]++
			mu.Unlock()
			for range 500 { // until another has compared, too, which a busy machine may let wait
				if others(rec.Version) {
					break
				}
				time.Sleep(time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			return ignoreVersion(ctx, s.Store, rec, false)
		}
	}, []string{"OfManyReplacersOneWins"}},
	{"creates in Replace", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			err := s.Store.Replace(ctx, rec)
			if errors.Is(err, apitoken.ErrNotFound) {
				err = s.Store.Create(ctx, rec)
			}
			return err
		}
	}, []string{"ReplaceOfNothingIsNotFound"}},
	{"says conflict for nothing", func(s *faulty) {
		s.replace = func(ctx context.Context, rec apitoken.Record) error {
			if s.Store.Replace(ctx, rec) != nil {
				return apitoken.ErrConflict
			}
			return nil
		}
	}, []string{"ReplaceOfNothingIsNotFound"}},
	{"deletes nothing", func(s *faulty) {
		s.delete = func(ctx context.Context, id string) error { _, err := s.Store.Get(ctx, id); return err }
	}, []string{"DeleteRemoves", "ADeletedIDStartsAnew", "AcknowledgedChangesAreSeen"}},
	{"deletes whatever", func(s *faulty) {
		s.delete = func(ctx context.Context, id string) error {
			if err := s.Store.Delete(ctx, id); !errors.Is(err, apitoken.ErrNotFound) {
				return err
			}
			return nil
		}
	}, []string{"DeleteRemoves"}},
	{"deletes by prefix", func(s *faulty) {
		s.delete = func(ctx context.Context, id string) error {
			err := s.Store.Delete(ctx, id)
			recs, _ := s.Store.Scan(ctx, id, 1)
			for _, rec := range recs {
				if strings.HasPrefix(rec.ID, id) {
					s.Store.Delete(ctx, rec.ID)
				}
			}
			return err
		}
	}, []string{"DeleteRemoves"}},
	{"only marks what is deleted", func(s *faulty) {
		graves := map[string]apitoken.Record{}
		s.delete = func(ctx context.Context, id string) error {
			rec, _ := s.Store.Get(ctx, id)
			graves[id] = rec
			return s.Store.Delete(ctx, id)
		}
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			if old, ok := graves[rec.ID]; ok {
				rec.Uses = old.Uses
			}
			return s.Store.Create(ctx, rec)
		}
	}, []string{"ADeletedIDStartsAnew", "TouchIgnoresWhatIsGone"}},
	{"answers from a stale copy", func(s *faulty) { // for longer than any test pauses
		var mu sync.Mutex
		stale := map[string]apitoken.Record{}
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			if rec, ok := stale[id]; ok && time.Since(rec.ChangedAt) < time.Minute {
				return rec, nil
			}
			rec, err := s.Store.Get(ctx, id)
			if err == nil {
				old := rec
				old.ChangedAt = time.Now()
				stale[id] = old
			}
			return rec, err
		}
	}, []string{"AcknowledgedChangesAreSeen", "AChangeHoldsAfterMaxCacheAgeWhateverAWatcherSays"}},
	{"writes behind", func(s *faulty) { // once the record has been looked for
		var behind sync.Map
		s.create = func(_ context.Context, rec apitoken.Record) error {
			behind.Store(rec.ID, clone(rec))
			return nil
		}
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			got, err := s.Store.Get(ctx, id)
			if rec, ok := behind.LoadAndDelete(id); ok {
				s.Store.Create(context.WithoutCancel(ctx), rec.(apitoken.Record))
			}
			return got, err
		}
	}, []string{"AcknowledgedChangesAreSeen", "EveryFieldComesBack"}},

	// Uses.
	{"keeps the last use, not the newest", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) {
			rec.Uses = slices.DeleteFunc(rec.Uses, func(o apitoken.Use) bool {
				return bytes.Equal(o.Digest, u.Digest) && o.Source == u.Source
			})
			rec.AddUse(u)
		})
	}, []string{"TouchKeepsTheNewestUse"}},
	{"keeps one use per secret", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) {
			rec.Uses = slices.DeleteFunc(rec.Uses, func(o apitoken.Use) bool { return bytes.Equal(o.Digest, u.Digest) })
			rec.AddUse(u)
		})
	}, []string{"TouchKeepsTheNewestUse"}},
	{"keeps one use per token", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) {
			rec.Uses = nil
			rec.AddUse(u)
		})
	}, []string{"TouchKeepsTheNewestUse", "TouchAndReplaceLoseNothing"}},
	{"takes the later of two equal uses", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) {
			rec.Uses = slices.DeleteFunc(rec.Uses, func(o apitoken.Use) bool {
				return bytes.Equal(o.Digest, u.Digest) && o.Source == u.Source && o.At.Equal(u.At)
			})
			rec.AddUse(u)
		})
	}, []string{"TouchKeepsTheNewestUse"}},
	{"forgets uses of a secret that was rotated out", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) {
			rec.AddUse(u)
			rec.Uses = slices.DeleteFunc(rec.Uses, func(o apitoken.Use) bool {
				return !slices.ContainsFunc(rec.Secrets, func(s apitoken.SecretRecord) bool { return bytes.Equal(s.Digest, o.Digest) })
			})
		})
	}, []string{"TouchMergesLikeAddUse"}},
	{"counts the version up in Touch", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) { rec.AddUse(u); rec.Version++ })
	}, []string{"TouchChangesNothingElse", "TouchAndReplaceLoseNothing"}},
	{"changes the time of change in Touch", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) { rec.AddUse(u); rec.ChangedAt = u.At })
	}, []string{"TouchChangesNothingElse"}},
	{"creates in Touch", func(s *faulty) {
		s.touch = func(ctx context.Context, uses []apitoken.Use) error {
			for _, u := range uses {
				rec := plain(u.ID)
				rec.Secrets[0].Digest = u.Digest
				s.Store.Create(ctx, rec)
			}
			return s.Store.Touch(ctx, uses)
		}
	}, []string{"TouchIgnoresWhatIsGone"}},
	{"stops a batch at an unknown token", func(s *faulty) {
		s.touch = func(ctx context.Context, uses []apitoken.Use) error {
			for _, u := range uses {
				if _, err := s.Store.Get(ctx, u.ID); err != nil {
					return nil
				}
				s.Store.Touch(ctx, []apitoken.Use{u})
			}
			return nil
		}
	}, []string{"TouchIgnoresWhatIsGone"}},
	{"takes uses of any secret", func(s *faulty) {
		s.touch = touchBy(s, func(rec *apitoken.Record, u apitoken.Use) { rec.Uses = append(rec.Uses, u) })
	}, []string{"TouchIgnoresWhatIsGone"}},
	{"reports unknown tokens from Touch", func(s *faulty) {
		s.touch = func(ctx context.Context, uses []apitoken.Use) error {
			for _, u := range uses {
				if _, err := s.Store.Get(ctx, u.ID); err != nil {
					return err
				}
			}
			return s.Store.Touch(ctx, uses)
		}
	}, []string{"TouchIgnoresWhatIsGone"}},
	{"writes back in Touch what it read before", func(s *faulty) {
		s.touch = func(ctx context.Context, uses []apitoken.Use) error {
			for _, u := range uses {
				rec, err := s.Store.Get(ctx, u.ID)
				if err != nil {
					continue
				}
				time.Sleep(100 * time.Microsecond)
				rec.AddUse(u)
				s.Store.Delete(ctx, rec.ID)
				s.Store.Create(ctx, rec)
			}
			return nil
		}
	}, []string{"TouchAndReplaceLoseNothing"}},
	{"orders by the last use at creation", func(s *faulty) {
		created := map[string][]apitoken.Use{}
		var mu sync.Mutex
		s.create = func(ctx context.Context, rec apitoken.Record) error {
			mu.Lock()
			defer mu.Unlock()
			created[rec.ID] = rec.Uses
			return s.Store.Create(ctx, rec)
		}
		listed(func(q apitoken.Query, recs []apitoken.Record) {
			if q.Order == apitoken.ByLastUsed {
				slices.SortFunc(recs, func(a, b apitoken.Record) int {
					a.Uses, b.Uses = created[a.ID], created[b.ID]
					return compare(q, a.Position(q.Order), b.Position(q.Order))
				})
			}
		})(s)
	}, []string{"TouchMovesTokensInLists"}},

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
	{"reads whatever the context", func(s *faulty) {
		s.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			return s.Store.Get(context.WithoutCancel(ctx), id)
		}
	}, []string{"ADoneContextIsAnError"}},
	{"creates whatever the context", func(s *faulty) {
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

func TestEveryFaultIsFound(t *testing.T) {
	for _, f := range slices.Concat(faults, forgetful()) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range f.found {
				i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
				if i < 0 {
					t.Fatalf("there is no case %s", name)
				}
				store := newFaulty()
				f.breaks(store)
				if err := cases[i].try(store); err == nil {
					t.Errorf("%s passes", name)
				} else {
					t.Log(err)
				}
			}
		})
	}
}

func TestEveryCaseCanFail(t *testing.T) {
	found := map[string]bool{}
	for _, f := range slices.Concat(faults, forgetful()) {
		for _, name := range f.found {
			found[name] = true
		}
	}
	for _, c := range cases {
		if !found[c.name] {
			t.Errorf("no fault makes %s fail", c.name)
		}
	}
}

func TestAGoodStorePasses(t *testing.T) {
	Run(t, func(*testing.T) apitoken.Store { return newFaulty() })
}

func TestAStoreWithoutCompanionsPasses(t *testing.T) {
	Run(t, func(*testing.T) apitoken.Store {
		return struct{ apitoken.Store }{memory.New()}
	})
}

func TestAGoroutineLeftBehindIsFound(t *testing.T) {
	stop := make(chan struct{})
	left := leftBehind(func() { go func() { <-stop }() })
	close(stop)
	if !strings.Contains(left, "TestAGoroutineLeftBehindIsFound") {
		t.Errorf("it is not among these:\n%s", left)
	}
	if left := leftBehind(func() { go time.Sleep(100 * time.Millisecond) }); left != "" {
		t.Errorf("one that ends soon is reported:\n%s", left)
	}
}

func TestAFullRecordHasNoZeroField(t *testing.T) {
	rec := full("token", 1)
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is zero", path)
		}
		switch {
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				if v.Type().Elem().Kind() != reflect.Uint8 {
					check(path+"[]", v.Index(i))
				}
			}
		case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeOf(rec).PkgPath():
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	check("Record", reflect.ValueOf(rec))
	if diff := differences(rec, clone(rec)); diff != nil {
		t.Errorf("a clone differs: %v", diff)
	}
	scribbled := clone(rec)
	scribble(&scribbled)
	if diff := differences(scribbled, rec); len(diff) < 20 {
		t.Errorf("scribbling changes only %v", diff)
	}
}
