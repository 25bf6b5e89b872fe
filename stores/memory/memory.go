// Package memory keeps tokens in memory: for tests, and for services whose
// tokens may be gone when they stop.
package memory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
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
	rows    map[string]row
	watches map[*watch]struct{}
}

// A row is a record as a database would keep it: it shares no memory with anyone,
// and there is little in it for the garbage collector to follow.
type row struct {
	record []byte // Record.MarshalBinary
	seal   []byte
	uses   []use
}

// A use is an [apitoken.Use] of the row's token.
type use struct {
	digest    [sha256.Size]byte
	transport apitoken.Transport
	at        int64 // microseconds since 1970
	address   netip.Addr
}

func encode(rec apitoken.Record) (row, error) {
	b, err := rec.MarshalBinary()
	if err != nil {
		return row{}, err
	}
	r := row{record: bytes.Clone(b), seal: fresh(rec.Seal)}
	return r, r.setUses(rec.Uses)
}

func (r *row) setUses(uses []apitoken.Use) error {
	r.uses = make([]use, len(uses))
	for i, u := range uses {
		if len(u.Digest) != sha256.Size {
			return fmt.Errorf("memory: a use has a digest of %d bytes", len(u.Digest))
		}
		r.uses[i] = use{[sha256.Size]byte(u.Digest), u.Transport, u.At.UnixMicro(), u.Address}
	}
	return nil
}

func (r row) decode() (apitoken.Record, error) {
	var rec apitoken.Record
	if err := rec.UnmarshalBinary(r.record); err != nil {
		return rec, err
	}
	rec.Seal = fresh(r.seal)
	for _, u := range r.uses {
		rec.Uses = append(rec.Uses, apitoken.Use{
			ID: rec.ID, Digest: bytes.Clone(u.digest[:]), Transport: u.transport, At: time.UnixMicro(u.at).UTC(), Address: u.address,
		})
	}
	return rec, nil
}

// New returns an empty Store.
func New() *Store { return &Store{} }

// Format writes how many tokens are stored, for every verb, and nothing of them.
func (s *Store) Format(f fmt.State, _ rune) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fmt.Fprintf(f, "memory.Store(%d tokens)", len(s.rows))
}

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.rows[rec.ID]; ok {
		return apitoken.ErrExists
	}
	r, err := encode(rec)
	if err != nil {
		return err
	}
	if s.rows == nil {
		s.rows = make(map[string]row)
	}
	s.rows[rec.ID] = r
	s.changed(rec.ID)
	return nil
}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.rows[id]
	if !ok {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	return r.decode()
}

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.rows[rec.ID]
	if !ok {
		return apitoken.ErrNotFound
	}
	old, err := before.decode()
	if err != nil {
		return err
	}
	if old.Version != rec.Version-1 {
		return apitoken.ErrConflict
	}
	rec.Uses = old.Uses
	r, err := encode(rec)
	if err != nil {
		return err
	}
	s.rows[rec.ID] = r
	s.changed(rec.ID)
	return nil
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.rows[id]; !ok {
		return apitoken.ErrNotFound
	}
	delete(s.rows, id)
	s.changed(id)
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
	for _, r := range s.rows {
		rec, err := r.decode()
		if err != nil {
			return apitoken.Page{}, err
		}
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
	page.Records = slices.Clone(found[:min(q.Limit, len(found))])
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
		r, ok := s.rows[u.ID]
		if !ok {
			continue
		}
		rec, err := r.decode()
		if err != nil {
			return err
		}
		if rec.AddUse(u) {
			if err := r.setUses(rec.Uses); err != nil {
				return err
			}
			s.rows[u.ID] = r
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
	ids := slices.Sorted(maps.Keys(s.rows))
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	var page []apitoken.Record
	for _, id := range ids[i:min(i+limit, len(ids))] {
		rec, err := s.rows[id].decode()
		if err != nil {
			return nil, err
		}
		page = append(page, rec)
	}
	return page, nil
}

// KeysInUse implements [apitoken.KeyLister].
func (s *Store) KeysInUse(ctx context.Context) (seals, secrets map[string]int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seals, secrets = make(map[string]int), make(map[string]int)
	for _, r := range s.rows {
		rec, err := r.decode()
		if err != nil {
			return nil, nil, err
		}
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

func fresh[E any](s []E) []E {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}
