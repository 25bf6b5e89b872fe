package apitoken

import (
	"context"
	"errors"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
)

// A reader reads the records of tokens for requests: from memory as long as what is
// there is fresh, and else from the store.
type reader struct {
	records
	store             Store
	cancelable        bool                          // Store.Get returns when its context ends
	cache             *cache.Cache[plain, pointers] // nil with NoCache
	lookups, renewals *bulkhead.Bulkhead
	waiting           *bulkhead.Waiting[cache.Call[plain, pointers]] // with NoCache: by ID
	now               func() time.Time
}

// lookup returns the entry of a token from the store, for a request that began at a
// moment; known is the entry that is in memory if the request has shown a secret of it.
// The error is ErrNotFound or a cause of ErrUnavailable.
func (r *reader) lookup(ctx context.Context, key cache.Key, id string, known node, began time.Time) (node, error) {
	if err := ctx.Err(); err != nil {
		return node{}, err
	}
	if r.cache != nil {
		return r.fetch(ctx, key, id, known, began)
	}
	f, mine := r.waiting.Join(id, func() *cache.Call[plain, pointers] { return cache.NewCall[plain, pointers](cache.Instant{}, false) })
	if mine {
		r.start(ctx, cache.Key{}, id, node{}, f, began.Add(r.lookups.Limit()))
	}
	return r.await(ctx, f, r.lookups.Limit())
}

// start makes a call of the store, with a deadline. Of a store that may hang it is
// left to a goroutine: all that it costs besides, a stack and being waited for, is
// more than a store in memory takes to answer, and half of what one on disk does.
func (r *reader) start(ctx context.Context, key cache.Key, id string, known node, f *cache.Call[plain, pointers], deadline time.Time) {
	if r.cancelable {
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
func (r *reader) fetch(ctx context.Context, key cache.Key, id string, known node, now time.Time) (node, error) {
	c := r.cache
	end := now.Add(r.lookups.Limit())
	for range 2 {
		f, mine := c.Join(key, !known.IsZero(), c.Instant(now), r.lookups.Limit())
		if mine {
			r.start(ctx, key, id, known, f, end)
		}
		e, err := r.await(ctx, f, end.Sub(now))
		if err != nil {
			return node{}, err
		}
		// The feed does not count here: it may have reported a change of the
		// token after this request has joined.
		if now = r.now(); f.Began.Age(c.Instant(now)) <= c.MaxStaleness {
			return e, nil
		}
	}
	return node{}, errSlow
}

// await returns what a call answers, or an error when the limit has passed or
// ctx ends.
func (r *reader) await(ctx context.Context, f *cache.Call[plain, pointers], limit time.Duration) (node, error) {
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
		return node{}, r.lookups.Late(f.Entered.Load(), context.DeadlineExceeded)
	case <-ctx.Done():
		return node{}, r.lookups.Late(f.Entered.Load(), ctx.Err())
	}
}

// ask makes a call of the store. Its context is not that of the request which was
// the first to need it, and does not end with that. Of a token that is known its owner
// holds the slot, else the ID itself, of which nobody knows the owner yet.
func (r *reader) ask(ctx context.Context, key cache.Key, id string, known node, f *cache.Call[plain, pointers], deadline time.Time) {
	var reserve *bulkhead.Bulkhead
	by := id
	if !known.IsZero() {
		reserve = r.renewals
		by = holder(known.Pointers.home.Value().environment, entryOf(known).ownerText())
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	var n node
	g, err := r.lookups.Enter(ctx, by, reserve)
	if r.cache == nil {
		r.waiting.Begin(id)
	}
	f.Entered.Store(err == nil)
	defer func() {
		cancel() // before who waits goes on
		if f.Entered.Load() {
			g.Leave()
		}
		r.cache.Finish(key, f, n, err, errors.Is(err, ErrNotFound))
	}()
	if err == nil {
		r.lookups.Run(&err, func() (err error) {
			n, err = r.read(ctx, id, f.Began)
			return err
		})
	}
}

// read reads a token from the store, on the caller's goroutine.
func (r *reader) read(ctx context.Context, id string, at cache.Instant) (node, error) {
	rec, err := r.store.Get(ctx, id)
	if err != nil {
		return node{}, err
	}
	if rec.ID == id && rec.Status == StatusDeleted { // not even checked, so that it takes as long as an unknown one
		return node{}, ErrNotFound
	}
	return r.entry(id, &rec, at)
}
