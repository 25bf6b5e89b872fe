// Package memory keeps tokens in memory: for tests, and for services whose
// tokens may be gone when they stop.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

// Store is an [apitoken.Store] in memory. Its zero value is empty and ready for
// use. Lists take time in proportion to all its tokens.
type Store struct {
	mu      sync.RWMutex
	records map[string]apitoken.Record
}

// New returns an empty Store.
func New() *Store { return &Store{} }

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.records[rec.ID]; ok {
		return apitoken.ErrExists
	}
	if s.records == nil {
		s.records = make(map[string]apitoken.Record)
	}
	s.records[rec.ID] = copied(rec)
	return nil
}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	rec, ok := s.records[id]
	if !ok {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	return copied(rec), nil
}

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.records[rec.ID]
	switch {
	case !ok:
		return apitoken.ErrNotFound
	case old.Version != rec.Version-1:
		return apitoken.ErrConflict
	}
	rec = copied(rec)
	rec.Uses = old.Uses
	s.records[rec.ID] = rec
	return nil
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.records[id]; !ok {
		return apitoken.ErrNotFound
	}
	delete(s.records, id)
	return nil
}

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Page{}, err
	}
	switch q.Order {
	case apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed:
	default:
		return apitoken.Page{}, fmt.Errorf("memory: no order %.40q", q.Order)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []apitoken.Record
	for _, rec := range s.records {
		if matches(&rec, q) {
			found = append(found, rec)
		}
	}
	page := apitoken.Page{Count: min(len(found), apitoken.MaxCount), More: len(found) > apitoken.MaxCount}
	direction := 1
	if q.Descending {
		direction = -1
	}
	slices.SortFunc(found, func(a, b apitoken.Record) int {
		return direction * compare(q.Order, a.Position(q.Order), b.Position(q.Order))
	})
	if q.After != nil {
		found = slices.DeleteFunc(found, func(rec apitoken.Record) bool {
			return direction*compare(q.Order, rec.Position(q.Order), *q.After) <= 0
		})
	}
	for _, rec := range found[:min(q.Limit, len(found))] {
		page.Records = append(page.Records, copied(rec))
	}
	if len(found) > q.Limit {
		next := page.Records[q.Limit-1].Position(q.Order)
		page.Next = &next
	}
	return page, nil
}

func matches(rec *apitoken.Record, q apitoken.Query) bool {
	return rec.Environment == q.Environment &&
		(q.Owner == "" || rec.Owner == q.Owner) &&
		(q.Status == "" || q.Policy.Status(rec, q.At) == q.Status) &&
		(q.Permission == "" || slices.Contains(rec.Permissions, q.Permission)) &&
		(q.Text == "" || slices.ContainsFunc(rec.Terms(), func(t string) bool { return strings.HasPrefix(t, q.Text) }))
}

func compare(by apitoken.Order, a, b apitoken.Position) int {
	if by == apitoken.ByExpires && a.Time.IsZero() != b.Time.IsZero() {
		if a.Time.IsZero() { // never comes last
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Name, b.Name), a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}

// Touch implements [apitoken.Toucher].
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range uses {
		u.Digest = fresh(u.Digest)
		if rec, ok := s.records[u.ID]; ok && rec.AddUse(u) {
			s.records[u.ID] = rec
		}
	}
	return nil
}

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := slices.Sorted(maps.Keys(s.records))
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	var page []apitoken.Record
	for _, id := range ids[i:min(i+limit, len(ids))] {
		page = append(page, copied(s.records[id]))
	}
	return page, nil
}

// KeysInUse implements [apitoken.KeyLister].
func (s *Store) KeysInUse(ctx context.Context) (seals, secrets map[string]int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seals, secrets = make(map[string]int), make(map[string]int)
	for _, rec := range s.records {
		if rec.SealKey != "" {
			seals[rec.SealKey]++
		}
		for _, sec := range rec.Secrets {
			if sec.SealedKey != "" {
				secrets[sec.SealedKey]++
			}
		}
	}
	return seals, secrets, ctx.Err()
}

// copied returns a record that shares no memory with rec, and none that an
// engine with columns would not give back: no empty slices, no monotonic clock.
func copied(rec apitoken.Record) apitoken.Record {
	rec.Permissions = fresh(rec.Permissions)
	rec.Networks = fresh(rec.Networks)
	rec.Secrets = fresh(rec.Secrets)
	for i := range rec.Secrets {
		sec := &rec.Secrets[i]
		sec.Digest, sec.IdempotencyKey, sec.Sealed = fresh(sec.Digest), fresh(sec.IdempotencyKey), fresh(sec.Sealed)
		sec.CreatedAt, sec.ValidUntil = micro(sec.CreatedAt), micro(sec.ValidUntil)
	}
	rec.History = fresh(rec.History)
	for i := range rec.History {
		rec.History[i].At, rec.History[i].Fields = micro(rec.History[i].At), fresh(rec.History[i].Fields)
	}
	rec.Seal = fresh(rec.Seal)
	rec.Uses = fresh(rec.Uses)
	for i := range rec.Uses {
		rec.Uses[i].At, rec.Uses[i].Digest = micro(rec.Uses[i].At), fresh(rec.Uses[i].Digest)
	}
	for _, t := range []*time.Time{&rec.DeactivatedAt, &rec.CreatedAt, &rec.ChangedAt, &rec.ExpiresAt, &rec.NotBefore} {
		*t = micro(*t)
	}
	return rec
}

func fresh[E any](s []E) []E {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Round(0).Truncate(time.Microsecond)
}
