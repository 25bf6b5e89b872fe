package apitoken

import (
	"math"
	"time"

	"github.com/apitoken-go/apitoken/internal/entry"
)

// facts are what is known about a request when it is decided. A fact that was
// not asked for stands against nothing.
type facts struct {
	credential  answer // the request presents one; failed: it is malformed
	requirement answer // failed: the route requires what cannot be judged
	record      answer // the store has a token with this ID; newer: which a later version has to judge
	secret      answer // the secret is one of the token's
	user        answer // so is the user name that came with it

	now    int64 // as in life
	until  int64 // when the secret ends, noTime for never
	ends   int64 // when a derived token does, 0 for none
	life   *life // nil: not asked
	policy Policy

	blocked bool // this node could not write that it is deactivated

	environment answer // the request is about that of the token
	address     answer // the token may be used from there
	owner       answer // the owner exists
	permissions answer // they are enough for the route
	objects     answer // the token may be used for those of the request; failed: which these are is not known
	limits      answer // those of the token and of its owner allow one request more
}

// An answer is what is known of one fact.
type answer uint8

const (
	notAsked answer = iota
	yes
	no
	failed // the one that was asked could not say
	newer
	abandoned // the client went away before there was an answer
)

// answerTo returns the answer to a question that may have failed.
func answerTo(holds bool, err error) answer {
	switch {
	case err != nil:
		return failed
	case holds:
		return yes
	}
	return no
}

// evaluate returns all that stands against a request, in the one order of
// reasons: the first of them answers the request. What concerns the state of a
// token comes before its permissions, so that a 403 says only to the holder of a
// good token that it is one.
func evaluate(f *facts) (against reasonList) {
	against.add(ErrMalformed, f.credential == failed)
	against.add(ErrNoToken, f.credential == no)
	against.add(ErrUnavailable, f.requirement == failed)
	against.add(ErrUnknownToken, f.record == no)
	against.add(ErrUnavailable, f.record == failed)
	against.add(errNewerRecord, f.record == newer)
	against.add(errCanceled, f.record == abandoned)
	against.add(ErrWrongSecret, f.secret == no)
	against.add(errWrongUser, f.user == no)
	if f.life != nil {
		against.add(ErrRetiredSecret, past(f.until, f.now))
	}
	against.add(ErrUnavailable, f.environment == failed)
	against.add(ErrEnvironment, f.environment == no)
	if l := f.life; l != nil {
		against.add(ErrDeactivated, l.Inactive || f.blocked)
		against.add(ErrExpired, past(f.policy.expiry(l), f.now) || f.ends != 0 && f.now >= f.ends)
		against.add(ErrIdle, f.policy.idle(l, f.now))
		against.add(ErrNotYetValid, f.now < l.NotBefore)
	}
	against.add(ErrUnavailable, f.address == failed)
	against.add(ErrAddressNotAllowed, f.address == no)
	against.add(ErrNoOwner, f.owner == no)
	against.add(ErrUnavailable, f.owner == failed)
	against.add(errCanceled, f.owner == abandoned)
	against.add(ErrMissingPermission, f.permissions == no)
	against.add(ErrResourceNotAllowed, f.objects == no)
	against.add(errUnknownResource, f.objects == failed)
	against.add(ErrRateLimited, f.limits == no)
	return against
}

// past reports whether an end, noTime for never, has come.
func past(end, now int64) bool { return end != noTime && now >= end }

// A reasonList holds the reasons that stand against a request, as rows of the table
// of reasons: a list of texts would be ten times as large, and is copied for every
// request. It has room for every line of evaluate.
type reasonList struct {
	n    uint8
	rows [25]uint8
}

func (l *reasonList) add(r Reason, applies bool) {
	if applies {
		l.rows[l.n] = uint8(r.index())
		l.n++
	}
}

// first returns the reason that answers the request, "" if it is accepted.
func (l *reasonList) first() Reason {
	if l.n == 0 {
		return ""
	}
	return reasons[l.rows[0]].reason
}

// all returns the reasons, nil for none.
func (l *reasonList) all() (list []Reason) {
	for _, row := range l.rows[:l.n] {
		list = append(list, reasons[row].reason)
	}
	return list
}

// A Policy limits the life of all tokens, also of those that are older than the policy.
// Zero fields mean no limit. Times of tokens and limits are in whole microseconds.
type Policy struct {
	// MaxLifetime is how long a token can be used from its creation on.
	MaxLifetime time.Duration

	// MaxIdle is how long a token stays usable without being used.
	MaxIdle time.Duration
}

// minIdle is far above the minute by which records of use may be behind.
const minIdle = time.Hour

// expiry returns from when on the policy or the token's own expiry refuses it.
func (p Policy) expiry(l *life) int64 {
	end := l.Expires
	if p.MaxLifetime > 0 {
		if most := l.Created + p.MaxLifetime.Microseconds(); end == noTime || most < end {
			end = most
		}
	}
	return end
}

// idle reports whether a token was not used for too long.
func (p Policy) idle(l *life, now int64) bool {
	return p.MaxIdle > 0 && now-max(l.Created, l.Used) >= p.MaxIdle.Microseconds()
}

// refuses returns the reason why a token cannot be used at a moment, "" if it
// can.
func (p Policy) refuses(l *life, now int64) Reason {
	against := evaluate(&facts{life: l, until: noTime, policy: p, now: now})
	return against.first()
}

// Status returns the status of a token at a moment. It is [Record.StatusAt], and also
// expired if the policy ends the token or if nobody used it for too long.
func (p Policy) Status(rec *Record, at time.Time) Status {
	if rec.Status == StatusDeleted {
		return StatusDeleted
	}
	l := rec.life()
	switch p.refuses(&l, micros(at)) {
	case ErrDeactivated:
		return StatusInactive
	case ErrExpired, ErrIdle:
		return StatusExpired
	case ErrNotYetValid:
		return StatusPending
	}
	return StatusActive
}

// A life is what a [Policy] judges: moments in microseconds since 1970, noTime
// where there is none.
type life = entry.Life

const noTime = entry.Never

// micros returns t as a life has it.
func micros(t time.Time) int64 {
	switch {
	case t.IsZero():
		return noTime
	case t.Year() > 10000: // UnixMicro would overflow somewhere beyond
		return math.MaxInt64 / 2
	case t.Year() < -10000:
		return math.MinInt64 / 2
	}
	return t.UnixMicro()
}

// moment is the inverse of micros.
func moment(micros int64) time.Time {
	if micros == noTime {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func (r *Record) life() life {
	return life{
		Created: micros(r.CreatedAt), Expires: micros(r.ExpiresAt), NotBefore: micros(r.NotBefore), Used: micros(r.LastUsed()),
		Inactive: r.Status != StatusActive,
	}
}
