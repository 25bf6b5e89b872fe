package apitoken

import (
	"context"
	"errors"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// A reader reads the records of tokens for requests: from memory as long as what is
// there is fresh, and else from the store.
type reader struct {
	records
	store             Store
	cancelable        bool   // Store.Get returns when its context ends
	cache             *cache // nil with NoCache
	lookups, renewals *bulkhead.Bulkhead
	now               func() time.Time
}

// lookup returns the entry of a token from the store, for a request that began at a
// moment and for one who is known or not. The error is ErrNotFound or a cause of
// ErrUnavailable.
func (r *reader) lookup(ctx context.Context, hash uint64, id string, known bool, began time.Time) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.cache != nil {
		return r.fetch(ctx, hash, id, known, began)
	}
	f := newCall(instant{}, false)
	r.start(ctx, 0, id, f, began.Add(r.lookups.Limit()))
	return r.await(ctx, f, r.lookups.Limit())
}

// start makes a call of the store, with a deadline. Of a store that may hang it is
// left to a goroutine: all that it costs besides, a stack and being waited for, is
// more than a store in memory takes to answer, and half of what one on disk does.
func (r *reader) start(ctx context.Context, hash uint64, id string, f *call, deadline time.Time) {
	if r.cancelable {
		r.ask(ctx, hash, id, f, deadline)
		return
	}
	go r.ask(ctx, hash, id, f, deadline)
}

// errSlow says that the store took longer than what it answers may be old.
var errSlow = errors.New("apitoken: the store answers more slowly than Config.MaxStaleness allows")

// fetch reads a token from the store, in one call for all requests that ask for
// it at the same time. Who is known, by the secret of a token that is in memory,
// does not have to queue behind a flood of those who are not.
func (r *reader) fetch(ctx context.Context, hash uint64, id string, known bool, now time.Time) (*entry, error) {
	c := r.cache
	end := now.Add(r.lookups.Limit())
	for range 2 {
		f, mine := c.join(hash, id, known, c.instant(now), r.lookups.Limit())
		if mine {
			r.start(ctx, hash, id, f, end)
		}
		e, err := r.await(ctx, f, end.Sub(now))
		if err != nil {
			return nil, err
		}
		// The feed does not count here: it may have reported a change of the
		// token after this request has joined.
		if now = r.now(); f.began.age(c.instant(now)) <= c.maxStaleness {
			return e, nil
		}
	}
	return nil, errSlow
}

// await returns what a call answers, or an error when the limit has passed or
// ctx ends.
func (r *reader) await(ctx context.Context, f *call, limit time.Duration) (*entry, error) {
	select {
	case <-f.done:
		return f.e, f.err
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.e, f.err
	case <-timer.C:
		return nil, r.lookups.Late(f.entered.Load(), context.DeadlineExceeded)
	case <-ctx.Done():
		return nil, r.lookups.Late(f.entered.Load(), ctx.Err())
	}
}

// ask makes a call of the store. Its context is not that of the request which was
// the first to need it, and does not end with that.
func (r *reader) ask(ctx context.Context, hash uint64, id string, f *call, deadline time.Time) {
	var reserve *bulkhead.Bulkhead
	if f.known {
		reserve = r.renewals
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	var e *entry
	g, err := r.lookups.Enter(ctx, reserve)
	f.entered.Store(err == nil)
	defer func() {
		cancel() // before who waits goes on
		if f.entered.Load() {
			g.Leave()
		}
		r.cache.finish(hash, id, f, e, err)
	}()
	if err == nil {
		g.Run(&err, func() (err error) {
			e, err = r.read(ctx, id, f.began)
			return err
		})
	}
}

// read reads a token from the store, on the caller's goroutine.
func (r *reader) read(ctx context.Context, id string, at instant) (*entry, error) {
	rec, err := r.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.entry(id, &rec, at)
}
