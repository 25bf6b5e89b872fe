// Package cache keeps what was read from a store in memory, for as long as it is certain
// to be fresh.
package cache

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

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
type Cache[V, P any] struct {
	// MaxStaleness is how old an entry may be. It does not change.
	MaxStaleness time.Duration

	halfAge time.Duration // of the age until which the feed is believed
	limit   int64         // entries
	base    time.Time
	seed    maphash.Seed
	shards  []shard[V, P]
	shift   uint // of a hash, for its shard

	current atomic.Pointer[Instant] // what the feed said last; nil without one

	_ [64]byte // what requests read is on lines that misses do not write

	size, misses, expired, evictions, invalidations, resets atomic.Int64
}

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

// A shard holds the entries of some hashes.
type shard[V, P any] struct {
	area atomic.Pointer[area[V, P]]
	era  atomic.Uint32 // how many resets there were

	mu    sync.Mutex
	n     int                                 // entries
	hand  int                                 // the bucket where the next eviction begins
	calls map[[grammar.IDLen]byte]*Call[V, P] // of the store, running, that requests may join
	_     [64]byte                            // a line of its own
}

// A Call of the store may answer many requests. Once it was taken out of
// shard.calls, because what it reads changed, it answers only the requests that had
// joined it, and the cache does not keep its result.
type Call[V, P any] struct {
	Began   Instant
	Known   bool          // it is for one who has shown the right secret
	Entered atomic.Bool   // it waits for the store, not for a slot
	Done    chan struct{} // closed when Entry and Err are set
	Entry   Entry[V, P]
	Err     error
}

// NewCall returns a call that no cache knows.
func NewCall[V, P any](began Instant, known bool) *Call[V, P] {
	return &Call[V, P]{Began: began, Known: known, Done: make(chan struct{})}
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
	maxShards = 256
	shardSize = 256 // below which a shard is not worth having
)

// New returns a cache of at most limit entries, that believes a feed for at most maxAge.
// Instants count from now.
func New[V, P any](maxStaleness, maxAge time.Duration, limit int, now time.Time) *Cache[V, P] {
	n := 1
	for n < maxShards && n*shardSize < limit {
		n *= 2
	}
	c := &Cache[V, P]{
		MaxStaleness: maxStaleness, halfAge: maxAge / 2, limit: int64(limit), base: now, seed: maphash.MakeSeed(),
		shards: make([]shard[V, P], n), shift: uint(64 - bits.Len(uint(n-1))),
	}
	for i := range c.shards {
		c.shards[i].clear()
		c.shards[i].calls = make(map[[grammar.IDLen]byte]*Call[V, P])
	}
	return c
}

// Instant returns a reading of time.Now on both clocks.
func (c *Cache[V, P]) Instant(t time.Time) Instant {
	return Instant{int64(t.Sub(c.base)), t.UnixNano()}
}

// Key returns the key of an ID, which has grammar.IDLen bytes.
func (c *Cache[V, P]) Key(id string) Key {
	k := Key{hash: maphash.String(c.seed, id)}
	copy(k.id[:], id)
	return k
}

func (c *Cache[V, P]) shard(hash uint64) *shard[V, P] { return &c.shards[hash>>c.shift] }

// Get returns the entry of a key, the zero Entry if there is none, and whether it is fresh.
func (c *Cache[V, P]) Get(k Key, now Instant) (e Entry[V, P], fresh bool) {
	s := c.shard(k.hash)
	// The feed's moment first. An entry that is found after that was not taken
	// out by what the feed reported before it, so that the moment holds for it.
	current := c.current.Load()
	e, _ = s.area.Load().find(&k)
	if e.IsZero() {
		c.misses.Add(1)
		return e, false
	}
	// Of an entry from before a reset only its secrets are of use: who shows one is known.
	if age := e.Read.Age(now); e.era != uint16(s.era.Load()) || age > c.MaxStaleness && (current == nil || current.Age(now) > c.MaxStaleness || c.overdue(k.hash, e.Read, age)) {
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
func (c *Cache[V, P]) overdue(hash uint64, read Instant, age time.Duration) bool {
	if age <= c.halfAge {
		return false
	}
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ over the golden ratio: moves low bits up
	more, _ := bits.Mul64((hash^uint64(read.mono))*golden, uint64(c.halfAge))
	return age > c.halfAge+time.Duration(more)
}

// Join returns a call of the store for a token: one that runs, if it is not
// too old to answer, or a new one, which the caller has to have made and finished.
func (c *Cache[V, P]) Join(k Key, known bool, now Instant, oldest time.Duration) (f *Call[V, P], mine bool) {
	s := c.shard(k.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.calls[k.id]; f != nil && f.Began.Age(now) <= min(oldest, c.MaxStaleness) && (f.Known || !known || f.Entered.Load()) {
		return f, false
	}
	f = NewCall[V, P](now, known)
	s.calls[k.id] = f
	return f, true
}

// Finish ends a call with what the store answered: an entry or an error; gone says that
// the store does not have it any more. The answer is kept if nothing has said meanwhile
// that it changed.
func (c *Cache[V, P]) Finish(k Key, f *Call[V, P], e Entry[V, P], err error, gone bool) {
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
		f.Entry = c.put(s, &k, e)
	case gone:
		c.drop(s, &k)
	}
}

// Invalidate says that what IDs stand for changed, or may have. When it has returned, no
// request that begins is answered by what was read before.
func (c *Cache[V, P]) Invalidate(ids ...string) {
	if c == nil {
		return
	}
	for _, id := range ids {
		c.invalidate(id)
	}
}

func (c *Cache[V, P]) invalidate(id string) {
	k := c.Key(id)
	s := c.shard(k.hash)
	s.mu.Lock()
	delete(s.calls, k.id)
	c.drop(s, &k)
	s.mu.Unlock()
	c.invalidations.Add(1)
}

// Reset says that anything may have changed. Entries stay, but are not fresh any more.
func (c *Cache[V, P]) Reset() {
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

// CaughtUp says that the feed has reported all that changed before a moment.
func (c *Cache[V, P]) CaughtUp(at Instant) {
	if before := c.current.Load(); before == nil || at.mono > before.mono {
		c.current.Store(&at)
	}
}

// Stats returns what the cache has counted.
func (c *Cache[V, P]) Stats(now Instant) Stats {
	s := Stats{
		Entries: c.size.Load(), Misses: c.misses.Load(), Expired: c.expired.Load(), Evictions: c.evictions.Load(),
		Invalidations: c.invalidations.Load(), Resets: c.resets.Load(),
	}
	if current := c.current.Load(); current != nil {
		s.Feed, s.FeedAge = true, current.Age(now)
	}
	return s
}
