// Package upkeep finds due work for tokens, such as a notice before a token expires, and
// does it in the background.
package upkeep

import "time"

// The kinds of work.
const (
	Expiring = "expiring" // a notice: the token expires soon
	Expired  = "expired"  // a notice
	Reuse    = "reuse"    // a notice: a retired secret was presented
	Delete   = "delete"   // the token has expired long ago
	Purge    = "purge"    // it was deleted long ago
)

const day = 24 * time.Hour

// Patience is the time after which another node takes over claimed work. It is far longer
// than NotifyTimeout, the limit of a call of Config.Notify.
const (
	Patience      = 10 * time.Minute
	NotifyTimeout = time.Minute
)

// OncePer is the shortest time between two notices of a reuse of one token.
const OncePer = day

// stale is the age at which a notice is outdated: after the service was down, or when a
// service begins to send notices and has tokens that expired years ago.
const stale = 7 * day

// stages are the times between a notice and the end of a token, the last notice first.
var stages = [...]time.Duration{day, 7 * day, 30 * day}

// Rules are the configuration of a service.
type Rules struct {
	Notify                   bool
	KeepExpired, KeepDeleted time.Duration // KeepExpired: 0 for ever
}

// A Token has the facts about a token that decide about work. A zero time means that the
// event did not happen, or will not.
type Token struct {
	Active    bool
	Keep      bool // it is not deleted, whenever it has expired
	CreatedAt time.Time
	ExpiresAt time.Time // its own expiry
	EndsAt    time.Time // its own expiry, or that of the policy
	DeletedAt time.Time
	Claims    string // as the Worker has written them
}

// Work is due work. Its time distinguishes it from other work of the same kind.
type Work struct {
	What string
	Due  time.Time
}

// Due returns the due work for a token in order, including finished work.
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
