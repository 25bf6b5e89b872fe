package apitoken

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A recorder writes when tokens were last used, off the request path. It keeps
// the newest use of each secret and transport until a token is due, which is
// soon after its first use and then at most once a minute. When the store is
// slow or fails, uses wait; when too many wait, further ones are dropped and
// counted. Requests never wait for the store.
type recorder struct {
	touch   func(context.Context, []Use) error
	now     func() time.Time
	timeout time.Duration

	mu        sync.Mutex
	pending   map[useKey]useSeen
	ready     []useKey             // those of pending that the next flush writes
	resting   map[string]*[]useKey // token ID to those of pending that wait: it was written a moment ago
	written   []useWritten         // when that was, in this order
	scheduled bool                 // a flush will run
	flushing  bool                 // a flush is running
	idle      sync.Cond            // signalled when flushing ends
	closed    bool

	dropped atomic.Uint64
}

// A useKey says what was used. (The entry of a token does not, as there may be a
// new one with each request.)
type useKey struct {
	digest [32]byte // of the secret
	via    Transport
}

type useSeen struct {
	id   string // of the token
	at   time.Time
	addr netip.Addr
}

type useWritten struct {
	id string // of the token
	at time.Time
}

func (k useKey) use(seen useSeen) Use {
	return Use{ID: seen.id, Digest: slices.Clone(k.digest[:]), Transport: k.via, At: micro(seen.at), Address: seen.addr}
}

const (
	useEvery = time.Minute // between writes for one token
	useDelay = time.Second // from a use to its flush
	maxUsed  = 1 << 17     // uses that wait
	maxWrite = 1000        // uses in one call of the store, for which changes of tokens may have to wait
)

func newRecorder(touch func(context.Context, []Use) error, now func() time.Time, timeout time.Duration) *recorder {
	r := &recorder{
		touch: touch, now: now, timeout: timeout,
		pending: make(map[useKey]useSeen), resting: make(map[string]*[]useKey),
	}
	r.idle.L = &r.mu
	return r
}

// record notes a use.
func (r *recorder) record(k useKey, seen useSeen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(k, seen)
	r.schedule(useDelay)
}

func (r *recorder) add(k useKey, seen useSeen) {
	old, known := r.pending[k]
	switch {
	case r.closed, !known && len(r.pending) >= maxUsed:
		r.dropped.Add(1)
	case !known:
		r.pending[k] = seen
		if waiting := r.resting[seen.id]; waiting != nil {
			*waiting = append(*waiting, k)
		} else {
			r.ready = append(r.ready, k)
		}
	case seen.at.After(old.at):
		r.pending[k] = seen
	}
}

func (r *recorder) schedule(delay time.Duration) {
	if !r.scheduled && !r.flushing && !r.closed && len(r.pending) > 0 {
		r.scheduled = true
		time.AfterFunc(delay, func() { r.flush(false) })
	}
}

// flush writes what is due; all of it if that is said.
func (r *recorder) flush(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scheduled = false
	for r.flushing {
		if !all {
			return
		}
		r.idle.Wait()
	}
	now := r.now()
	r.wake(now)
	due, sent := r.ready, 0
	if all {
		due = slices.Collect(maps.Keys(r.pending))
	}
	r.ready, r.flushing = nil, true
	defer func() { // also if the store ends the goroutine
		r.ready = append(due[sent:], r.ready...)
		r.flushing = false
		r.idle.Broadcast()
		r.schedule(useDelay)
	}()
	for keys := range slices.Chunk(due, maxWrite) {
		if !r.write(keys, now) {
			break
		}
		sent += len(keys)
	}
}

// wake makes ready what waits of tokens that may be written again. It looks at
// these tokens only: there may be a hundred thousand others.
func (r *recorder) wake(now time.Time) {
	for len(r.written) > 0 {
		w := r.written[0]
		if now.Sub(w.at) < useEvery && !now.Before(w.at) {
			break
		}
		r.ready = append(r.ready, *r.resting[w.id]...)
		delete(r.resting, w.id)
		r.written = r.written[1:]
	}
}

// write writes some of the uses that wait, and reports whether to go on. They
// wait on if the store fails.
func (r *recorder) write(keys []useKey, now time.Time) bool {
	if r.closed {
		return false
	}
	uses := make([]Use, 0, len(keys))
	sent := make([]useSeen, 0, len(keys))
	for _, k := range keys {
		seen := r.pending[k]
		uses, sent = append(uses, k.use(seen)), append(sent, seen)
	}
	if err := r.call(uses); err != nil {
		return false
	}
	for i, k := range keys {
		id := sent[i].id
		waiting := r.resting[id]
		if waiting == nil {
			waiting = new([]useKey)
			r.resting[id] = waiting
			r.written = append(r.written, useWritten{id, now})
		}
		if r.pending[k] == sent[i] {
			delete(r.pending, k)
		} else { // there is a newer one
			*waiting = append(*waiting, k)
		}
	}
	return true
}

// call calls the store, without the mutex.
func (r *recorder) call(uses []Use) (err error) {
	r.mu.Unlock()
	defer r.mu.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	defer recovered("the store", &err)
	return r.touch(ctx, uses)
}

// close writes what waits, for at most the timeout, and ends recording.
func (r *recorder) close() error {
	g := newGate("the store", r.timeout, 0)
	_, err := through(context.Background(), g, func(context.Context) (struct{}, error) {
		r.flush(true)
		return struct{}{}, nil
	})
	// If the store hangs in a flush, that holds flushing, not the mutex.
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.dropped.Add(uint64(len(r.pending)))
	clear(r.pending)
	return err
}
