// Package cache keeps what was read from a store in memory, for as long as it is certain
// to be fresh.
package cache

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken/internal/alias"
	"github.com/apitoken-go/apitoken/internal/grammar"
)

// A Cache holds entries of values, each for as long as it is certain to be fresh. It
// holds what a store returned, never decisions, and nothing about what the store does
// not have.
//
// An entry holds every change that was acknowledged before its store call
// began; and, while a feed reports changes, every one that was acknowledged
// before the moment up to which the feed is current, since the feed takes out
// what changed. The later of the two is as of when the entry is good; it is used
// for MaxStaleness after that, and then read anew. No clocks are compared between
// machines, and where the feed breaks nothing has to be noticed: its moment stays
// where it is.
//
// Requests read it without locks and, as a rule, without writing memory that
// they share. Changes are rarer and take the lock of a shard.
//
// The nil Cache holds nothing; only Invalidate and Finish may be called.
type Cache[V any] struct {
	// MaxStaleness is how old an entry may be. It does not change.
	MaxStaleness time.Duration

	halfAge time.Duration // of the age until which the feed is believed
	limit   int64         // entries
	base    time.Time
	seed    maphash.Seed
	shards  []shard[V]
	shift   uint // of a hash, for its shard

	current atomic.Pointer[Instant] // what the feed said last; nil without one

	_ [64]byte // what requests read is on lines that misses do not write

	size, misses, expired, evictions, invalidations, resets atomic.Int64
}

