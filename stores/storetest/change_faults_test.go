package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

// changeFaults are about changes and uses.
var changeFaults = []fault{
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
	{"deletes unknown IDs", func(s *faulty) {
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
}
