package apitoken

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A recorder writes when tokens were last used, off the request path. It keeps
// the newest use of each secret and transport until a token is due, which is
// soon after its first use and then at most once a minute. When the store is
// slow or fails, uses wait; when too many wait, further ones are dropped and
// counted. Requests never wait for it.
type recorder struct {
	touch   func(context.Context, []Use) error
	now     func() time.Time
	timeout time.Duration

	mu        sync.Mutex
	pending   map[useKey]Use
	written   map[string]time.Time // token ID to when it was last written
	scheduled bool                 // a flush will run
	flushing  bool                 // a flush is running
	idle      sync.Cond            // signalled when flushing ends
	closed    bool

	dropped atomic.Uint64
}

type useKey struct {
	id        string
	digest    [32]byte
	transport Transport
}

const (
	useEvery = time.Minute // between writes for one token
	useDelay = time.Second // from a use to its flush
	maxUsed  = 1 << 16     // uses that wait
)

func newRecorder(touch func(context.Context, []Use) error, now func() time.Time, timeout time.Duration) *recorder {
	r := &recorder{
		touch: touch, now: now, timeout: timeout,
		pending: make(map[useKey]Use), written: make(map[string]time.Time),
	}
	r.idle.L = &r.mu
	return r
}

// record notes a use.
func (r *recorder) record(u Use) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(u)
	r.schedule(useDelay)
}

func (r *recorder) add(u Use) {
	k := useKey{u.ID, [32]byte(u.Digest), u.Transport}
	old, known := r.pending[k]
	switch {
	case r.closed, !known && len(r.pending) >= maxUsed:
		r.dropped.Add(1)
	case !known || u.At.After(old.At):
		r.pending[k] = u
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
	for id, at := range r.written {
		if now.Sub(at) >= useEvery || now.Before(at) {
			delete(r.written, id)
		}
	}
	var batch []Use
	for k, u := range r.pending {
		if _, recently := r.written[u.ID]; all || !recently {
			batch = append(batch, u)
			delete(r.pending, k)
		}
	}
	if len(batch) > 0 {
		r.flushing = true
		r.mu.Unlock()
		err := r.write(batch)
		r.mu.Lock()
		r.flushing = false
		r.idle.Broadcast()
		for _, u := range batch {
			if err != nil {
				r.add(u)
			} else {
				r.written[u.ID] = now
			}
		}
	}
	r.schedule(useDelay)
}

func (r *recorder) write(batch []Use) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	defer recovered("the store", &err)
	return r.touch(ctx, batch)
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
