// Package memory keeps tokens in memory: for tests, and for services that can afford to
// lose their tokens when they stop.
package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

const maxCount = 1000 // where Page.Count stops

// A Store is an [apitoken.Store] in memory. The zero value is empty and ready for use. The
// first list in an order reads and sorts all tokens. Later lists read the tokens that they show
// or count, up to 1,000, but all tokens for a status that depends on the time and that few have.
type Store struct {
	mu      sync.RWMutex
	rows    map[string]row // by ID, which is the beginning of the row
	watches map[*watch]struct{}
	lists   *lists   // nil if nobody asked for one
	moves   int      // how many rows were added or deleted
	ids     []string // of all rows in order, as they were after idMoves moves
	idMoves int

	sums  map[string]sum // see Count
	swept int            // how many were left after the last removal of ended ones
}

// A row is a record as a database would keep it: it shares no memory with anyone,
// and is one object without anything for the garbage collector to follow. It is
//
//	the ID
//	the length of the MAC in one byte, the MAC
//	how many uses there are in one byte, and of each
//		the digest of the secret
//		microseconds since 1970 in eight bytes
//		the length of the source in one byte, the source
//		the length of the address in one byte, the address
//	Record.MarshalBinary
type row string

func encode(rec apitoken.Record) (row, error) {
	record, err := rec.MarshalBinary()
	if err != nil {
		return "", err
	}
	if len(rec.MAC) > math.MaxUint8 || len(rec.Uses) > math.MaxUint8 {
		return "", fmt.Errorf("memory: a MAC of %d bytes, and %d uses", len(rec.MAC), len(rec.Uses))
	}
	b := append([]byte(rec.ID), byte(len(rec.MAC)))
	b = append(append(b, rec.MAC...), byte(len(rec.Uses)))
	for _, u := range rec.Uses {
		address, err := u.Address.MarshalBinary()
		if err != nil {
			return "", err
		}
		if len(u.Digest) != sha256.Size || len(u.Source) > math.MaxUint8 || len(address) > math.MaxUint8 {
			return "", fmt.Errorf("memory: a use has a digest of %d bytes, a source of %d and an address of %d",
				len(u.Digest), len(u.Source), len(address))
		}
		b = binary.BigEndian.AppendUint64(append(b, u.Digest...), uint64(u.At.UnixMicro()))
		b = append(append(b, byte(len(u.Source))), u.Source...)
		b = append(append(b, byte(len(address))), address...)
	}
	return row(append(b, record...)), nil
}

func (r row) decode(id string) (apitoken.Record, error) {
	// Most rows fit, so that reading one copies it only once, into its texts.
	var buffer [1024]byte
	rest := append(buffer[:0], r[len(id):]...)
	cut := func(n int) []byte {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	part := func() []byte { return cut(int(cut(1)[0])) }
	var rec apitoken.Record
	if mac := part(); len(mac) > 0 {
		rec.MAC = bytes.Clone(mac)
	}
	n := int(cut(1)[0])
	if n > 0 {
		rec.Uses = make([]apitoken.Use, n)
	}
	digests := make([]byte, 0, n*sha256.Size)
	for i := range rec.Uses {
		digests = append(digests, cut(sha256.Size)...)
		u := apitoken.Use{ID: id, Digest: digests[i*sha256.Size : len(digests) : len(digests)], At: time.UnixMicro(int64(binary.BigEndian.Uint64(cut(8)))).UTC()}
		u.Source = apitoken.Source(part())
		if err := u.Address.UnmarshalBinary(part()); err != nil {
			return apitoken.Record{}, err
		}
		rec.Uses[i] = u
	}
	err := rec.UnmarshalBinary(rest)
	return rec, err
}

// New returns an empty Store.
func New() *Store { return &Store{} }

// Format writes the number of stored tokens, for every verb, and nothing else.
func (s *Store) Format(f fmt.State, _ rune) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fmt.Fprintf(f, "memory.Store(%d tokens)", len(s.rows))
}

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	added, err := s.CreateAll(ctx, []apitoken.Record{rec})
	if err == nil && !added[0] {
		err = apitoken.ErrExists
	}
	return err
}

