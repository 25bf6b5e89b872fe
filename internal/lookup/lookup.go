// Package lookup reads entries from a store for requests that wait: in one call for all
// requests that need the same entry, and within the limits of bulkheads.
package lookup

import (
	"context"
	"errors"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
)

// A Reader reads the entries of a store.
type Reader[V, P any] struct {
	Cache      *cache.Cache[V, P] // keeps the answers; nil keeps none
	Now        func() time.Time
	Cancelable bool // Read returns when its context ends

	// Read reads an entry from the store. Its error wraps Gone if the store has no such entry.
	Read func(ctx context.Context, id string, at cache.Instant) (cache.Entry[V, P], error)
	Gone error

	// Holder returns who holds the slot of a lookup, if the entry is known.
	Holder func(cache.Entry[V, P]) string

	Lookups, Renewals *bulkhead.Bulkhead // Renewals has slots for known entries only

	waiting bulkhead.Waiting[cache.Call[V, P]] // without Cache: by ID
}

// Entry returns an entry from the store, for a request that began at a moment; known is the
// entry that is in memory if the request has shown a secret of it.
func (r *Reader[V, P]) Entry(ctx context.Context, key cache.Key, id string, known cache.Entry[V, P], began time.Time) (cache.Entry[V, P], error) {
	if err := ctx.Err(); err != nil {
		return cache.Entry[V, P]{}, err
	}
	if r.Cache != nil {
		return r.fetch(ctx, key, id, known, began)
	}
	f, mine := r.waiting.Join(id, func() *cache.Call[V, P] { return cache.NewCall[V, P](cache.Instant{}, false) })
	if mine {
		r.start(ctx, cache.Key{}, id, cache.Entry[V, P]{}, f, began.Add(r.Lookups.Limit()))
	}
	return r.await(ctx, f, r.Lookups.Limit())
}

// start makes a call of the store, with a deadline. Of a store that may hang it is
// left to a goroutine: all that it costs besides, a stack and being waited for, is
// more than a store in memory takes to answer, and half of what one on disk does.
func (r *Reader[V, P]) start(ctx context.Context, key cache.Key, id string, known cache.Entry[V, P], f *cache.Call[V, P], deadline time.Time) {
	if r.Cancelable {
		r.ask(ctx, key, id, known, f, deadline)
		return
	}
	go r.ask(ctx, key, id, known, f, deadline)
}

// errSlow says that the store took longer than what it answers may be old.
var errSlow = errors.New("apitoken: the store answers more slowly than Config.MaxStaleness allows")

// fetch reads a token from the store, in one call for all requests that ask for
// it at the same time. Who is known, by the secret of a token that is in memory,
// does not have to queue behind a flood of those who are not.
func (r *Reader[V, P]) fetch(ctx context.Context, key cache.Key, id string, known cache.Entry[V, P], now time.Time) (cache.Entry[V, P], error) {
	c := r.Cache
	end := now.Add(r.Lookups.Limit())
	for range 2 {
		f, mine := c.Join(key, !known.IsZero(), c.Instant(now), r.Lookups.Limit())
		if mine {
			r.start(ctx, key, id, known, f, end)
		}
		e, err := r.await(ctx, f, end.Sub(now))
		if err != nil {
			return cache.Entry[V, P]{}, err
		}
		// The feed does not count here: it may have reported a change of the
		// token after this request has joined.
		if now = r.Now(); f.Began.Age(c.Instant(now)) <= c.MaxStaleness {
			return e, nil
		}
	}
	return cache.Entry[V, P]{}, errSlow
}

// await returns what a call answers, or an error when the limit has passed or
// ctx ends.
func (r *Reader[V, P]) await(ctx context.Context, f *cache.Call[V, P], limit time.Duration) (cache.Entry[V, P], error) {
	select {
	case <-f.Done:
		return f.Entry, f.Err
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.Done:
		return f.Entry, f.Err
	case <-timer.C:
		return cache.Entry[V, P]{}, r.Lookups.Late(f.Entered.Load(), context.DeadlineExceeded)
	case <-ctx.Done():
		return cache.Entry[V, P]{}, r.Lookups.Late(f.Entered.Load(), ctx.Err())
	}
}

// ask makes a call of the store. Its context is not that of the request which was
// the first to need it, and does not end with that. Of a token that is known its owner
// holds the slot, else the ID itself, of which nobody knows the owner yet.
func (r *Reader[V, P]) ask(ctx context.Context, key cache.Key, id string, known cache.Entry[V, P], f *cache.Call[V, P], deadline time.Time) {
	var reserve *bulkhead.Bulkhead
	by := id
	if !known.IsZero() {
		reserve = r.Renewals
		by = r.Holder(known)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	var n cache.Entry[V, P]
	g, err := r.Lookups.Enter(ctx, by, reserve)
	if r.Cache == nil {
		r.waiting.Begin(id)
	}
	f.Entered.Store(err == nil)
	defer func() {
		cancel() // before who waits goes on
		if f.Entered.Load() {
			g.Leave()
		}
		r.Cache.Finish(key, f, n, err, errors.Is(err, r.Gone))
	}()
	if err == nil {
		r.Lookups.Run(&err, func() (err error) {
			n, err = r.Read(ctx, id, f.Began)
			return err
		})
	}
}
