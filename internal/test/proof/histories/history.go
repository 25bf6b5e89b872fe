// Package histories shows that a node enforces what it has acknowledged: workers
// change and verify the same tokens at the same time, each operation notes when
// it was called and when it returned, and what they saw is checked for an order
// that explains it (linearizability, Herlihy and Wing 1990).
//
// Two checkers look: an exact one that uses the versions of tokens, fast enough
// for any number of operations, and Porcupine, which knows nothing of versions
// and also takes changes whose outcome is unknown.
package histories

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apitoken-go/apitoken"
)

type kind uint8

const (
	verify kind = iota
	generate
	activate
	deactivate
	rotate  // the old secret is refused from now on
	overlap // rotate, and both are good
	keepNew
	keepOld
	remove
	limit   // to some permissions and objects
	present // a derived token, or its parent, on one of the nodes
)

func (k kind) String() string {
	return [...]string{"verify", "generate", "activate", "deactivate", "rotate", "rotate with overlap", "keep new", "keep old", "delete", "limit", "present"}[k]
}

// An outcome is what a caller was told.
type outcome uint8

const (
	done     outcome = iota // changed, or so already
	accepted                // verify: the rest are refusals, and why
	sawUnknown
	sawWrong
	sawRetired
	sawInactive
	sawNotFound // changes: the rest are why not
	sawForbidden
	sawRotating
	sawNotRotating
	sawExpired // present: the rest of its refusals
	sawNoOwner
	sawMissing
	sawOutside
	unknown // nobody knows whether it was changed
	nothing // nothing was learnt
)

func (o outcome) String() string {
	return [...]string{"done", "accepted", "unknown token", "wrong secret", "retired secret", "deactivated",
		"not found", "forbidden", "rotating", "not rotating",
		"expired", "no owner", "missing permission", "another object", "outcome unknown", "no answer"}[o]
}

// An op is one operation on a token. Call and ret are nanoseconds of a clock that shows no
// moment twice.
type op struct {
	call, ret int64
	version   int64 // that a change made or found
	kind      kind
	outcome   outcome
	secret    int16 // presented, or made: secrets are numbered by their token
	own       bool  // verify, present: on the node that makes the changes
	reach     reach // generate, limit: what the token has then; present: what the route requires
	claims    claims
}

func (o op) String() string {
	text := fmt.Sprintf("[%d %d] %v secret %d: %v, version %d", o.call, o.ret, o.kind, o.secret, o.outcome, o.version)
	if o.kind == present {
		text += fmt.Sprintf(", on the node of the changes: %v, for %+v with %+v", o.own, o.reach, o.claims)
	}
	return text
}

const never = math.MaxInt64

// A state is what a token is at one moment, as far as operations see it.
type state struct {
	deleted  bool
	inactive bool
	current  int16
	old      int16 // -1: none
	overlap  bool  // old is good, too
	kept     kind  // of the last overlap that was ended: keepNew or keepOld
	reach    reach

	retired [8]int16 // what older rotations have replaced, the newest first: 1 and the secret, 0 for none

	// A deactivation, or a deletion, came to no answer and may be made from then on.
	mayStop, mayVanish bool
}

var fresh = state{old: -1, kept: keepNew}

// sees returns what an operation sees of a token in this state.
func (s state) sees(o op) outcome {
	k, secret := o.kind, o.secret
	switch {
	case s.deleted && k == verify:
		return sawUnknown
	case s.deleted:
		return sawNotFound
	}
	switch k {
	case verify:
		switch {
		case secret == s.old && !s.overlap, slices.Contains(s.retired[:], 1+secret):
			return sawRetired
		case secret != s.current && secret != s.old:
			return sawWrong
		case s.inactive:
			return sawInactive
		}
		return accepted
	case rotate, overlap:
		switch {
		case s.inactive:
			return sawForbidden
		case s.overlap:
			return sawRotating
		}
	case keepNew, keepOld:
		switch {
		case s.old < 0, !s.overlap && s.kept != k:
			return sawNotRotating
		}
	}
	return done
}

// after returns the state after a change that is done.
func (s state) after(o op) state {
	switch k := o.kind; k {
	case activate:
		s.inactive = false
	case deactivate:
		s.inactive = true
	case rotate, overlap:
		if s.old >= 0 {
			copy(s.retired[1:], s.retired[:])
			s.retired[0] = 1 + s.old
		}
		s.old, s.current, s.overlap, s.kept = s.current, o.secret, k == overlap, keepNew
	case keepNew, keepOld:
		if s.overlap && k == keepOld {
			s.old, s.current, s.kept = s.current, s.old, keepOld
		}
		s.overlap = false
	case remove:
		s.deleted = true
	case limit:
		s.reach = o.reach
	}
	return s
}

// revoked returns the state, and those that it becomes if what may be made is made now.
func (s state) revoked() []state {
	states := []state{s}
	if s.mayStop && !s.deleted && !s.inactive {
		states = append(states, s.after(op{kind: deactivate}))
	}
	if s.mayVanish && !s.deleted {
		states = append(states, s.after(op{kind: remove}))
	}
	return states
}

// outcomeOf reads the error of an operation.
func outcomeOf(k kind, err error) outcome {
	_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
	switch {
	case err == nil && (k == verify || k == present):
		return accepted
	case err == nil:
		return done
	case errors.Is(err, apitoken.ErrUnavailable) && (k == verify || k == present), errors.Is(err, apitoken.ErrConflict):
		return nothing
	case errors.Is(err, apitoken.ErrUnavailable):
		return unknown
	case errors.Is(err, apitoken.ErrUnknownToken):
		return sawUnknown
	case errors.Is(err, apitoken.ErrWrongSecret):
		return sawWrong
	case errors.Is(err, apitoken.ErrRetiredSecret):
		return sawRetired
	case errors.Is(err, apitoken.ErrDeactivated):
		return sawInactive
	case errors.Is(err, apitoken.ErrExpired):
		return sawExpired
	case errors.Is(err, apitoken.ErrNoOwner):
		return sawNoOwner
	case errors.Is(err, apitoken.ErrMissingPermission):
		return sawMissing
	case errors.Is(err, apitoken.ErrResourceNotAllowed):
		return sawOutside
	case errors.Is(err, apitoken.ErrNotFound):
		return sawNotFound
	case errors.Is(err, apitoken.ErrRotating):
		return sawRotating
	case errors.Is(err, apitoken.ErrNotRotating):
		return sawNotRotating
	case forbidden:
		return sawForbidden
	}
	panic(fmt.Sprintf("%v: %v", k, err))
}
