package apitoken

import (
	"errors"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A cache holds entries in memory, each for as long as it is certain to be
// fresh. It holds records, never decisions, and nothing about unknown tokens.
//
// An entry holds every change that was acknowledged before its store call
// began; and, while a feed reports changes, every one that was acknowledged
// before the moment up to which the feed is current, since the feed takes out
// what changed. The later of the two is as of when the entry is good; it is used
// for maxStaleness after that, and then read anew. No clocks are compared between
// machines, and where the feed breaks nothing has to be noticed: its moment stays
// where it is.
//
// Requests read it without locks and, as a rule, without writing memory that
// they share. Changes are rarer and take the lock of a shard.
type cache struct {
	maxStaleness time.Duration
	halfAge      time.Duration // of Config.MaxCacheAge
	limit        int64         // entries
	base         time.Time
	seed         maphash.Seed
	shards       []shard
	shift        uint // of a hash, for its shard

	current atomic.Pointer[instant] // what the feed said last; nil without one

	_ [64]byte // what requests read is on lines that misses do not write

	size, misses, expired, evictions, invalidations, resets atomic.Int64
}

// A shard holds the entries of some hashes in a table of linked lists. Lists are
// followed without the lock. One that is being changed may seem to lack an entry,
// which costs a second look, but never shows one that was taken out before the
// look began.
type shard struct {
	table atomic.Pointer[[]atomic.Pointer[entry]] // a power of two of them

	mu    sync.Mutex
	n     int              // entries
	hand  int              // the bucket where the next eviction begins
	calls map[string]*call // of the store, running, that requests may join
	_     [64]byte         // a line of its own
}

// A call of the store may answer many requests. Once it was taken out of
// shard.calls, because the token changed, it answers only those that had joined
// it, and what it read is not kept.
type call struct {
	began   instant
	known   bool          // it is for one who has shown the right secret
	entered atomic.Bool   // it waits for the store, not for a slot
	done    chan struct{} // closed when e and err are set
	e       *entry
	err     error
}

func newCall(began instant, known bool) *call {
	return &call{began: began, known: known, done: make(chan struct{})}
}

// An instant is a moment on two clocks: the monotonic one, which nobody sets but
// which may stand still while the machine sleeps, and the wall clock. Both are
// in nanoseconds; their zeros differ.
type instant struct{ mono, wall int64 }

// age returns how long before now i was, by the clock that says longer.
func (i instant) age(now instant) time.Duration {
	return time.Duration(max(now.mono-i.mono, now.wall-i.wall))
}

const (
	maxShards   = 256
	shardSize   = 256 // below which a shard is not worth having
	firstBucket = 8
)

func newCache(maxStaleness, maxAge time.Duration, limit int, now time.Time) *cache {
	n := 1
	for n < maxShards && n*shardSize < limit {
		n *= 2
	}
	c := &cache{
		maxStaleness: maxStaleness, halfAge: maxAge / 2, limit: int64(limit), base: now, seed: maphash.MakeSeed(),
		shards: make([]shard, n), shift: uint(64 - bits.Len(uint(n-1))),
	}
	for i := range c.shards {
		c.shards[i].clear()
	}
	return c
}

func (c *cache) instant(t time.Time) instant { return instant{int64(t.Sub(c.base)), t.UnixNano()} }

func (c *cache) hash(id string) uint64 { return maphash.String(c.seed, id) }

func (c *cache) shard(hash uint64) *shard { return &c.shards[hash>>c.shift] }

// get returns the entry of a token, nil if there is none, and whether it is fresh.
func (c *cache) get(hash uint64, id string, now instant) (e *entry, fresh bool) {
	// The feed's moment first. An entry that is found after that was not taken
	// out by what the feed reported before it, so that the moment holds for it.
	current := c.current.Load()
	e = c.shard(hash).find(hash, id)
	if e == nil {
		c.misses.Add(1)
		return nil, false
	}
	if age := e.read.age(now); age > c.maxStaleness && (current == nil || current.age(now) > c.maxStaleness || c.overdue(hash, e, age)) {
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
func (c *cache) overdue(hash uint64, e *entry, age time.Duration) bool {
	if age <= c.halfAge {
		return false
	}
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ over the golden ratio: moves low bits up
	more, _ := bits.Mul64((hash^uint64(e.read.mono))*golden, uint64(c.halfAge))
	return age > c.halfAge+time.Duration(more)
}

// find looks an entry up, without the lock.
func (s *shard) find(hash uint64, id string) *entry {
	e := s.bucket(hash).Load()
	for e != nil && e.id() != id {
		e = e.next.Load()
	}
	return e
}

// bucket returns where the list of a hash begins.
func (s *shard) bucket(hash uint64) *atomic.Pointer[entry] {
	table := *s.table.Load()
	return &table[int(hash)&(len(table)-1)]
}

// join returns a call of the store for a token: one that runs, if it is not
// too old to answer, or a new one, which the caller has to have made and finished.
func (c *cache) join(hash uint64, id string, known bool, now instant, oldest time.Duration) (f *call, mine bool) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.calls[id]; f != nil && f.began.age(now) <= min(oldest, c.maxStaleness) && (f.known || !known || f.entered.Load()) {
		return f, false
	}
	f = newCall(now, known)
	s.calls[id] = f
	return f, true
}

// finish ends a call with what the store answered. It is kept if nothing has
// said meanwhile that the token changed.
func (c *cache) finish(hash uint64, id string, f *call, e *entry, err error) {
	f.e, f.err = e, err
	defer close(f.done)
	if c == nil {
		return
	}
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[id] != f {
		return
	}
	delete(s.calls, id)
	switch {
	case err == nil:
		c.put(s, hash, e)
	case errors.Is(err, ErrNotFound):
		c.drop(s, hash, id)
	}
}

// invalidate says that a token changed, or may have. When it has returned, no
// request that begins is answered by what was read before.
func (c *cache) invalidate(id string) {
	if c == nil {
		return
	}
	hash := c.hash(id)
	s := c.shard(hash)
	s.mu.Lock()
	delete(s.calls, id)
	c.drop(s, hash, id)
	s.mu.Unlock()
	c.invalidations.Add(1)
}

// reset says that any token may have changed.
func (c *cache) reset() {
	c.current.Store(nil)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		c.size.Add(int64(-s.n))
		s.clear()
		s.mu.Unlock()
	}
	c.resets.Add(1)
}

func (s *shard) clear() {
	s.table.Store(new(make([]atomic.Pointer[entry], firstBucket)))
	s.n, s.hand, s.calls = 0, 0, make(map[string]*call)
}

// put adds an entry to a locked shard, in place of the one with its ID.
func (c *cache) put(s *shard, hash uint64, e *entry) {
	table := *s.table.Load()
	link := &table[int(hash)&(len(table)-1)]
	first := link
	for old := link.Load(); old != nil; old = link.Load() {
		if old.id() == e.id() {
			e.hot.Store(old.hot.Load())
			e.noted.Store(old.noted.Load())
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
func (c *cache) grow(s *shard) {
	old := *s.table.Load()
	table := make([]atomic.Pointer[entry], 2*len(old))
	for i := range old {
		for e := old[i].Load(); e != nil; {
			next := e.next.Load()
			link := &table[int(c.hash(e.id()))&(len(table)-1)]
			e.next.Store(link.Load())
			link.Store(e)
			e = next
		}
	}
	s.table.Store(&table)
	s.hand = 0
}

// drop takes an entry out of a locked shard.
func (c *cache) drop(s *shard, hash uint64, id string) {
	table := *s.table.Load()
	link := &table[int(hash)&(len(table)-1)]
	for e := link.Load(); e != nil; e = link.Load() {
		if e.id() == id {
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
func (c *cache) evict(s *shard, in *entry) {
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
	c.drop(s, c.hash(victim.id()), victim.id())
	c.evictions.Add(1)
}
