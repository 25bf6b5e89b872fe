package apitoken

import (
	"math"
	"time"
)

// A Policy bounds the life of all tokens, also of those that were generated
// before it; zero fields do not. Times of tokens are kept in whole microseconds, and a
// policy counts no smaller ones.
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
	end := l.expires
	if p.MaxLifetime > 0 {
		if most := l.created + p.MaxLifetime.Microseconds(); end == noTime || most < end {
			end = most
		}
	}
	return end
}

// idle reports whether a token was not used for too long.
func (p Policy) idle(l *life, now int64) bool {
	return p.MaxIdle > 0 && now-max(l.created, l.used) >= p.MaxIdle.Microseconds()
}

// refuses returns the reason why a token cannot be used at a moment, "" if it
// can.
func (p Policy) refuses(l *life, now int64) Reason {
	against := evaluate(&facts{life: l, until: noTime, policy: p, now: now})
	return against.first()
}

// Status returns the status of a token at a moment: as Record.StatusAt, and
// expired also if the policy ends it or it was not used for too long.
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
type life struct {
	created, expires, notBefore, used int64

	inactive bool
}

const noTime = math.MinInt64

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
		created: micros(r.CreatedAt), expires: micros(r.ExpiresAt), notBefore: micros(r.NotBefore), used: micros(r.LastUsed()),
		inactive: r.Status != StatusActive,
	}
}
