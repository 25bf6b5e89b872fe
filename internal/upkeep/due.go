// Package upkeep says what is due of a token without anybody asking for it, such as a notice
// before it expires, and calls in the background what does it.
package upkeep

import "time"

// What may be due.
const (
	Expiring = "expiring" // a notice: the token expires soon
	Expired  = "expired"  // a notice
	Reuse    = "reuse"    // a notice: a retired secret was presented
	Delete   = "delete"   // the token has expired long ago
	Purge    = "purge"    // it was deleted long ago
)

const day = 24 * time.Hour

// Patience is how long work may be claimed before another node takes it over. It is far
// longer than a call of Config.Notify may take, NotifyTimeout.
const (
	Patience      = 10 * time.Minute
	NotifyTimeout = time.Minute
)

// OncePer is the shortest time between two notices of a reuse of one token.
const OncePer = day

// stale is when a notice is no news any more, as after a service has stood still, or
// when it begins to send notices and has tokens that expired years ago.
const stale = 7 * day

// stages are how long before the end of a token there is a notice, the last one first.
var stages = [...]time.Duration{day, 7 * day, 30 * day}

// Rules are what a service wants.
type Rules struct {
	Notify                   bool
	KeepExpired, KeepDeleted time.Duration // KeepExpired: 0 for ever
}

// A Token is what has to be known of one. Zero times are those of what did not happen, or
// will not.
type Token struct {
	Active    bool
	Keep      bool // it is not deleted, whenever it has expired
	CreatedAt time.Time
	ExpiresAt time.Time // its own expiry
	EndsAt    time.Time // its own expiry, or that of the policy
	DeletedAt time.Time
	Claims    string // as the Worker has written them
}

// Work is something that is due. When it became due tells it from work of the same kind.
type Work struct {
	What string
	Due  time.Time
}

// Due returns what is due of a token, also if it was done, what comes first first.
func (r Rules) Due(t Token, now time.Time) (work []Work) {
	add := func(what string, due, until time.Time) {
		if !now.Before(due) && (until.IsZero() || now.Before(until)) {
			work = append(work, Work{what, due})
		}
	}
	if !t.DeletedAt.IsZero() {
		add(Purge, t.DeletedAt.Add(max(0, r.KeepDeleted)), time.Time{})
		return work
	}
	if reuse := parse(t.Claims).of(Reuse); r.Notify && !reuse.due.IsZero() {
		add(Reuse, reuse.due, reuse.due.Add(stale))
	}
	if r.Notify && t.Active && !t.EndsAt.IsZero() {
		add(Expired, t.EndsAt, t.EndsAt.Add(stale))
		next := t.EndsAt
		for _, before := range stages {
			due := t.EndsAt.Add(-before)
			if t.CreatedAt.Before(due) { // else the token was not to live for so long
				add(Expiring, due, next)
				next = due
			}
		}
	}
	if r.KeepExpired > 0 && !t.ExpiresAt.IsZero() && !t.Keep {
		add(Delete, t.ExpiresAt.Add(r.KeepExpired), time.Time{})
	}
	return work
}
