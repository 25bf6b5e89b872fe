package apitoken

import (
	"sync/atomic"
	"time"
)

// Stats are what operators look at: counts since New, but for the first three.
type Stats struct {
	CacheEntries int64 // tokens in memory now

	// Feed is whether changes were reported by the Store; FeedAge is how long ago
	// everything had been: much more than Config.MaxStaleness/4 says that the feed
	// hangs or was lost, and that tokens are read anew after each MaxStaleness.
	Feed    bool
	FeedAge time.Duration

	// Look-ups that went to the store: of tokens that were not in memory, and of
	// tokens that were, but had become too old.
	Misses, Expired int64

	Evictions     int64 // of tokens from memory, because there were too many
	Invalidations int64 // changes of tokens, of this node or reported by the feed
	Resets        int64 // how often the feed began, which empties the memory

	// Refused counts the refusals, for every reason that there is.
	Refused map[Reason]int64

	// UsesDropped is how many uses of tokens were not recorded, because the
	// store was too slow or failed, or the Authority was closed.
	UsesDropped int64
}

// refusalCounters count refusals by reason.
type refusalCounters [len(reasons)]atomic.Int64

func (c *refusalCounters) add(r Reason) { c[r.index()].Add(1) }

func (c *refusalCounters) counts() map[Reason]int64 {
	counts := make(map[Reason]int64, len(reasons))
	for i := range reasons {
		counts[reasons[i].reason] = c[i].Load()
	}
	return counts
}
