package limit

import (
	"hash/maphash"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// A Limiter knows how much of its limit each key has used, by the generic cell rate
// algorithm: every request moves the moment at which all is used up by the time that it
// takes at the limit's rate, and is refused where that moment would be further ahead of the
// clock than the burst takes. So a key is two moments and not a list of requests, and in
// every window of length t there are at most burst + t·rate requests.
//
// Memory is bounded by the keys whose limit has not come back entirely: what a new key
// would have is forgotten.
type Limiter struct {
	now func() time.Duration // since some moment, by the monotonic clock

	counter Counter // that of all nodes, see exchange.go; nil without one
	calls   *bulkhead.Bulkhead

	seed   maphash.Seed
	shards [shards]shard

	exchanging chan struct{} // full while an exchange runs: a mutex would stop the clock of testing/synctest
	scheduled  atomic.Bool
	closed     atomic.Bool
}

// New returns a Limiter, for which a call of the counter takes as long as timeout at most.
func New(now func() time.Duration, counter Counter, timeout time.Duration) *Limiter {
	return &Limiter{
		now: now, counter: counter, calls: bulkhead.New("the store", timeout, 0),
		seed: maphash.MakeSeed(), exchanging: make(chan struct{}, 1),
	}
}

// shards is how many locks there are: with 256, one that forgets what is idle among a million
// keys is held for less than a millisecond.
const shards = 256

// A Key is what a limit is of: a token by its ID, or an owner in an environment.
type Key struct{ Environment, Owner, ID string }

type shard struct {
	mu      sync.Mutex
	buckets map[uint64]*bucket // by the hash of their keys, the next number if that is taken
	pending []*bucket          // those with something unsent
	sweep   time.Duration
}

// A bucket holds moments at which a limit has come back entirely, by Limiter.now.
type bucket struct {
	key Key

	own   time.Duration // by what this node has admitted
	joint time.Duration // by what all nodes have, as far as this one knows

	unsent  time.Duration // what this node has admitted and not exchanged
	sending time.Duration // what it is exchanging
	noted   bool          // in shard.pending
}

// idle reports whether a bucket says no more than a new one would.
func (b *bucket) idle(now time.Duration) bool {
	return b.own <= now && b.joint <= now && b.unsent == 0 && b.sending == 0
}

// A Demand is a limit that a request has to pass. The zero Limit is none.
type Demand struct {
	Key   Key
	Limit Limit
}

// Demands are those of a request: of its token, and of the owner.
type Demands [2]Demand

// A Standing is what is left of a limit after a request.
type Standing struct {
	limit     rate          // zero: there is none
	remaining int64         // requests that would be admitted at once
	full      time.Duration // until all has come back
	wait      time.Duration // until a request would be admitted; 0: this one was
}

// Standings are those of the Demands of a request.
type Standings [2]Standing

// Admit admits a request at a moment if all its demands allow that, and takes it from
// them. Otherwise it takes nothing from any.
func (l *Limiter) Admit(now time.Duration, demands *Demands, standings *Standings) bool {
	var of [2]*shard
	var hash [2]uint64
	for i := range demands {
		if d := &demands[i]; d.Limit != (Limit{}) {
			hash[i] = l.hash(&d.Key)
			of[i] = &l.shards[hash[i]%shards]
		}
	}
	first, second := of[0], of[1]
	if second != nil && hash[0]%shards > hash[1]%shards { // in one order, or two requests would wait for each other
		first, second = second, first
	}
	if first == second {
		second = nil
	}
	first.lock(now)
	second.lock(now)
	var buckets [2]*bucket
	admitted := true
	for i := range demands {
		if of[i] != nil {
			buckets[i] = of[i].bucket(&demands[i].Key, hash[i])
			standings[i] = buckets[i].standing(now, demands[i].Limit.rate())
			admitted = admitted && standings[i].wait == 0
		}
	}
	for i, b := range buckets {
		if b != nil && admitted {
			every := standings[i].limit.every
			standings[i].remaining--
			standings[i].full += every
			l.take(of[i], b, now, every)
		}
	}
	first.unlock()
	second.unlock()
	return admitted
}

// lock locks a shard and forgets what is idle in it, once a minute; nil is none. The map is
// made anew, as maps do not shrink.
func (s *shard) lock(now time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	if now < s.sweep && s.buckets != nil {
		return
	}
	s.sweep = now + sweepEvery
	busy := make(map[uint64]*bucket)
	for h, b := range s.buckets {
		if !b.idle(now) {
			busy[h] = b
		}
	}
	s.buckets = busy
}

func (s *shard) unlock() {
	if s != nil {
		s.mu.Unlock()
	}
}

// take takes a request from a bucket.
func (l *Limiter) take(s *shard, b *bucket, now, every time.Duration) {
	b.own = max(b.own, now) + every
	if l.counter == nil {
		return
	}
	b.joint = max(b.joint, now) + every
	b.unsent += every
	l.note(s, b)
}

// note notes that there is something unsent.
func (l *Limiter) note(s *shard, b *bucket) {
	if !b.noted {
		b.noted = true
		s.pending = append(s.pending, b)
	}
	l.schedule()
}

// standing returns what is left at a moment.
func (b *bucket) standing(now time.Duration, r rate) Standing {
	ahead := max(b.own, b.joint, now) - now
	room := time.Duration(r.burst)*r.every - ahead
	return Standing{limit: r, remaining: max(0, int64(room/r.every)), full: ahead, wait: max(0, r.every-room)}
}

// hash returns the hash of a key. A map by keys would hash three texts, and take twice as long.
func (l *Limiter) hash(k *Key) uint64 {
	if k.ID != "" {
		return maphash.String(l.seed, k.ID)
	}
	return maphash.String(l.seed, k.Owner) ^ bits.RotateLeft64(maphash.String(l.seed, k.Environment), 1)
}

func (s *shard) bucket(k *Key, hash uint64) *bucket {
	for ; ; hash++ {
		b := s.buckets[hash]
		if b == nil {
			b = &bucket{key: *k}
			s.buckets[hash] = b
		}
		if b.key == *k {
			return b
		}
	}
}

// sweepEvery is how often what is idle is forgotten.
const sweepEvery = time.Minute

// RetryAfter returns when a request that was refused would be admitted, in whole seconds; 0
// for nil.
func (s *Standings) RetryAfter() time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(seconds(max(s[0].wait, s[1].wait))) * time.Second
}

