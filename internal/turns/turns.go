// Package turns orders the changes of one token.
package turns

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A Rank orders the changes of a token.
type Rank int

// The ranks, the lowest first.
const (
	Ordinary  Rank = iota
	Narrowing      // it only takes away what the token may do
	Ending         // it deactivates the token, or an administrator narrows it
	ranks
)

// Turns run the changes of one token in this process one after the other, changes of a
// higher Rank first, so that a revocation does not lose to others again and again. After a
// change that is not Ending the token rests for a moment, so that another process gets its
// turn. Turns are a courtesy: the version in the store keeps a change from overwriting
// another. The zero Turns is ready for use.
type Turns struct {
	mu  sync.Mutex
	ids map[string]*turn
}

type turn struct {
	taken   bool
	rests   bool // and only an ending change may take it
	waiting [ranks][]chan struct{}
}

// Take waits for the turn of a change, and reports whether others had theirs meanwhile. A
// change that is not Ordinary waits no longer than patience and then goes on without its
// turn, as the change that has it may hang. If ok, the caller must call release.
func (t *Turns) Take(ctx context.Context, id string, r Rank, patience time.Duration) (release func(), waited, ok bool) {
	if r == Ordinary {
		return t.wait(ctx, id, r)
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if release, waited, ok = t.wait(short, id, r); ok || ctx.Err() != nil {
		return release, waited, ok
	}
	return func() {}, true, true
}

// wait waits for the turn of a change until ctx ends.
func (t *Turns) wait(ctx context.Context, id string, r Rank) (release func(), waited, ok bool) {
	t.mu.Lock()
	q := t.ids[id]
	if q == nil {
		if t.ids == nil {
			t.ids = make(map[string]*turn)
		}
		q = new(turn)
		t.ids[id] = q
	}
	if !q.taken && (r == Ending || !q.rests) {
		q.taken = true
		t.mu.Unlock()
		return t.releaser(id, q, r), false, true
	}
	mine := make(chan struct{})
	q.waiting[r] = append(q.waiting[r], mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return t.releaser(id, q, r), true, true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(q.waiting[r], mine); i >= 0 {
		q.waiting[r] = slices.Delete(q.waiting[r], i, i+1)
		return nil, true, false
	}
	return t.releaser(id, q, r), true, true // it was given at the same moment
}

// maxRest bounds the rest of a token. A rest is as long as the change was, because another
// process needs about as long to read the token and to write it.
const maxRest = 50 * time.Millisecond

func (t *Turns) releaser(id string, q *turn, r Rank) func() {
	began := time.Now()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		q.taken = false
		if r != Ending {
			q.rests = true
			time.AfterFunc(min(time.Since(began), maxRest), func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				q.rests = false
				if !q.taken {
					t.pass(id, q)
				}
			})
		}
		t.pass(id, q)
	}
}

// pass gives the turn to the next one.
func (t *Turns) pass(id string, q *turn) {
	for r := Ending; r >= Ordinary; r-- {
		if len(q.waiting[r]) > 0 && (r == Ending || !q.rests) {
			close(q.waiting[r][0])
			q.waiting[r] = slices.Delete(q.waiting[r], 0, 1)
			q.taken = true
			return
		}
	}
	if !q.rests {
		delete(t.ids, id)
	}
}

// BackOff waits before a conflicting change is repeated: a random time, because others do
// the same. It grows with each try, much faster for ordinary changes. BackOff reports
// whether there is time left.
func BackOff(ctx context.Context, r Rank, try int) bool {
	longest := time.Millisecond << min(try, 3)
	if r == Ordinary {
		longest = time.Millisecond << min(try, 7)
	}
	select {
	case <-time.After(rand.N(longest)):
		return true
	case <-ctx.Done():
		return false
	}
}
