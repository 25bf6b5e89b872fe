// Package stopwatch measures the duration of decisions.
package stopwatch

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// A Watch is one of possibly several that measure the same requests.
type Watch struct{ _ byte } // of some size, so that no two have the same address

type lap struct {
	start time.Time
	taken atomic.Bool
}

// Start returns a context in which time runs from now on.
func (w *Watch) Start(ctx context.Context) context.Context {
	return context.WithValue(ctx, w, &lap{start: time.Now()})
}

// Lap returns the time since Start: once for each Start, as a second decision
// about a request is made after its handler has begun.
func (w *Watch) Lap(ctx context.Context) (time.Duration, bool) {
	l, ok := ctx.Value(w).(*lap)
	if !ok || l.taken.Swap(true) {
		return 0, false
	}
	return time.Since(l.start), true
}

// Handler starts the watch for each request.
func (w *Watch) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(rw, r.WithContext(w.Start(r.Context())))
	})
}