// names are those of the policies in the fields of an answer.
var names = [...]string{`"token"`, `"owner"`}

// fields returns the values of RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10): q requests are back after w seconds without
// any; r are left, and all are back after t seconds.
func (s *Standings) fields() (policy, left string) {
	var memory [2][192]byte
	p, l := memory[0][:0], memory[1][:0]
	for i := range s {
		r := s[i].limit
		if r == (rate{}) {
			continue
		}
		if len(p) > 0 {
			p, l = append(p, ", "...), append(l, ", "...)
		}
		p, l = append(p, names[i]...), append(l, names[i]...)
		p = strconv.AppendInt(append(p, ";q="...), r.burst, 10)
		p = strconv.AppendInt(append(p, ";w="...), seconds(time.Duration(r.burst)*r.every), 10)
		l = strconv.AppendInt(append(l, ";r="...), s[i].remaining, 10)
		l = strconv.AppendInt(append(l, ";t="...), seconds(s[i].full), 10)
	}
	n := len(p)
	both := string(append(p, l...))
	return both[:n], both[n:]
}

// Announce says in the header of an answer what is left of the limits of a request; nil is none.
func (s *Standings) Announce(h http.Header) {
	if s == nil {
		return
	}
	values := new([2]string) // of this answer alone
	values[0], values[1] = s.fields()
	for i, name := range [...]string{"Ratelimit-Policy", "Ratelimit"} {
		value := values[i : i+1 : i+1]
		if others := h[name]; len(others) > 0 {
			value = append(slices.Clip(others), value...)
		}
		h[name] = value
	}
}

// seconds returns a time in seconds, rounded up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
