package apitoken

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/limit"
)

// A Limit allows Requests per Per in the long run, and Burst of them at once: in every
// window of length t at most Burst + t·Requests/Per. The zero Limit allows everything.
// Requests and Burst are at most 1,000,000,000, Per is 1 ms to 366 days.
type Limit struct {
	Requests int
	Per      time.Duration
	Burst    int // 0: as many requests as come back in a second, and at least one
}

// String returns the Limit as in "100/1m0s", or "100/1m0s/20" with a Burst; "" for the zero Limit.
func (l Limit) String() string { return limit.Limit(l).String() }

// MarshalText returns what String returns.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what String writes, and shorter times: "10/s".
func (l *Limit) UnmarshalText(text []byte) error {
	parsed, err := limit.Parse(string(text))
	*l = Limit(parsed)
	return err
}

// Limits bound how many requests are accepted, see Config.Limits. Zero fields do not.
type Limits struct {
	Token Limit // of each token; it may have a tighter one of its own
	Owner Limit // of all tokens of an owner together
}

// A Counter is a [Store] that adds up how much of their limits tokens and owners have used
// on all nodes. Without it, each node limits the requests that it gets itself.
//
// A key has a sum, which is a length of time: zero at first, and a second less with each
// second that passes, but never less than zero. Count adds to the sums of keys and returns what
// they are then, for each of the keys. Keys are texts of at most 64 letters and digits, up to 500 in one call.
//
// Sums may get lost, and must not grow by anything but Count; where the clock of the store
// is set back, no time has passed. Requests do not wait for Count.
//
// The package stores/storetest checks an implementation.
type Counter interface {
	Count(ctx context.Context, add map[string]time.Duration) (sums map[string]time.Duration, err error)
}

// exchange returns how nodes exchange what they have admitted, nil if the store is no Counter.
func exchange(store Store, timeout time.Duration) func(context.Context, map[string]time.Duration) (map[string]time.Duration, error) {
	counter, ok := store.(Counter)
	if !ok {
		return nil
	}
	calls := bulkhead.New("the store", timeout, 0)
	return func(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
		return bulkhead.Call(ctx, calls, "", func(ctx context.Context) (map[string]time.Duration, error) { return counter.Count(ctx, add) })
	}
}

// admits reports whether the limits of a token and of its owner allow one request more,
// and takes it from both. A request counts once: it is not taken again where its context has the
// token, as behind a middleware or after NewContext, and by Recheck.
func (d *decider) admits(q *request, v *verdict) bool {
	e := v.token.entry()
	own, most := e.more().limit, limit.Limit(d.limits.Token)
	if own == (limit.Limit{}) || !own.Within(most) {
		own = most
	}
	if own == (limit.Limit{}) && d.limits.Owner == (Limit{}) || q.again != nil {
		return true
	}
	if tok, ok := FromContext(q.ctx); ok && tok.ID() == v.id {
		return true
	}
	demands := limit.Demands{
		{Key: limit.Key{ID: v.id}, Limit: own},
		{Key: limit.Key{Environment: v.token.Environment(), Owner: v.token.Owner()}, Limit: limit.Limit(d.limits.Owner)},
	}
	q.standings = new(limit.Standings)
	return d.limiter.Admit(v.at.Sub(d.clock.started), &demands, q.standings)
}

// announce says in the header of an answer what is left of the limits that the request has
// passed or not, if there are any.
func announce(h http.Header, standings *limit.Standings) {
	if standings == nil {
		return
	}
	policy, left := standings.Fields()
	h["Ratelimit-Policy"] = append(slices.Clip(h["Ratelimit-Policy"]), policy)
	h["Ratelimit"] = append(slices.Clip(h["Ratelimit"]), left)
}

// setLimit sets the limit that a record has of its own.
func (m *Manager) setLimit(rec *Record, l Limit) error {
	most := limit.Limit(m.a.config.Limits.Token)
	if err := limit.Limit(l).Check(); err != nil {
		return &FieldError{"limit", err.Error()}
	} else if l != (Limit{}) && !limit.Limit(l).Within(most) {
		return &FieldError{"limit", "allows more than " + most.String() + ", the limit of every token"}
	}
	rec.Limit = l.String()
	return nil
}

// limitOf returns the limit that a record has of its own. It was checked.
func (r *Record) limitOf() limit.Limit {
	l, _ := limit.Parse(r.Limit)
	return l
}
