package apitoken

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken/internal/blocks"
	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/cursor"
	"github.com/apitoken-go/apitoken/internal/derived"
	"github.com/apitoken-go/apitoken/internal/feed"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/lookup"
	"github.com/apitoken-go/apitoken/internal/turns"
	"github.com/apitoken-go/apitoken/internal/upkeep"
	"github.com/apitoken-go/apitoken/internal/usage"
)

// An Authority verifies tokens and guards handlers; [Authority.As] manages tokens. [New]
// makes it. It is immutable and safe for concurrent use. The zero Authority refuses
// everything.
type Authority struct {
	config      Config
	clock       clock
	credentials *credential.Reader
	decider     decider
	refuser     refuser
	application application
	rows        rows
	cursors     cursor.Codec
	lanes       lanes
	turns       turns.Turns
	blocks      blocks.Blocks
	deleted     atomic.Int64                    // how many tokens, see purgeEvery
	uses        *usage.Writer                   // nil if the store is no Toucher
	follower    *feed.Follower[plain, pointers] // nil without a cache, or if the store is no Watcher
	upkeep      *upkeep.Worker[Record]          // nil without Config.Notify and Config.KeepExpired
}

// New checks a configuration and returns an Authority. It reports all mistakes together;
// each is a [FieldError]. Without mistakes, New asks a Store that is a [Scanner] which
// keys are in use, for at most StoreTimeout. It fails if the store fails, or if
// IntegrityKeys or EncryptionKeys lack a key that is in use. New closes the catalog and
// does not change c.
func New(c Config) (*Authority, error) { return newAuthority(c, time.Now) }

// newAuthority is New with a clock, which is read from the start on: readings of
// two clocks cannot be compared exactly, not even two of time.Now, as the wall and
// the monotonic part of each are read one after the other.
func newAuthority(c Config, now func() time.Time) (*Authority, error) {
	c, err := c.checked()
	if err != nil {
		return nil, err
	}
	store := func(slots int) *bulkhead.Bulkhead { return bulkhead.New("the store", c.StoreTimeout, slots) }
	records := records{sealer{ring(c.IntegrityKeys), ring(c.EncryptionKeys)}, &c.Permissions.catalog}
	a := &Authority{
		config:  c,
		clock:   clock{now, now()},
		rows:    rows{records: records, store: c.Store},
		cursors: cursor.Codec{Keys: records.integrity, Prefix: c.Prefix + "_"},
		lanes:   newLanes(c.MaxConcurrentLookups, c.StoreTimeout),
	}
	a.rows.calls = a.lanes.others.store
	if err := a.rows.checkKeys(); err != nil {
		return nil, err
	}
	c.Permissions.catalog.Close(caller())
	if c.MaxStaleness != NoCache {
		a.rows.cache = cache.New[plain, pointers](c.MaxStaleness, c.MaxCacheAge, c.CacheEntries, a.clock.started)
	}
	counter, _ := c.Store.(Counter)
	_, cancelable := c.Store.(interface{ Cancelable() })
	a.application = application{
		config: &a.config,
		owners: bulkhead.NewShared[[]Permission](bulkhead.New("Config.OwnerPermissions", c.OwnerTimeout, c.MaxConcurrentLookups)),
	}
	codec := grammar.New(c.Prefix, c.ForeignTokens.MinLen, c.ForeignTokens.MaxLen)
	a.decider = decider{
		clock:       a.clock,
		grammar:     codec,
		policy:      Policy{c.MaxLifetime, c.MaxIdle},
		rows:        a.rows,
		application: a.application,
		blocks:      &a.blocks,
		derived:     derived.New(codec, c.Prefix, records.integrity),
		limits:      [2]limit.Rate{limit.Limit(c.Limits.Token).Rate(), limit.Limit(c.Limits.Owner).Rate()},
		limiter:     limit.New(func() time.Duration { return now().Sub(a.clock.started) }, counter, c.StoreTimeout),
	}
	a.decider.lookup = lookup.Reader[plain, pointers]{
		Cache: a.rows.cache, Now: now, Cancelable: cancelable, Read: a.decider.read, Gone: ErrNotFound, Holder: ownerOf,
		Lookups: store(c.MaxConcurrentLookups), Renewals: store(max(1, c.MaxConcurrentLookups/2)),
	}
	lost := func(action Action) func(context.Context, error) {
		return func(ctx context.Context, err error) {
			_ = a.application.observe(ctx, &Event{Time: now(), Action: action, Reason: ErrUnavailable, Err: err})
		}
	}
	a.decider.limiter.Lost = lost(actionLimits)
	a.credentials = credential.New(a.decider.grammar, texts(c.Accept), c.AcceptFirst)
	a.refuser.prepare(a.credentials, c.Realm)
	if t, ok := c.Store.(Toucher); ok {
		a.uses = newUsageWriter(t, c.Accept, c.StoreTimeout)
	}
	if w, ok := c.Store.(Watcher); ok && a.rows.cache != nil {
		a.follower = &feed.Follower[plain, pointers]{
			Cache: a.rows.cache, Now: now,
			Watch: func(ctx context.Context, f *feed.Feed[plain, pointers]) error { return w.Watch(ctx, f) },
			Lost:  lost(actionWatch),
		}
		a.follower.Follow()
	}
	a.upkeep = startUpkeep(a)
	return a, nil
}

