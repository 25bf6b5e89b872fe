package limit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// Nodes exchange what they admit through a counter, which has for each key how far ahead
// of the clock all of them are together: nodes add what they have admitted since they did
// so last, in batches, and are answered with the sum, of which the counter takes away the
// time that passes. So only lengths of time are exchanged, and no node's clock matters.
//
// A request goes by the sum as it was last heard of, and by what this node alone has
// admitted, whichever is more. The former bounds all nodes together, the latter one that
// cannot exchange: it is neither without a limit, nor refuses everything. Let all that a
// node admits be in the sum after d. Of all nodes look at the one that has heard of the
// sum last. What is in it of a window of length t, and what this node has added since, is
// at most burst + rate·t. What others have admitted and the sum does not have is of the
// last d, and each of them had at most burst + rate·d. So N nodes admit at most
// burst + rate·t + (N−1)·(burst + rate·d), also where some of them come, go and die.
//
// What reaches the sum later than it was admitted makes that greater than it is, by the
// delay at most. A node takes the allowance off, so that the limit of one that is alone is
// exact.
const (
	Interval  = time.Second           // d
	pause     = Interval / 4          // from an admission to its exchange
	takes     = Interval / 8          // what an exchange may take
	allowance = pause + takes + takes // what an admission is late by, and how much that varies

	maxBatch = 500 // keys in one call
)

// A Counter has the sums of all nodes, as apitoken.Counter says.
type Counter interface {
	Count(ctx context.Context, add map[string]time.Duration) (sums map[string]time.Duration, err error)
}

// text returns the key of a bucket as the counter has it: an ID, or a hash, as a store may not
// take every name of an owner, and what a request takes, as sums of two rates have nothing in common.
func (b *bucket) text() string {
	text := b.key.ID
	if text == "" {
		sum := sha256.Sum256([]byte(b.key.Environment + "\x00" + b.key.Owner))
		text = hex.EncodeToString(sum[:16])
	}
	return text + strconv.FormatInt(int64(b.every), 36)
}

// schedule has an exchange run soon.
func (l *Limiter) schedule() {
	if !l.scheduled.Load() && !l.closed.Load() && l.scheduled.CompareAndSwap(false, true) {
		time.AfterFunc(pause, func() {
			if !l.closed.Load() {
				l.exchange()
			}
		})
	}
}

// Close exchanges what was admitted for a last time.
func (l *Limiter) Close() {
	if l.closed.CompareAndSwap(false, true) && l.counter != nil {
		l.exchange()
	}
}

// exchange exchanges what is pending. What could not be exchanged stays pending.
func (l *Limiter) exchange() {
	l.exchanging <- struct{}{}
	defer func() { <-l.exchanging }()
	l.scheduled.Store(false)
	var err error
	for buckets := range slices.Chunk(l.pending(), maxBatch) {
		batch := make(map[string]time.Duration, len(buckets))
		keys := make([]string, len(buckets))
		var sums map[string]time.Duration
		sent := l.now()
		if err == nil {
			for i, b := range buckets {
				key, add := l.send(b, sent)
				keys[i], batch[key] = key, add
			}
			sums, err = bulkhead.Call(context.Background(), l.calls, "", func(ctx context.Context) (map[string]time.Duration, error) {
				return l.counter.Count(ctx, maps.Clone(batch)) // it may keep that
			})
			if err == nil && len(sums) != len(batch) {
				err = errors.New("the store did not answer for every limit")
			}
			l.report(err)
		}
		for i, b := range buckets {
			if sum, ok := sums[keys[i]]; ok && err == nil {
				l.heard(b, sent, sum)
			} else {
				l.unheard(b)
			}
		}
	}
}

// report tells why the counter could not be asked, once until it can be again. An error after Close
// is of a store that was closed as well.
func (l *Limiter) report(err error) {
	if err != nil && !l.lost && !l.closed.Load() {
		l.Lost(context.Background(), err)
	}
	l.lost = err != nil
}

// pending returns the buckets with something unsent.
func (l *Limiter) pending() (all []*bucket) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, b := range s.pending {
			b.noted = false
		}
		all = append(all, s.pending...)
		s.pending = nil
		s.mu.Unlock()
	}
	return all
}

// send returns what to add to which sum: what was admitted since the last time,
// but no more than what can be of the time in which an exchange should be made.
func (l *Limiter) send(b *bucket, now time.Duration) (key string, add time.Duration) {
	defer l.shard(b).enter().Unlock()
	b.sending, b.unsent = min(b.unsent, max(0, b.own-now)+pause+takes), 0
	return b.text(), b.sending
}

// heard takes what the counter has answered, unless the bucket has another rate since.
func (l *Limiter) heard(b *bucket, sent, sum time.Duration) {
	defer l.shard(b).enter().Unlock()
	if b.sending == 0 {
		return
	}
	sum = min(max(sum, allowance), 2*maxWindow) // more can only be a mistake of the store, and would overflow
	b.joint = sent + sum - allowance + b.unsent
	b.sending = 0
}

// unheard has what could not be exchanged exchanged later, unless it is too old to matter.
func (l *Limiter) unheard(b *bucket) {
	s := l.shard(b)
	defer s.enter().Unlock()
	if b.unsent += b.sending; b.own+allowance < l.now() {
		b.unsent = 0
	} else {
		l.note(s, b)
	}
	b.sending = 0
}

func (l *Limiter) shard(b *bucket) *shard { return &l.shards[l.hash(&b.key)%shards] }

func (s *shard) enter() *sync.Mutex {
	s.mu.Lock()
	return &s.mu
}
