package apitoken

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/usage"
)

// newUsageWriter returns what records uses in a store.
func newUsageWriter(store Toucher, accept []Source, timeout time.Duration) *usage.Writer {
	sources := append([]Source{Direct}, accept...)
	return usage.New(bulkhead.New("the store", timeout, 0), func(ctx context.Context, uses []usage.Use) error {
		list := make([]Use, len(uses))
		for i, u := range uses {
			list[i] = Use{ID: u.ID, Digest: slices.Clone(u.Digest[:]), Source: sources[u.Source], At: u.At, Address: u.Address}
		}
		return store.Touch(ctx, list)
	})
}

// useGrain is how exactly the moment of the last use is known.
const useGrain = 5 // seconds

// shouldRecord reports whether a use is to be recorded: it is the first of its five
// seconds, or by another secret or source than the one before.
func shouldRecord(n *node, secret int, source uint8, now time.Time) bool {
	use := now.Unix()/useGrain<<4 | int64(secret)<<3 | int64(source)
	if n.Mark.Load() == use { // only read, as a rule: writing would cost other cores their copy
		return false
	}
	n.Mark.Store(use)
	return true
}

// maxUses bounds Record.Uses: two secrets by the sources.
const maxUses = 2 * (1 + maxSources)

// AddUse merges a use into r.Uses as a [Toucher] must, and reports whether that
// changed anything. A newer use of the same secret by the same source wins;
// uses of a secret that r does not hold are ignored; what is left of earlier
// secrets goes first when there are more than sixteen. The result is a fresh slice.
func (r *Record) AddUse(u Use) bool {
	known := func(u Use) bool {
		return slices.ContainsFunc(r.Secrets, func(s SecretRecord) bool { return bytes.Equal(s.Digest, u.Digest) })
	}
	if u.ID != r.ID || !known(u) {
		return false
	}
	uses := slices.Clone(r.Uses)
	i := slices.IndexFunc(uses, func(o Use) bool { return bytes.Equal(o.Digest, u.Digest) && o.Source == u.Source })
	switch {
	case i < 0:
		uses = append(uses, u)
	case u.At.After(uses[i].At):
		uses[i] = u
	default:
		return false
	}
	slices.SortStableFunc(uses, func(a, b Use) int {
		if ka, kb := known(a), known(b); ka != kb {
			return map[bool]int{true: -1, false: 1}[ka]
		}
		return b.At.Compare(a.At)
	})
	r.Uses = uses[:min(len(uses), maxUses)]
	return true
}
