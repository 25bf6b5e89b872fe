package apitoken

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// blocks are the tokens that this node refuses because a revocation was allowed and
// could not be written: nobody knows whether they are live. Each is tried again until
// the store answers. They are in memory only, and end with the process.
type blocks struct {
	n atomic.Int32 // of tokens; every request reads it

	mu     sync.Mutex
	tokens map[string]*block
	stop   context.CancelFunc // of the retries; nil while there are none
	done   chan struct{}      // closed when they have ended
	closed bool
}

type block struct {
	by    string                          // who has revoked the token
	other bool                            // who is not its owner
	again func(context.Context) (ok bool) // revokes it, unless that is settled; false: no answer
	ctx   context.Context                 // of the revocation, without its end
}

// Limits of blocks. Owners can fill no more than half of them.
const (
	maxBlocks      = 1000
	maxOwnerBlocks = maxBlocks / 2
)

// Pauses before revocations are tried again: the first, and the longest.
const (
	retryPause    = 250 * time.Millisecond
	maxRetryPause = 5 * time.Second
)

// has reports whether a token is blocked.
func (b *blocks) has(id string) bool {
	if b.n.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens[id] != nil
}

// add blocks a token, if there is room.
func (b *blocks) add(id string, k *block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.tokens[id]; old != nil && old.other && !k.other {
		return // an administrator's weighs more
	}
	room := maxBlocks
	if !k.other {
		room = maxOwnerBlocks
	}
	if b.closed || b.tokens[id] == nil && len(b.tokens) >= room {
		return
	}
	if b.tokens == nil {
		b.tokens = make(map[string]*block)
	}
	b.tokens[id] = k
	b.n.Store(int32(len(b.tokens)))
	if b.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		b.stop, b.done = stop, make(chan struct{})
		go b.retry(ctx, b.done)
	}
}

// end takes the block of a token away for which ends is true.
func (b *blocks) end(id string, ends func(*block) bool) {
	if b.n.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.tokens[id]; k != nil && ends(k) {
		delete(b.tokens, id)
		b.n.Store(int32(len(b.tokens)))
	}
}

// retry revokes what is blocked, until nothing is.
func (b *blocks) retry(ctx context.Context, done chan struct{}) {
	defer close(done)
	for pause := retryPause; ; pause = min(2*pause, maxRetryPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		b.mu.Lock()
		if len(b.tokens) == 0 {
			b.stop()
			b.stop = nil
			b.mu.Unlock()
			return
		}
		tokens := maps.Clone(b.tokens)
		b.mu.Unlock()
		for id, k := range tokens { // in random order: one may have no answer when the others do
			if !k.try(ctx) {
				break
			}
			b.end(id, func(now *block) bool { return now == k })
		}
	}
}

// try revokes the token of a block again, until ctx is done.
func (k *block) try(ctx context.Context) (ok bool) {
	own, cancel := context.WithCancel(k.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return k.again(own)
}

// close ends all blocks, and waits for what is tried again, but not for long.
func (b *blocks) close(limit time.Duration) {
	b.mu.Lock()
	b.closed = true
	clear(b.tokens)
	b.n.Store(0)
	stop, done := b.stop, b.done
	b.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// unwritten is told that a revocation which was allowed and audited could not be
// written. again makes the same revocation once more.
func (m *Manager) unwritten(ctx context.Context, before *row, again func(context.Context) error) {
	m.a.blocks.add(before.rec.ID, &block{
		by: m.actor.User, other: !m.owns(before), ctx: context.WithoutCancel(ctx),
		again: func(ctx context.Context) bool {
			err := again(ctx)
			return !errors.Is(err, ErrUnavailable) && err != ErrConflict
		},
	})
}

// unblock ends the block of a token that was activated by who may overrule it: who
// asked for it, or an administrator whose token it is not.
func (m *Manager) unblock(r *row) {
	m.a.blocks.end(r.rec.ID, func(k *block) bool { return k.by == m.actor.User || !m.owns(r) })
}

// settled reports whether somebody has changed the status since a version was read.
func settled(read, now *Record) bool {
	if now.Status != read.Status || !now.DeactivatedAt.Equal(read.DeactivatedAt) || now.DeactivatedBy != read.DeactivatedBy {
		return true
	}
	for _, line := range now.History {
		if len(read.History) > 0 && line.At.Equal(read.History[0].At) && line.Action == read.History[0].Action {
			break
		}
		if slices.Contains(line.Fields, "active") {
			return true
		}
	}
	return false
}

// mayBeLive says of the error of a revocation what it means for the token.
func mayBeLive(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("apitoken: the token may still be accepted as before: %w", err)
	}
	return err
}
