package cache

import (
	"sync/atomic"

	"github.com/apitoken-go/apitoken/internal/alias"
	"github.com/apitoken-go/apitoken/internal/grammar"
)

// An Entry is a value with what the cache has to know of it. Only the cache changes it,
// but for Mark. What of a value has pointers is apart from what has none: with many
// entries the garbage collector reads only the former, a few words of each.
type Entry[V, P any] struct {
	*Plain[V]
	Pointers *P
}

// Plain is what of an entry has no pointers. What a request reads comes first: with many
// entries each line of memory is a wait.
type Plain[V any] struct {
	id  [grammar.IDLen]byte
	hot atomic.Bool // used since the eviction last came by
	era uint16      // that of its shard when it came

	// Read is when the store was asked; nothing older is in here.
	Read Instant

	// Mark belongs to the user. An entry takes it over from the one that it replaces.
	Mark atomic.Int64

	Value V
}

// NewEntry returns an entry of what a store was asked for at a moment, without its value.
func NewEntry[V, P any](id string, read Instant) Entry[V, P] {
	e := new(struct {
		plain    Plain[V]
		pointers P
	})
	e.plain.Read = read
	copy(e.plain.id[:], id)
	return Entry[V, P]{&e.plain, &e.pointers}
}

// IsZero reports whether there is no entry.
func (e Entry[V, P]) IsZero() bool { return e.Plain == nil }

// ID returns the ID of the entry. It is not copied, as an entry keeps it.
func (p *Plain[V]) ID() string { return alias.String(p.id[:]) }

// An area holds the entries of a shard, and a table that says where, with linear probing.
// Look-ups take no lock. They find every entry that stays, and none that was taken out before
// they began.
//
// Entries lie in chunks, and where one was nothing else comes: a request may still
// have it. When all places were used, or few entries are left, these move to a new area.
type area[V, P any] struct {
	table  []atomic.Uint32 // a power of two of slots, more than there are places: one is empty
	chunks []chunk[V, P]
	used   int // places, with 0, where there is nothing
}

// A slot of the table is zero while it is empty, gone after its entry was taken out, or else a
// tag and a place. The tag is a part of the hash: as a rule no other entry has to be read.
const (
	placeBits = 24
	places    = 1<<placeBits - 1
	gone      = 1 << placeBits
)

func (k *Key) tag() uint32 { return uint32(k.hash>>32) << placeBits }

// A chunk is what the garbage collector sees of chunkLen entries. It is small, as a
// request that goes on for hours keeps the whole of it.
type chunk[V, P any] struct {
	plain    *[chunkLen]Plain[V]
	pointers *[chunkLen]P
}

const chunkLen = 16

// newArea returns an area for half as many entries again as there are, and some.
func newArea[V, P any](n int) *area[V, P] {
	a := &area[V, P]{chunks: make([]chunk[V, P], 1+n*3/2/chunkLen), used: 1}
	slots := chunkLen
	for slots < len(a.chunks)*chunkLen*4/3 {
		slots *= 2
	}
	a.table = make([]atomic.Uint32, slots)
	return a
}

// at returns the entry at a place that was given away.
func (a *area[V, P]) at(i uint32) Entry[V, P] {
	c := &a.chunks[i/chunkLen]
	return Entry[V, P]{&c.plain[i%chunkLen], &c.pointers[i%chunkLen]}
}

// find returns an entry and its slot, or none and the slot where it would come.
func (a *area[V, P]) find(k *Key) (Entry[V, P], *atomic.Uint32) {
	for i := int(k.hash); ; i++ {
		slot := &a.table[i&(len(a.table)-1)]
		s := slot.Load()
		if s == 0 {
			return Entry[V, P]{}, slot
		}
		if s&^places == k.tag() && s != gone {
			if e := a.at(s & places); e.id == k.id {
				return e, slot
			}
		}
	}
}

// add copies an entry to a new place, and sets its slot.
func (a *area[V, P]) add(slot *atomic.Uint32, k *Key, e Entry[V, P]) Entry[V, P] {
	c := &a.chunks[a.used/chunkLen]
	if c.plain == nil {
		*c = chunk[V, P]{new([chunkLen]Plain[V]), new([chunkLen]P)}
	}
	i := uint32(a.used)
	a.used++
	to := a.at(i)
	to.id, to.era, to.Read, to.Value, *to.Pointers = e.id, e.era, e.Read, e.Value, *e.Pointers
	to.hot.Store(e.hot.Load())
	to.Mark.Store(e.Mark.Load())
	slot.Store(k.tag() | i)
	return to
}

// clear takes out all entries of a shard.
func (s *shard[V, P]) clear() {
	s.area.Store(newArea[V, P](0))
	s.n, s.hand = 0, 0
}

// move moves the entries of a locked shard to a new area.
func (c *Cache[V, P]) move(s *shard[V, P]) *area[V, P] {
	old, a := s.area.Load(), newArea[V, P](s.n)
	for i := range old.table {
		if at := old.table[i].Load() & places; at != 0 {
			e := old.at(at)
			k := c.Key(e.ID())
			_, slot := a.find(&k)
			a.add(slot, &k, e)
		}
	}
	s.area.Store(a)
	s.hand = 0
	return a
}

// put adds an entry to a locked shard, in place of the one with its ID, and returns it.
func (c *Cache[V, P]) put(s *shard[V, P], k *Key, e Entry[V, P]) Entry[V, P] {
	e.era = uint16(s.era.Load())
	a := s.area.Load()
	if a.used == len(a.chunks)*chunkLen {
		a = c.move(s)
	}
	old, slot := a.find(k)
	if !old.IsZero() {
		e.hot.Store(old.hot.Load())
		e.Mark.Store(old.Mark.Load())
		return a.add(slot, k, e)
	}
	e = a.add(slot, k, e)
	s.n++
	if c.size.Add(1) > c.limit {
		c.evict(s, k)
	}
	return e
}

// drop takes an entry out of a locked shard.
func (c *Cache[V, P]) drop(s *shard[V, P], k *Key) {
	a := s.area.Load()
	if e, slot := a.find(k); !e.IsZero() {
		slot.Store(gone)
		s.n--
		c.size.Add(-1)
	}
	if a.used > 4*(s.n+chunkLen) {
		c.move(s)
	}
}

// evict takes one entry out of a locked shard: the next that was not used since
// evictions last came by, other than the one that came in; that one, if there is
// no other.
func (c *Cache[V, P]) evict(s *shard[V, P], in *Key) {
	a := s.area.Load()
	victim := *in
	for range 2*len(a.table) + 1 {
		if at := a.table[s.hand].Load() & places; at != 0 {
			if e := a.at(at); e.id != in.id && !e.hot.CompareAndSwap(true, false) {
				victim = c.Key(e.ID())
				break
			}
		}
		s.hand = (s.hand + 1) & (len(a.table) - 1)
	}
	c.drop(s, &victim)
	c.evictions.Add(1)
}
