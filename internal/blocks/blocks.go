// Package blocks remembers the tokens that only this process refuses.
package blocks

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// Blocks are the tokens that this node refuses because it could not write an allowed
// revocation: nobody knows whether they are still valid. Each revocation is repeated until
// the store answers. Blocks are in memory only, and end with the process.
type Blocks struct {
	n atomic.Int32 // of tokens; every request reads it

	mu     sync.Mutex
	tokens map[string]*Block
	stop   context.CancelFunc // of the retries; nil while there are none
	done   chan struct{}      // closed when they have ended
	closed bool
}

// A Block is a revocation that the store did not accept.
type Block struct {
	Other bool                            // who revoked the token is not its owner
	Again func(context.Context) (ok bool) // revokes it, unless that is settled; false: no answer
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

// Has reports whether a token is blocked.
func (b *Blocks) Has(id string) bool {
	if b.n.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens[id] != nil
}

// ByOther reports whether a token is blocked because somebody other than its owner revoked
// it.
func (b *Blocks) ByOther(id string) bool {
	if b.n.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.tokens[id]
	return k != nil && k.Other
}

// Add blocks a token, if there is room.
func (b *Blocks) Add(id string, k *Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.tokens[id]; old != nil && old.Other && !k.Other {
		return // an administrator's weighs more
	}
	room := maxBlocks
	if !k.Other {
		room = maxOwnerBlocks
	}
	if b.closed || b.tokens[id] == nil && len(b.tokens) >= room {
		return
	}
	if b.tokens == nil {
		b.tokens = make(map[string]*Block)
	}
	b.tokens[id] = k
	b.n.Store(int32(len(b.tokens)))
	if b.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		b.stop, b.done = stop, make(chan struct{})
		go b.retry(ctx, b.done)
	}
}

// End removes the block of a token if ends returns true for it.
func (b *Blocks) End(id string, ends func(*Block) bool) {
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
func (b *Blocks) retry(ctx context.Context, done chan struct{}) {
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
			b.End(id, func(now *Block) bool { return now == k })
		}
	}
}

// try revokes the token of a block again. It calls functions of the application:
// they cannot stop the other blocks.
func (k *Block) try(ctx context.Context) (ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done) // also if the goroutine is ended
		var err error
		defer bulkhead.Recover("a revocation that is tried again", &err)
		ok = k.Again(ctx)
	}()
	<-done
	return ok
}

// Close stops the retries, and waits for them, but at most for limit. Blocked tokens stay
// blocked.
func (b *Blocks) Close(limit time.Duration) {
	b.mu.Lock()
	b.closed = true
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
