package upkeep

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Records gives a Worker its records; R is the record of a token. Its methods return after
// a bounded wait.
type Records[R any] interface {
	Now() time.Time // in whole microseconds

	// Scan returns up to limit records whose IDs follow after, in the order of their IDs;
	// fewer only at the end, or after an error.
	Scan(ctx context.Context, after string, limit int) []R

	// Get returns a record; false if there is nothing to be done for it any more.
	Get(ctx context.Context, id string) (R, bool, error)

	// Token returns what a record says.
	Token(R) (id string, t Token)

	// Claim writes other claims into a record, and returns it as it is then. It fails if
	// somebody else has changed the record.
	Claim(ctx context.Context, rec R, claims string) (R, error)

	// Do does work; from is where the secret came from that a notice of a reuse is about,
	// if that is known. After an error it is called again some time.
	Do(ctx context.Context, rec R, what string, from netip.Addr) error
}

// A Worker does the due work on all nodes. For each work, the node that first writes its
// claim over the version that it has read does it. A nil Worker does nothing.
type Worker[R any] struct {
	records Records[R]
	rules   Rules
	reports chan report
	stop    context.CancelFunc
	running sync.WaitGroup
}

type report struct {
	id   string
	from netip.Addr
}

// period is the time between two walks, on average.
const period = time.Hour

// Start returns a Worker that works until it is closed.
func Start[R any](records Records[R], rules Rules) *Worker[R] {
	ctx, stop := context.WithCancel(context.Background())
	w := &Worker[R]{records: records, rules: rules, reports: make(chan report, 64), stop: stop}
	w.running.Go(func() {
		// Nodes that begin together do not walk together.
		for pause := rand.N(period / 6); wait(ctx, pause); pause = period*9/10 + rand.N(period/5) {
			w.walk(ctx)
		}
	})
	if rules.Notify {
		w.running.Go(func() { w.listen(ctx) })
	}
	return w
}

// Close stops the worker, and waits for its running work, but at most for limit.
func (w *Worker[R]) Close(limit time.Duration) {
	if w == nil {
		return
	}
	w.stop()
	done := make(chan struct{})
	go func() { w.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// wait waits for d, and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// A walk reads batch records at once, and pauses in between, so that nobody notices it: it
// reads some 2,500 a second.
const (
	batch     = 256
	walkPause = 100 * time.Millisecond
)

// walk looks at all tokens.
func (w *Worker[R]) walk(ctx context.Context) {
	for last := ""; ctx.Err() == nil; {
		recs := w.records.Scan(ctx, last, batch)
		before := last
		for _, rec := range recs {
			if ctx.Err() == nil {
				w.look(ctx, rec)
			}
			last, _ = w.records.Token(rec)
		}
		if len(recs) < batch || last <= before || !wait(ctx, walkPause) {
			return
		}
	}
}

// look does the first due work of a token that no other node does. The rest waits for the
// next walk.
func (w *Worker[R]) look(ctx context.Context, rec R) {
	now := w.records.Now()
	_, t := w.records.Token(rec)
	for _, work := range w.rules.Due(t, now) {
		if claims, ok := Claim(t.Claims, work, now); ok {
			_ = w.do(ctx, rec, work, claims, netip.Addr{})
			return
		}
	}
}

// maxTries bounds the attempts to mark work as done, if others change the token all the
// time.
const maxTries = 16

// do does work if this node is the first to write the claims that Claim returned. Closing the
// Worker does not interrupt it. The error means that the work was not claimed.
func (w *Worker[R]) do(ctx context.Context, rec R, work Work, claims string, from netip.Addr) error {
	ctx = context.WithoutCancel(ctx)
	if work.What == Delete { // which replaces the record itself
		return w.records.Do(ctx, rec, work.What, from)
	}
	rec, err := w.records.Claim(ctx, rec, claims)
	if err != nil || w.records.Do(ctx, rec, work.What, from) != nil || work.What == Purge {
		return err
	}
	for try := range maxTries {
		id, t := w.records.Token(rec)
		all := parse(t.Claims)
		done := all.of(work.What)
		if !done.due.Equal(work.Due) {
			break // somebody has claimed later work
		}
		done.done = true
		if _, err := w.records.Claim(ctx, rec, all.with(done)); err == nil {
			break
		}
		wait(ctx, rand.N(time.Millisecond<<min(try, 10)))
		if next, ok, err := w.records.Get(ctx, id); err == nil && !ok {
			break
		} else if err == nil {
			rec = next
		}
	}
	return nil
}

// Report reports that somebody presented a retired secret of a token. It returns at once.
// Under load a report may get lost, until the secret is presented again.
func (w *Worker[R]) Report(id string, from netip.Addr) {
	if w == nil {
		return
	}
	select {
	case w.reports <- report{id, from}:
	default:
	}
}

// maxSeen bounds how many tokens listen remembers.
const maxSeen = 1024

// listen sends a notice of each reuse, once a day for each token.
func (w *Worker[R]) listen(ctx context.Context) {
	seen := make(map[string]time.Time)
	for {
		select {
		case r := <-w.reports:
			if at, ok := seen[r.id]; ok && time.Since(at) < OncePer {
				continue
			}
			if len(seen) >= maxSeen {
				clear(seen)
			}
			for pause := time.Second; pause < time.Minute; pause *= 2 {
				if w.reused(ctx, r) == nil {
					seen[r.id] = time.Now()
					break
				}
				if !wait(ctx, pause) {
					return
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

func (w *Worker[R]) reused(ctx context.Context, r report) error {
	rec, ok, err := w.records.Get(ctx, r.id)
	if err != nil || !ok {
		return err
	}
	now := w.records.Now()
	_, t := w.records.Token(rec)
	if now.Sub(parse(t.Claims).of(Reuse).due).Abs() < OncePer {
		return nil
	}
	work := Work{Reuse, now}
	claims, _ := Claim(t.Claims, work, now)
	return w.do(ctx, rec, work, claims, r.from)
}
