package apitoken

import (
	"slices"
	"sync/atomic"
	"time"
)

// reasons are all reasons for which a request is refused, the most frequent first.
var reasons = [...]Reason{
	ErrNoToken, ErrMalformed, ErrUnknownToken, ErrPermission, ErrWrongSecret, ErrRetired, ErrEnvironment, ErrDeactivated,
	ErrExpired, ErrIdle, ErrNotYetValid, ErrNetwork, ErrNoOwner, ErrUnavailable,
}

// index returns the index of r, which is one of reasons.
func (r Reason) index() int { return slices.Index(reasons[:], r) }

// A tally counts refusals. It is striped, as a flood of them should not have all
// cores write to the same line of memory.
type tally [8]struct {
	counts [len(reasons)]atomic.Int64
	_      [64]byte
}

// add counts a refusal at a moment, which tells the cores apart as well as a random
// number would and is there already. (The factor spreads clocks that do not tick
// every nanosecond.)
func (t *tally) add(r Reason, at time.Time) {
	stripe := uint32(at.Nanosecond()) * 0x9e3779b1 >> 29
	t[stripe].counts[r.index()].Add(1)
}

func (t *tally) counts() map[Reason]int64 {
	sum := make(map[Reason]int64, len(reasons))
	for i, r := range reasons {
		for s := range t {
			sum[r] += t[s].counts[i].Load()
		}
	}
	return sum
}