// Accepted returns where a request may carry a token: Config.Accept, or its default.
func (a *Authority) Accepted() []Source {
	if !a.ready() {
		return nil
	}
	return slices.Clone(a.config.Accept)
}

// ready reports whether a was made by New.
func (a *Authority) ready() bool { return a != nil && a.config.Store != nil }

// Close stops the work in the background and writes the last uses that are pending; each
// may take as long as Config.StoreTimeout. Close the store after it. Later requests are
// still decided, but their uses are not recorded, and changes by other nodes are seen
// only after Config.MaxStaleness.
func (a *Authority) Close() error {
	if !a.ready() {
		return nil
	}
	var feed, uses error
	a.upkeep.Close(a.config.StoreTimeout)
	a.blocks.Close(a.config.StoreTimeout)
	a.decider.limiter.Close()
	if a.follower != nil {
		feed = a.follower.Close(a.config.StoreTimeout)
	}
	if a.uses != nil {
		uses = a.uses.Close()
	}
	return errors.Join(feed, uses)
}

// Catalog returns the catalog of the Config, nil for the zero Authority.
func (a *Authority) Catalog() *Catalog {
	if !a.ready() {
		return nil
	}
	return a.config.Permissions
}

// Format writes "apitoken.Authority" and the prefix for every verb, and none of the
// contents of an Authority.
func (a *Authority) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "apitoken.Authority(%s)", a.config.Prefix)
}

// Policy returns the policy of the Config: MaxLifetime and MaxIdle.
func (a *Authority) Policy() Policy {
	if !a.ready() {
		return Policy{}
	}
	return a.decider.policy
}

// Limits returns the Limits of the Config.
func (a *Authority) Limits() Limits {
	if !a.ready() {
		return Limits{}
	}
	return a.config.Limits
}

// Routes returns a recorder for mux. Register routes with it while the program starts;
// afterwards many goroutines may read its table.
func (a *Authority) Routes(mux interface{ Handle(string, http.Handler) }) *Routes {
	return &Routes{a: a, mux: mux}
}

// IDOf returns the ID in the text of a token, of a derived one that of its parent. ok is
// false if no token of this Authority can have that text. IDOf does not ask the store:
// there may be no such token.
func (a *Authority) IDOf(secret Secret) (id string, ok bool) {
	if !a.ready() {
		return "", false
	}
	return a.decider.grammar.IDOf(secret.Reveal())
}

// Stats returns the counters of the Authority. It is cheap enough to be called every
// second. docs/operating.md says what to watch; adapters/prometheus and adapters/otel
// export it.
func (a *Authority) Stats() Stats {
	var s Stats
	if !a.ready() {
		return s
	}
	if a.uses != nil {
		s.UsesDropped = a.uses.Dropped()
	}
	s.Refused = a.refuser.counts.counts()
	c := a.rows.cache
	if c == nil {
		return s
	}
	in := c.Stats(c.Instant(a.clock.now()))
	s.CacheEntries, s.Misses, s.Expired, s.Evictions = in.Entries, in.Misses, in.Expired, in.Evictions
	s.Invalidations, s.Resets, s.Feed, s.FeedAge = in.Invalidations, in.Resets, in.Feed, in.FeedAge
	return s
}

// Stats are counters for operators. They count since New, except the first three.
type Stats struct {
	CacheEntries int64 // tokens in memory now

	// Feed says whether the Store reports changes. FeedAge is the age of its last report
	// that all changes were passed on. Much more than Config.MaxStaleness/4 means that the
	// feed hangs or was lost; tokens are then read again after each MaxStaleness.
	Feed    bool
	FeedAge time.Duration

	// Lookups in the store: of tokens that were not in memory, and of tokens whose copy in
	// memory was too old.
	Misses, Expired int64

	Evictions     int64 // of tokens from memory, because there were too many
	Invalidations int64 // changes of tokens, of this node or reported by the feed
	Resets        int64 // how often the feed began; after that each token is read again

	// Refused counts the refusals for every reason.
	Refused map[Reason]int64

	// UsesDropped is the number of uses that were not recorded, because the store was too
	// slow or failed, or because the Authority was closed.
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

// A clock tells the time by which tokens are judged.
type clock struct {
	now     func() time.Time
	started time.Time // by now
}

// micros returns a reading of the clock in microseconds since 1970: by the wall
// clock, but no less than has passed by the monotonic one since New, so that a
// wall clock that is set back brings no expired token back to life.
func (c *clock) micros(now time.Time) int64 {
	return max(now.UnixNano(), c.started.UnixNano()+int64(now.Sub(c.started))) / 1000
}