// CreateAll implements [apitoken.BatchCreator]. If it returns an error, it added no record.
func (s *Store) CreateAll(ctx context.Context, recs []apitoken.Record) (added []bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows := make([]row, len(recs))
	for i, rec := range recs {
		if rows[i], err = encode(rec); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows = make(map[string]row)
	}
	for i, rec := range recs {
		_, exists := s.rows[rec.ID]
		if added = append(added, !exists); !exists {
			s.keep(rec.ID, rows[i])
			s.moves++
			s.changed(rec.ID)
		}
	}
	return added, nil
}

// keep keeps a row. (The ID that is passed may be part of a longer text.)
func (s *Store) keep(id string, r row) {
	s.rows[string(r[:len(id)])] = r
	s.relist(id)
}

// Cancelable makes the promise that [apitoken.Store] describes.
func (s *Store) Cancelable() {}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Record{}, err
	}
	s.mu.RLock()
	r, ok := s.rows[id]
	s.mu.RUnlock()
	if !ok {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	return r.decode(id)
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
	old, err := before.decode(rec.ID)
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
	s.keep(rec.ID, r)
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
	s.moves++
	s.relist(id)
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
	tokens, err := s.inOrder(ctx, q.Order)
	if err != nil {
		return apitoken.Page{}, err
	}
	direction := 1
	if q.Descending {
		direction = -1
	}
	var page apitoken.Page
	for i := range tokens {
		t := &tokens[i]
		if q.Descending {
			t = &tokens[len(tokens)-1-i]
		}
		if err := ctx.Err(); err != nil {
			return apitoken.Page{}, err
		}
		here := q.After == nil || direction*compare(q.Order, t.at, *q.After) > 0
		if !here && page.More || !t.mayMatch(&q) {
			continue // without decoding it
		}
		rec, err := t.row.decode(t.at.ID)
		if err != nil {
			return apitoken.Page{}, err
		}
		if !q.Match(&rec) {
			continue
		}
		page.More = page.Count == maxCount
		page.Count = min(page.Count+1, maxCount)
		if here && len(page.Records) < q.Limit {
			page.Records = append(page.Records, rec)
		} else if here && page.Next == nil {
			next := page.Records[q.Limit-1].Position(q.Order)
			page.Next = &next
		}
		if page.Next != nil && page.More {
			break
		}
	}
	return page, nil
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
		rec, err := r.decode(u.ID)
		if err != nil {
			return err
		}
		if rec.AddUse(u) {
			if r, err = encode(rec); err != nil {
				return err
			}
			s.keep(u.ID, r)
		}
	}
	return nil
}

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids := s.sortedIDs()
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	var page []apitoken.Record
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, id := range ids[i:] {
		if len(page) == limit {
			break
		}
		r, ok := s.rows[id]
		if !ok { // deleted since
			continue
		}
		rec, err := r.decode(id)
		if err != nil {
			return nil, err
		}
		page = append(page, rec)
	}
	return page, nil
}

// sortedIDs returns the IDs of all tokens in order. It sorts without the lock, for which
// every change, and behind it every Get, would wait.
func (s *Store) sortedIDs() []string {
	s.mu.RLock()
	ids, moves, sorted := s.ids, s.moves, s.idMoves == s.moves
	if !sorted {
		ids = slices.Collect(maps.Keys(s.rows))
	}
	s.mu.RUnlock()
	if sorted {
		return ids
	}
	slices.Sort(ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids, s.idMoves = ids, moves
	return ids
}

// KeysInUse implements [apitoken.Scanner].
func (s *Store) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	s.mu.RLock()
	rows := maps.Clone(s.rows)
	s.mu.RUnlock()
	macs, secrets = make(map[string]int), make(map[string]int)
	for id, r := range rows {
		rec, err := r.decode(id)
		if err != nil {
			return nil, nil, err
		}
		if rec.MACKeyID != "" {
			macs[rec.MACKeyID]++
		}
		for _, sec := range rec.Secrets {
			if sec.EncryptionKeyID != "" {
				secrets[sec.EncryptionKeyID]++
			}
		}
	}
	return macs, secrets, ctx.Err()
}
