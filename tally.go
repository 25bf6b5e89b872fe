package apitoken

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// reasons are all reasons for which a request is refused.
var reasons = [...]Reason{
	ErrNoToken, ErrMalformed, ErrUnknownToken, ErrWrongSecret, ErrRetired, ErrEnvironment, ErrDeactivated,
	ErrExpired, ErrIdle, ErrNotYetValid, ErrNetwork, ErrNoOwner, ErrPermission, ErrUnavailable,
}

// index returns the index of r, which is one of reasons.
func (r Reason) index() int { return slices.Index(reasons[:], r) }

// A tally counts refusals. It is striped, as a flood of them should not have all
// cores write to the same line of memory.
type tally [8]struct {
	counts [len(reasons)]atomic.Int64
	_      [64]byte
}

func (t *tally) add(r Reason) {
	t[rand.Uint32()%uint32(len(t))].counts[r.index()].Add(1)
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
