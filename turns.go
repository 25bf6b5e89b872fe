package apitoken

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A rank says which of the changes of a token goes first.
type rank int

const (
	ordinary  rank = iota
	narrowing      // it only takes away what the token may do
	ending         // it deactivates the token, or an administrator narrows it
	ranks
)

// rankOf ranks a change that was prepared.
func (m *Manager) rankOf(before, after *row, fields []string) rank {
	switch {
	case after.rec.Status == StatusInactive && before.rec.Status != StatusInactive:
		return ending
	case !narrows(&before.rec, &after.rec, fields):
		return ordinary
	case !m.owns(before):
		return ending
	}
	return narrowing
}

// narrows reports whether every field that a change changes allows less than before.
func narrows(old, rec *Record, fields []string) bool {
	for _, field := range fields {
		var less bool
		switch field {
		case "active":
			less = rec.Status == StatusInactive
		case "permissions":
			less = !slices.ContainsFunc(rec.Permissions, func(name string) bool { return !slices.Contains(old.Permissions, name) })
		case "expiry":
			less = !laterEnd(rec.ExpiresAt, old.ExpiresAt)
		case "not_before":
			less = rec.NotBefore.After(old.NotBefore)
		case "allowed_networks":
			less = allInside(rec.Networks, old.Networks)
		}
		if !less {
			return false
		}
	}
	return true
}

// laterEnd reports whether an expiry, zero for never, is later than another.
func laterEnd(t, than time.Time) bool {
	return !than.IsZero() && (t.IsZero() || t.After(than))
}

// turns let the changes of one token in this process happen one after the other,
// those of a higher rank first, so that a revocation is not lost to others again and
// again. After a change that is not ending the token rests for a moment, in which
// another process has its turn. Turns are a courtesy: what keeps a change from
// overwriting another is the version in the store.
type turns struct {
	mu  sync.Mutex
	ids map[string]*turn
}

type turn struct {
	taken   bool
	rests   bool // and only an ending change may take it
	waiting [ranks][]chan struct{}
}

// take waits for the turn of a change, and reports whether others had theirs
// meanwhile. The caller has to call release if ok.
func (t *turns) take(ctx context.Context, id string, r rank) (release func(), waited, ok bool) {
	t.mu.Lock()
	q := t.ids[id]
	if q == nil {
		if t.ids == nil {
			t.ids = make(map[string]*turn)
		}
		q = new(turn)
		t.ids[id] = q
	}
	if !q.taken && (r == ending || !q.rests) {
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

// maxRest bounds how long a token rests. A rest is as long as the change was:
// another process needs about as much to read the token and to write it.
const maxRest = 50 * time.Millisecond

func (t *turns) releaser(id string, q *turn, r rank) func() {
	began := time.Now()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		q.taken = false
		if r != ending {
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
func (t *turns) pass(id string, q *turn) {
	for r := ending; r >= ordinary; r-- {
		if len(q.waiting[r]) > 0 && (r == ending || !q.rests) {
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

// backOff waits before a change is tried again that met another one: a random time,
// as others do the same, which grows with each try, much more so for ordinary
// changes. It reports whether there is time left.
func backOff(ctx context.Context, r rank, try int) bool {
	longest := time.Millisecond << min(try, 3)
	if r == ordinary {
		longest = time.Millisecond << min(try, 7)
	}
	select {
	case <-time.After(rand.N(longest)):
		return true
	case <-ctx.Done():
		return false
	}
}
