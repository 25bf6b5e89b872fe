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

// Plain is what of an entry has no pointers. The fields are in the order in which a
// request reads them: with many entries each line of memory is a wait.
type Plain[V any] struct {
	next atomic.Uint32 // in its bucket, as in area.table
	id   [grammar.IDLen]byte
	era  uint16      // that of its shard when it came
	hot  atomic.Bool // used since the eviction last came by

	// Read is when the store was asked; nothing older is in here.
	Read Instant

	Value V

	// Mark belongs to the user. An entry takes it over from the one that it replaces.
	Mark atomic.Int64
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

// An area holds the entries of a shard in a table of linked lists. Lists are
// followed without the lock. One that is being changed may seem to lack an entry,
// which costs a second look, but never shows one that was taken out before the
// look began.
//
// Entries lie in chunks, and where one was nothing else comes: a request may still
// have it. When all places were used, or
// few entries are left, these move to a new area.
type area[V, P any] struct {
	table  []atomic.Uint32 // a power of two of them: the place of the first, or 0
	chunks []chunk[V, P]
	used   int // places, with 0, where there is nothing
}

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
	buckets := chunkLen
	for buckets < len(a.chunks)*chunkLen {
		buckets *= 2
	}
	a.table = make([]atomic.Uint32, buckets)
	return a
}

func (a *area[V, P]) bucket(hash uint64) *atomic.Uint32 { return &a.table[int(hash)&(len(a.table)-1)] }

// at returns an entry that a list has.
func (a *area[V, P]) at(i uint32) Entry[V, P] {
	c := &a.chunks[i/chunkLen]
	return Entry[V, P]{&c.plain[i%chunkLen], &c.pointers[i%chunkLen]}
}

// find looks an entry up, without the lock.
func (a *area[V, P]) find(k Key) Entry[V, P] {
	for i := a.bucket(k.hash).Load(); i != 0; {
		e := a.at(i)
		if e.id == k.id {
			return e
		}
		i = e.next.Load()
	}
	return Entry[V, P]{}
}

// link returns what leads to an entry, or the end of its list.
func (a *area[V, P]) link(k Key) *atomic.Uint32 {
	link := a.bucket(k.hash)
	for i := link.Load(); i != 0; i = link.Load() {
		e := a.at(i)
		if e.id == k.id {
			break
		}
		link = &e.next
	}
	return link
}

// add copies an entry to the front of the list at a link.
func (a *area[V, P]) add(link *atomic.Uint32, next uint32, e Entry[V, P]) Entry[V, P] {
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
	to.next.Store(next)
	link.Store(i)
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
	for b := range old.table {
		for i := old.table[b].Load(); i != 0; {
			e := old.at(i)
			link := a.bucket(c.Key(e.ID()).hash)
			a.add(link, link.Load(), e)
			i = e.next.Load()
		}
	}
	s.area.Store(a)
	s.hand = 0
	return a
}

// put adds an entry to a locked shard, in place of the one with its ID, and returns it.
func (c *Cache[V, P]) put(s *shard[V, P], k Key, e Entry[V, P]) Entry[V, P] {
	e.era = uint16(s.era.Load())
	a := s.area.Load()
	if a.used == len(a.chunks)*chunkLen {
		a = c.move(s)
	}
	link := a.link(k)
	if i := link.Load(); i != 0 {
		old := a.at(i)
		e.hot.Store(old.hot.Load())
		e.Mark.Store(old.Mark.Load())
		return a.add(link, old.next.Load(), e)
	}
	first := a.bucket(k.hash)
	e = a.add(first, first.Load(), e)
	s.n++
	if c.size.Add(1) > c.limit {
		c.evict(s, k)
	}
	return e
}

// drop takes an entry out of a locked shard.
func (c *Cache[V, P]) drop(s *shard[V, P], k Key) {
	a := s.area.Load()
	link := a.link(k)
	if i := link.Load(); i != 0 {
		link.Store(a.at(i).next.Load())
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
func (c *Cache[V, P]) evict(s *shard[V, P], in Key) {
	a := s.area.Load()
	victim := in
search:
	for range 2*len(a.table) + 1 {
		for i := a.table[s.hand].Load(); i != 0; {
			e := a.at(i)
			if e.id != in.id && !e.hot.CompareAndSwap(true, false) {
				victim = c.Key(e.ID())
				break search
			}
			i = e.next.Load()
		}
		s.hand = (s.hand + 1) & (len(a.table) - 1)
	}
	c.drop(s, victim)
	c.evictions.Add(1)
}
