package apitoken

import (
	"cmp"
	"context"
	"errors"
	"slices"
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

// A PolicyPreview says whom a policy would stop.
type PolicyPreview struct {
	Tokens []*TokenInfo // oldest first
	Owners []string     // of these, sorted
}

// PreviewPolicy returns the tokens of the environment that could no longer be
// used if p were in force, and can be used, or will be, as things are. It needs
// ManageOthers and reads all tokens of the environment.
func (m *Manager) PreviewPolicy(ctx context.Context, p Policy) (*PolicyPreview, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	if !m.actor.ManageOthers {
		return nil, &ForbiddenError{Rule: "you may not see the tokens of others"}
	}
	if p.MaxLifetime < 0 || p.MaxIdle < 0 {
		return nil, &FieldError{"policy", "is negative"}
	}
	now := m.a.clock.micros(m.a.clock.now())
	preview := new(PolicyPreview)
	stops := func(p Policy, r *row) bool {
		l := r.rec.life()
		reason := p.refuses(&l, now)
		return reason != "" && reason != ErrNotYetValid
	}
	q := Query{Environment: m.actor.Environment, Order: ByCreated, Limit: maxLimit}
	for {
		rows, page, err := m.page(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.wrong == nil && stops(p, r) && !stops(m.a.decider.policy, r) {
				preview.Tokens = append(preview.Tokens, m.info(r))
				preview.Owners = append(preview.Owners, r.rec.Owner)
			}
		}
		next := page.Next
		if next == nil {
			break
		}
		if q.After != nil && cmp.Or(next.Time.Compare(q.After.Time), cmp.Compare(next.ID, q.After.ID)) <= 0 {
			return nil, unavailable(errors.New("apitoken: the store lists in circles"))
		}
		q.After = next
	}
	slices.Sort(preview.Owners)
	preview.Owners = slices.Compact(preview.Owners)
	return preview, nil
}
