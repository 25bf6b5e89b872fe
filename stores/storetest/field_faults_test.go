package storetest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// fieldFaults are about texts and fields.
var fieldFaults = []fault{
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
}
