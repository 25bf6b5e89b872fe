package limit

import (
	"context"
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
	said   [256]atomic.Pointer[Standings] // of the latest answers, see say

	// Lost is told why the counter could not be asked: at first, and again after it could.
	Lost func(context.Context, error)
	lost bool

	exchanging chan struct{} // full while an exchange runs: a mutex would stop the clock of testing/synctest
	scheduled  atomic.Bool
	closed     atomic.Bool
}

// New returns a Limiter, for which a call of the counter takes as long as timeout at most.
func New(now func() time.Duration, counter Counter, timeout time.Duration) *Limiter {
	return &Limiter{
		now: now, Lost: func(context.Context, error) {}, counter: counter, calls: bulkhead.New("the store", timeout, 0),
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
	key   Key
	every time.Duration // what a request takes, in all that follows

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

// A Demand is a limit that a request has to pass. The zero Rate is none.
type Demand struct {
	Key  Key
	Rate Rate
}

// Demands are those of a request: of its token, and of the owner.
type Demands [2]Demand

// A standing is what is left of a limit after a request, as the answer says it.
type standing struct {
	rate      Rate  // zero: there is none
	remaining int64 // requests that would be admitted at once
	full      int64 // seconds until all has come back
}

// Standings are what an answer says of the Demands of a request. They are never changed.
type Standings struct {
	of           [2]standing
	wait         int64 // seconds until a request would be admitted; 0: this one was
	policy, left string
}

// Admit admits a request at a moment if all its demands allow that, and takes it from
// them. Otherwise it takes nothing from any.
func (l *Limiter) Admit(now time.Duration, demands *Demands) (s *Standings, admitted bool) {
	var of [2]*shard
	var hash [2]uint64
	for i := range demands {
		if d := &demands[i]; d.Rate != (Rate{}) {
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
	var ahead, wait [2]time.Duration
	for i := range demands {
		if of[i] != nil {
			buckets[i] = of[i].bucket(&demands[i].Key, hash[i])
			if buckets[i].adapt(now, demands[i].Rate) && l.counter != nil {
				buckets[i].unsent = buckets[i].own - now // as the counter has no sum for this rate
				l.note(of[i], buckets[i])
			}
			ahead[i], wait[i] = buckets[i].ahead(now, demands[i].Rate)
		}
	}
	longest := max(wait[0], wait[1])
	for i, b := range buckets {
		if b != nil && longest == 0 {
			ahead[i] += demands[i].Rate.every
			l.take(of[i], b, now, demands[i].Rate.every)
		}
	}
	first.unlock()
	second.unlock()
	var standings [2]standing
	for i := range demands {
		if r := demands[i].Rate; r != (Rate{}) {
			standings[i] = standing{r, r.room(ahead[i]), seconds(ahead[i])}
		}
	}
	return l.say(&standings, seconds(longest)), longest == 0
}

// say returns Standings. Most answers of a service say the same as another one: tokens that are
// used seldom have all of a limit but one request. To make the texts anew takes longer than to decide.
func (l *Limiter) say(of *[2]standing, wait int64) *Standings {
	i := uint64(((of[0].remaining*31+of[0].full)*31+of[1].remaining)*31+of[1].full) % uint64(len(l.said))
	if s := l.said[i].Load(); s != nil && s.of == *of && s.wait == wait {
		return s
	}
	s := &Standings{of: *of, wait: wait}
	s.policy, s.left = s.fields()
	l.said[i].Store(s)
	return s
}

// Left returns how many requests of each demand would be admitted at once, 0 without a limit,
// and whether one would be. It takes nothing.
func (l *Limiter) Left(now time.Duration, demands *Demands) (left [2]int, admits bool) {
	admits = true
	for i := range demands {
		d := &demands[i]
		if d.Rate == (Rate{}) {
			continue
		}
		hash := l.hash(&d.Key)
		s := &l.shards[hash%shards]
		s.lock(now)
		b := s.buckets[hash]
		for b != nil && b.key != d.Key {
			hash++
			b = s.buckets[hash]
		}
		if b == nil {
			b = new(bucket)
		}
		as := *b
		as.adapt(now, d.Rate)
		ahead, wait := as.ahead(now, d.Rate)
		s.unlock()
		left[i], admits = int(d.Rate.room(ahead)), admits && wait == 0
	}
	return left, admits
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

// ahead returns how far a bucket is ahead of the clock, and how long to wait until a request
// would be admitted.
func (b *bucket) ahead(now time.Duration, r Rate) (ahead, wait time.Duration) {
	ahead = max(b.own, b.joint, now) - now
	wait = max(0, ahead-time.Duration(r.burst-1)*b.every)
	if b.every != r.every { // which adapt has left
		ahead = time.Duration(r.burst) * r.every
	}
	return ahead, wait
}

// adapt has a bucket go by another rate, under which as many requests are used up as before, and
// reports whether it had another one. So nobody who changes a limit to and fro makes more
// requests, and nobody waits for what was slow and is fast. A rate that is slower, and has not
// room for what is used up, has to wait until it has, as the times could be of centuries.
func (b *bucket) adapt(now time.Duration, r Rate) bool {
	if b.every == r.every {
		return false
	}
	if b.every == 0 {
		b.every = r.every
		return false
	}
	used := func(until time.Duration) time.Duration { return (max(until, now) - now + b.every - 1) / b.every }
	own, joint := used(b.own), used(b.joint)
	if r.every > b.every && max(own, joint) > time.Duration(r.burst) {
		return false
	}
	b.every, b.own, b.joint = r.every, now+own*r.every, now+joint*r.every
	b.unsent, b.sending = 0, 0
	return true
}

// room returns how many requests would be admitted at once.
func (r Rate) room(ahead time.Duration) int64 {
	return max(0, r.burst-int64((ahead+r.every-1)/r.every))
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
	return time.Duration(s.wait) * time.Second
}

// names are those of the policies in the fields of an answer.
var names = [...]string{`"token"`, `"owner"`}

// fields returns the values of RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10): q requests are back after w seconds without
// any; r are left, and all are back after t seconds.
func (s *Standings) fields() (policy, left string) {
	var memory [2][192]byte
	p, l := memory[0][:0], memory[1][:0]
	for i := range s.of {
		r := s.of[i].rate
		if r == (Rate{}) {
			continue
		}
		if len(p) > 0 {
			p, l = append(p, ", "...), append(l, ", "...)
		}
		p, l = append(p, names[i]...), append(l, names[i]...)
		p = strconv.AppendInt(append(p, ";q="...), r.burst, 10)
		p = strconv.AppendInt(append(p, ";w="...), seconds(time.Duration(r.burst)*r.every), 10)
		l = strconv.AppendInt(append(l, ";r="...), s.of[i].remaining, 10)
		l = strconv.AppendInt(append(l, ";t="...), s.of[i].full, 10)
	}
	n := len(p)
	both := string(append(p, l...))
	return both[:n], both[n:]
}

// Announce says in the header of an answer what is left of the limits of a request; nil is none.
// The memory for the values, which is of this answer alone, may be nil.
func (s *Standings) Announce(h http.Header, memory *[2]string) {
	if s == nil {
		return
	}
	if memory == nil {
		memory = new([2]string)
	}
	memory[0], memory[1] = s.policy, s.left
	announce(h, "Ratelimit-Policy", memory[0:1:1])
	announce(h, "Ratelimit", memory[1:2:2])
}

// announce adds a value to what others have said. Both fields are lists (RFC 9651).
func announce(h http.Header, name string, value []string) {
	if len(h) > 0 {
		if others := h[name]; len(others) > 0 {
			value = append(slices.Clip(others), value...)
		}
	}
	h[name] = value
}

// seconds returns a time in seconds, rounded up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