// An Entry is a value with what the cache has to know of it. Only the cache changes it,
// but for Mark. The fields are in the order in which a request reads them: with many
// entries each line of memory is a wait.
type Entry[V any] struct {
	next atomic.Pointer[Entry[V]] // in its bucket
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
func NewEntry[V any](id string, read Instant) *Entry[V] {
	e := &Entry[V]{Read: read}
	copy(e.id[:], id)
	return e
}

// ID returns the ID of the entry. It is not copied, as an entry keeps it.
func (e *Entry[V]) ID() string { return alias.String(e.id[:]) }

// A Key is where an ID is found in a cache.
type Key struct {
	id   [grammar.IDLen]byte
	hash uint64
}

// Stats are counts since New, but for Entries.
type Stats struct {
	Entries, Misses, Expired, Evictions, Invalidations, Resets int64

	Feed    bool          // a feed reports changes
	FeedAge time.Duration // since all had been reported
}

// A shard holds the entries of some hashes in a table of linked lists. Lists are
// followed without the lock. One that is being changed may seem to lack an entry,
// which costs a second look, but never shows one that was taken out before the
// look began.
type shard[V any] struct {
	table atomic.Pointer[[]atomic.Pointer[Entry[V]]] // a power of two of them
	era   atomic.Uint32                              // how many resets there were

	mu    sync.Mutex
	n     int                              // entries
	hand  int                              // the bucket where the next eviction begins
	calls map[[grammar.IDLen]byte]*Call[V] // of the store, running, that requests may join
	_     [64]byte                         // a line of its own
}

// A Call of the store may answer many requests. Once it was taken out of
// shard.calls, because what it reads changed, it answers only those that had joined
// it, and what it read is not kept.
type Call[V any] struct {
	Began   Instant
	Known   bool          // it is for one who has shown the right secret
	Entered atomic.Bool   // it waits for the store, not for a slot
	Done    chan struct{} // closed when Entry and Err are set
	Entry   *Entry[V]
	Err     error
}

// NewCall returns a call that no cache knows.
func NewCall[V any](began Instant, known bool) *Call[V] {
	return &Call[V]{Began: began, Known: known, Done: make(chan struct{})}
}

// An Instant is a moment on two clocks: the monotonic one, which nobody sets but
// which may stand still while the machine sleeps, and the wall clock. Both are
// in nanoseconds; their zeros differ.
type Instant struct{ mono, wall int64 }

// Age returns how long before now i was, by the clock that says longer.
func (i Instant) Age(now Instant) time.Duration {
	return time.Duration(max(now.mono-i.mono, now.wall-i.wall))
}

const (
	maxShards   = 256
	shardSize   = 256 // below which a shard is not worth having
	firstBucket = 8
)

// New returns a cache of at most limit entries, that believes a feed for at most maxAge.
// Instants count from now.
func New[V any](maxStaleness, maxAge time.Duration, limit int, now time.Time) *Cache[V] {
	n := 1
	for n < maxShards && n*shardSize < limit {
		n *= 2
	}
	c := &Cache[V]{
		MaxStaleness: maxStaleness, halfAge: maxAge / 2, limit: int64(limit), base: now, seed: maphash.MakeSeed(),
		shards: make([]shard[V], n), shift: uint(64 - bits.Len(uint(n-1))),
	}
	for i := range c.shards {
		c.shards[i].clear()
		c.shards[i].calls = make(map[[grammar.IDLen]byte]*Call[V])
	}
	return c
}

// Instant returns a reading of time.Now on both clocks.
func (c *Cache[V]) Instant(t time.Time) Instant { return Instant{int64(t.Sub(c.base)), t.UnixNano()} }

// Key returns the key of an ID, which has grammar.IDLen bytes.
func (c *Cache[V]) Key(id string) Key {
	k := Key{hash: maphash.String(c.seed, id)}
	copy(k.id[:], id)
	return k
}

func (c *Cache[V]) keyOf(e *Entry[V]) Key { return c.Key(string(e.id[:])) }

func (c *Cache[V]) shard(hash uint64) *shard[V] { return &c.shards[hash>>c.shift] }

// Get returns the entry of a key, nil if there is none, and whether it is fresh.
func (c *Cache[V]) Get(k Key, now Instant) (e *Entry[V], fresh bool) {
	s := c.shard(k.hash)
	// The feed's moment first. An entry that is found after that was not taken
	// out by what the feed reported before it, so that the moment holds for it.
	current := c.current.Load()
	e = s.find(k)
	if e == nil {
		c.misses.Add(1)
		return nil, false
	}
	// Of an entry from before a reset only its secrets are of use: who shows one is known.
	if age := e.Read.Age(now); e.era != uint16(s.era.Load()) || age > c.MaxStaleness && (current == nil || current.Age(now) > c.MaxStaleness || c.overdue(k.hash, e, age)) {
		c.expired.Add(1)
		return e, false
	}
	if !e.hot.Load() {
		e.hot.Store(true)
	}
	return e, true
}

// overdue reports whether an entry is too old to be believed although the feed has
// reported nothing: a Watcher, or what it reads, may be wrong. The limit lies between
// half and the whole of Config.MaxCacheAge. It follows from the hash and the moment of
// the read, so that tokens that were read together are not read again together, on
// this node or, as each hashes with a seed of its own, on others.
func (c *Cache[V]) overdue(hash uint64, e *Entry[V], age time.Duration) bool {
	if age <= c.halfAge {
		return false
	}
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ over the golden ratio: moves low bits up
	more, _ := bits.Mul64((hash^uint64(e.Read.mono))*golden, uint64(c.halfAge))
	return age > c.halfAge+time.Duration(more)
}

// find looks an entry up, without the lock.
func (s *shard[V]) find(k Key) *Entry[V] {
	e := s.bucket(k.hash).Load()
	for e != nil && e.id != k.id {
		e = e.next.Load()
	}
	return e
}

// bucket returns where the list of a hash begins.
func (s *shard[V]) bucket(hash uint64) *atomic.Pointer[Entry[V]] {
	table := *s.table.Load()
	return &table[int(hash)&(len(table)-1)]
}

// Join returns a call of the store for a token: one that runs, if it is not
// too old to answer, or a new one, which the caller has to have made and finished.
func (c *Cache[V]) Join(k Key, known bool, now Instant, oldest time.Duration) (f *Call[V], mine bool) {
	s := c.shard(k.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.calls[k.id]; f != nil && f.Began.Age(now) <= min(oldest, c.MaxStaleness) && (f.Known || !known || f.Entered.Load()) {
		return f, false
	}
	f = NewCall[V](now, known)
	s.calls[k.id] = f
	return f, true
}

// Finish ends a call with what the store answered: an entry or an error; gone says that
// the store does not have it any more. The answer is kept if nothing has said meanwhile
// that it changed.
func (c *Cache[V]) Finish(k Key, f *Call[V], e *Entry[V], err error, gone bool) {
	f.Entry, f.Err = e, err
	defer close(f.Done)
	if c == nil {
		return
	}
	s := c.shard(k.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[k.id] != f {
		return
	}
	delete(s.calls, k.id)
	switch {
	case err == nil:
		c.put(s, k, e)
	case gone:
		c.drop(s, k)
	}
}

// Invalidate says that what IDs stand for changed, or may have. When it has returned, no
// request that begins is answered by what was read before.
func (c *Cache[V]) Invalidate(ids ...string) {
	if c == nil {
		return
	}
	for _, id := range ids {
		c.invalidate(id)
	}
}

func (c *Cache[V]) invalidate(id string) {
	k := c.Key(id)
	s := c.shard(k.hash)
	s.mu.Lock()
	delete(s.calls, k.id)
	c.drop(s, k)
	s.mu.Unlock()
	c.invalidations.Add(1)
}

// Reset says that anything may have changed. Entries stay, but are not fresh any more.
func (c *Cache[V]) Reset() {
	c.current.Store(nil)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		if uint16(s.era.Add(1)) == 0 { // entries of long ago must not seem new
			c.size.Add(int64(-s.n))
			s.clear()
		}
		clear(s.calls)
		s.mu.Unlock()
	}
	c.resets.Add(1)
}

// clear empties the table of a shard.
func (s *shard[V]) clear() {
	s.table.Store(new(make([]atomic.Pointer[Entry[V]], firstBucket)))
	s.n, s.hand = 0, 0
}

// put adds an entry to a locked shard, in place of the one with its ID.
func (c *Cache[V]) put(s *shard[V], k Key, e *Entry[V]) {
	e.era = uint16(s.era.Load())
	table := *s.table.Load()
	link := &table[int(k.hash)&(len(table)-1)]
	first := link
	for old := link.Load(); old != nil; old = link.Load() {
		if old.id == e.id {
			e.hot.Store(old.hot.Load())
			e.Mark.Store(old.Mark.Load())
			e.next.Store(old.next.Load())
			link.Store(e)
			return
		}
		link = &old.next
	}
	e.next.Store(first.Load())
	first.Store(e)
	s.n++
	if s.n > len(table)/2 { // most buckets have one entry or none: following a list costs a cache miss
		c.grow(s)
	}
	if c.size.Add(1) > c.limit {
		c.evict(s, e)
	}
}

// grow doubles the table of a locked shard.
func (c *Cache[V]) grow(s *shard[V]) {
	old := *s.table.Load()
	table := make([]atomic.Pointer[Entry[V]], 2*len(old))
	for i := range old {
		for e := old[i].Load(); e != nil; {
			next := e.next.Load()
			link := &table[int(c.keyOf(e).hash)&(len(table)-1)]
			e.next.Store(link.Load())
			link.Store(e)
			e = next
		}
	}
	s.table.Store(&table)
	s.hand = 0
}

// drop takes an entry out of a locked shard.
func (c *Cache[V]) drop(s *shard[V], k Key) {
	table := *s.table.Load()
	link := &table[int(k.hash)&(len(table)-1)]
	for e := link.Load(); e != nil; e = link.Load() {
		if e.id == k.id {
			link.Store(e.next.Load())
			s.n--
			c.size.Add(-1)
			return
		}
		link = &e.next
	}
}

// evict takes one entry out of a locked shard: the next that was not used since
// evictions last came by, other than the one that came in; that one, if there is
// no other.
func (c *Cache[V]) evict(s *shard[V], in *Entry[V]) {
	table := *s.table.Load()
	victim := in
search:
	for range 2*len(table) + 1 {
		for e := table[s.hand].Load(); e != nil; e = e.next.Load() {
			if e != in && !e.hot.CompareAndSwap(true, false) {
				victim = e
				break search
			}
		}
		s.hand = (s.hand + 1) & (len(table) - 1)
	}
	c.drop(s, c.keyOf(victim))
	c.evictions.Add(1)
}

// CaughtUp says that the feed has reported all that changed before a moment.
func (c *Cache[V]) CaughtUp(at Instant) {
	if before := c.current.Load(); before == nil || at.mono > before.mono {
		c.current.Store(&at)
	}
}

// Stats returns what the cache has counted.
func (c *Cache[V]) Stats(now Instant) Stats {
	s := Stats{
		Entries: c.size.Load(), Misses: c.misses.Load(), Expired: c.expired.Load(), Evictions: c.evictions.Load(),
		Invalidations: c.invalidations.Load(), Resets: c.resets.Load(),
	}
	if current := c.current.Load(); current != nil {
		s.Feed, s.FeedAge = true, current.Age(now)
	}
	return s
}
