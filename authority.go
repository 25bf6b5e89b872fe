package apitoken

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Config says how an [Authority] is to work. Prefix, Permissions and Store are
// required. It is written with field names and read once, by [New].
type Config struct {
	_ [0]func() // keyed literals only; no ==

	// Prefix begins every token that is generated, followed by "_": 1 to 16 of
	// a-z, 0-9 and single underscores between them, a letter first. Choose one
	// that names the service, so that a leaked token can be traced to it, and
	// keep it: tokens with another prefix are not recognised.
	Prefix string

	// Permissions are all that the service knows. New closes the catalog.
	Permissions *Catalog

	// Store keeps the tokens.
	Store Store

	// Environment returns the environment that a request is about, for instance
	// from its host name; tokens of another one are refused. An error, a panic
	// or an empty text refuses with 503.
	//
	// Without it the environment of a request is that of its token: handlers
	// then must keep to the data of Token.Environment. A service with a single
	// environment generates all tokens in DefaultEnvironment.
	Environment func(*http.Request) (string, error)

	// ClientAddr returns the address that a request came from, for tokens that
	// are bound to networks and for events. An error or a panic refuses with
	// 503. Without it, it is the peer of the connection, http.Request.RemoteAddr,
	// which behind a proxy is the proxy.
	ClientAddr func(*http.Request) (netip.Addr, error)

	// Scheme is the authentication scheme; "" means "apiToken". Its case does
	// not matter in requests.
	Scheme string

	// AcceptBearer accepts the scheme Bearer as well.
	AcceptBearer bool

	// Parameter is the name of the query parameter; "" means "apiToken". Its
	// case matters.
	Parameter string

	// NoQueryToken turns the query parameter off: it has no meaning any more,
	// whatever it holds. Requirement.HeaderOnly refuses it on single routes.
	NoQueryToken bool

	// Realm is what challenges name; "" means "api".
	Realm string

	// RefusalBody replaces the problem document of refusals. Status and headers
	// (Content-Type aside) stay. If it panics the problem document is sent.
	RefusalBody func(r *http.Request, p Problem) (contentType string, body []byte)

	// Observe is told of every decision and every change, before a request goes
	// on and after a change was made. It is called from many goroutines, on the
	// request's own, and should return at once. If it panics about a request,
	// that is refused with 503. See LogEvents.
	Observe func(context.Context, Event)

	// OwnerPermissions returns what the owner of a token may do now: a request
	// may use no more, whatever is assigned to its token. It is asked for every
	// request with a valid token, and its answer is not cached. ErrNoOwner says
	// that there is no such user any more and refuses with 401; no permissions
	// at all refuse with 403; another error, a panic, or no answer within
	// OwnerTimeout with 503.
	OwnerPermissions func(ctx context.Context, environment, owner string) ([]Permission, error)

	// OwnerTimeout is how long a request waits for OwnerPermissions; 0 means 2
	// seconds.
	OwnerTimeout time.Duration

	// MaxLifetime and MaxIdle bound the life of all tokens, as [Policy] says.
	// 0 means no bound; MaxIdle is at least an hour and needs a Store that is a
	// Toucher.
	MaxLifetime time.Duration
	MaxIdle     time.Duration

	// IntegrityKeys authenticate the records in the store, so that whoever can write it but has
	// no key can neither make a token nor change one. The first key makes MACs, all
	// of them verify. With IntegrityKeys, a record without a MAC is refused with 503;
	// see Authority.Rekey.
	IntegrityKeys []Key

	// EncryptionKeys keep secrets, encrypted, so that their owners can see them again
	// with Manager.Reveal. The first key encrypts, all of them decrypt.
	EncryptionKeys []Key

	// ForeignTokens turns on tokens that an earlier system has issued.
	ForeignTokens ForeignTokens

	// Audit is asked before every change and every reveal, and an error stops
	// it: a ForbiddenError is returned as it is, any other as ErrUnavailable.
	// It must answer within StoreTimeout. Where somebody else changes the token
	// meanwhile it is asked again, about what would be written now, so that it may be
	// asked more than once for a change; of a deactivation only if the token was
	// deactivated meanwhile. Observe is told afterwards how it went.
	Audit func(context.Context, Event) error

	// StoreTimeout is how long a request or a change waits for the store; 0
	// means 2 seconds.
	StoreTimeout time.Duration

	// MaxStaleness is how old what a node has in memory about a token may be: a
	// change of a token that was acknowledged, by this node or another, holds
	// here for every request that begins more than MaxStaleness later, whatever
	// fails, and on the node that made it for every request that begins later at
	// all. Where the Store is a Watcher other nodes hear of it earlier, as a rule
	// within milliseconds. What is older when the store answers is asked for once
	// more and then refused with 503, so that MaxStaleness must be longer than that
	// takes. 0 means 1 second; see NoCache.
	MaxStaleness time.Duration

	// MaxCacheAge bounds how long what a node has in memory about a token is believed
	// without a new read of the store, however healthy the feed of a Watcher looks. So
	// even a change that the feed cannot report, such as tables that were restored or
	// changed while triggers were off, holds after MaxCacheAge. Each token is read again
	// at an age between half and the whole of it, so that the reads spread. If the store
	// does not answer then, requests are refused with 503. MaxCacheAge must not be less
	// than MaxStaleness. 0 means 1 minute, or MaxStaleness if that is longer.
	MaxCacheAge time.Duration

	// CacheEntries is how many tokens are kept in memory, at about 350 bytes for a
	// typical one and 5 KiB for the largest: it bounds their number, not their
	// bytes. 0 means 262,144.
	CacheEntries int

	// MaxConcurrentLookups is how many look-ups of tokens may run in the store at once,
	// and how many calls of OwnerPermissions; others wait for one to end, at
	// most for StoreTimeout or OwnerTimeout. 0 means 64. A quarter as many more
	// are kept for tokens that are in memory and have to be read anew, so that a
	// flood of unknown ones does not keep them waiting. As many calls of Managers
	// run in the store, and in Audit, an eighth as many lists, and besides a quarter
	// as many revocations, which so wait for none of the others.
	MaxConcurrentLookups int
}

// DefaultEnvironment is the environment of services that have only one.
const DefaultEnvironment = "default"

// NoCache is a Config.MaxStaleness: nothing is kept in memory, and the store is
// read for every request.
const NoCache time.Duration = -1

// The defaults of a Config.
const (
	defaultMaxStaleness         = time.Second
	defaultMaxCacheAge          = time.Minute
	defaultEntries              = 1 << 18
	defaultScheme               = "apiToken"
	defaultParameter            = "apiToken"
	defaultRealm                = "api"
	defaultTimeout              = 2 * time.Second
	defaultMaxConcurrentLookups = 64
)

// minStaleness is the least Config.MaxStaleness that New takes: a store on the same
// machine answers in some tenths of a millisecond.
const minStaleness = time.Millisecond

// An Authority verifies tokens and guards handlers; [Authority.As] manages
// tokens. It is made by [New], immutable, and safe for concurrent use. The
// zero Authority refuses everything.
type Authority struct {
	config      Config
	grammar     grammar
	catalog     *Catalog
	permissions map[string]*permission
	store       Store
	cancelable  bool // its Get returns when its context ends
	schemes     []scheme
	policy      Policy
	now         func() time.Time
	started     time.Time
	uses        *recorder // nil if the store is no Toucher
	cache       *cache    // nil with NoCache
	follower    *follower // nil without a cache, or if the store is no Watcher

	turns   turns
	blocks  blocks
	refused refusalCounters
	moves   atomic.Bool // WithoutQueryToken has moved a token into a context

	lookups, renewals, owners *gate
	lanes                     lanes
}

// New checks a configuration and makes an [Authority] of it. All mistakes are
// reported together; each is a [FieldError]. If there are none, New asks a Store
// that is a [KeyLister] which keys are in use, for StoreTimeout at most: it fails
// if the store does, and if a key is missing from IntegrityKeys or EncryptionKeys, also when
// those are empty. New closes the catalog and does not change c.
func New(c Config) (*Authority, error) { return newAuthority(c, time.Now) }

// newAuthority is New with a clock, which is read from the start on: readings of
// two clocks cannot be compared exactly, not even two of time.Now, as the wall and
// the monotonic part of each are read one after the other.
func newAuthority(c Config, now func() time.Time) (*Authority, error) {
	var found mistakes
	wrong := func(field, format string, args ...any) { found.field("Config."+field, format, args...) }
	if !prefixPattern.MatchString(c.Prefix) || len(c.Prefix) > 16 {
		wrong("Prefix", "%.40q is not 1 to 16 of a-z, 0-9 and single underscores between them, a letter first", c.Prefix)
	}
	if c.Permissions == nil {
		wrong("Permissions", "is missing")
	}
	if v := reflect.ValueOf(c.Store); !v.IsValid() {
		wrong("Store", "is missing")
	} else if v.Kind() == reflect.Pointer && v.IsNil() {
		wrong("Store", "is a nil %T: make one first", c.Store)
	}
	c.Scheme = cmp.Or(c.Scheme, defaultScheme)
	if !isToken(c.Scheme) {
		wrong("Scheme", "%.40q is not a token as RFC 9110 section 5.6.2 defines it", c.Scheme)
	}
	if slices.Contains([]string{"basic", "digest", "negotiate"}, lowerASCII(c.Scheme)) {
		wrong("Scheme", "%q has credentials of its own kind (RFC 7617, 7616, 4559), not a token", c.Scheme)
	}
	c.Parameter = cmp.Or(c.Parameter, defaultParameter)
	if strings.ContainsFunc(c.Parameter, func(c rune) bool { return c > '~' || !isAlnum(byte(c)) && !strings.ContainsRune("-._~", c) }) {
		wrong("Parameter", "%.40q contains a character that queries encode: use A-Z, a-z, 0-9 and -._~", c.Parameter)
	}
	c.Realm = cmp.Or(c.Realm, defaultRealm)
	for i := range len(c.Realm) {
		if c.Realm[i] < ' ' || c.Realm[i] > '~' {
			wrong("Realm", "%.40q contains a character outside printable ASCII", c.Realm)
			break
		}
	}
	if c.StoreTimeout < 0 {
		wrong("StoreTimeout", "is negative")
	}
	c.StoreTimeout = cmp.Or(c.StoreTimeout, defaultTimeout)
	if c.MaxStaleness < 0 && c.MaxStaleness != NoCache {
		wrong("MaxStaleness", "is negative")
	} else if 0 < c.MaxStaleness && c.MaxStaleness < minStaleness {
		wrong("MaxStaleness", "is %s: no store answers so soon, and every request would get 503; use %s at least, or NoCache", c.MaxStaleness, minStaleness)
	}
	c.MaxStaleness = cmp.Or(c.MaxStaleness, defaultMaxStaleness)
	if c.MaxCacheAge < 0 {
		wrong("MaxCacheAge", "is negative")
	} else if 0 < c.MaxCacheAge && c.MaxCacheAge < c.MaxStaleness {
		wrong("MaxCacheAge", "is %s, which is less than MaxStaleness, %s", c.MaxCacheAge, c.MaxStaleness)
	}
	c.MaxCacheAge = cmp.Or(c.MaxCacheAge, max(defaultMaxCacheAge, c.MaxStaleness))
	if c.CacheEntries < 0 {
		wrong("CacheEntries", "is negative")
	}
	c.CacheEntries = cmp.Or(c.CacheEntries, defaultEntries)
	if c.MaxConcurrentLookups < 0 {
		wrong("MaxConcurrentLookups", "is negative")
	}
	c.MaxConcurrentLookups = cmp.Or(c.MaxConcurrentLookups, defaultMaxConcurrentLookups)
	if c.OwnerTimeout < 0 {
		wrong("OwnerTimeout", "is negative")
	}
	c.OwnerTimeout = cmp.Or(c.OwnerTimeout, defaultTimeout)
	if c.MaxLifetime < 0 {
		wrong("MaxLifetime", "is negative")
	}
	toucher, touches := c.Store.(Toucher)
	switch {
	case c.MaxIdle != 0 && c.MaxIdle < minIdle:
		wrong("MaxIdle", "is less than an hour")
	case c.MaxIdle != 0 && c.Store != nil && !touches:
		wrong("MaxIdle", "needs a store that records when tokens are used")
	}
	if err := ring(c.IntegrityKeys).check(); err != nil {
		wrong("IntegrityKeys", "%v", err)
	}
	if err := ring(c.EncryptionKeys).check(); err != nil {
		wrong("EncryptionKeys", "%v", err)
	} else if k, shared := ring(c.EncryptionKeys).shares(c.IntegrityKeys); shared {
		wrong("EncryptionKeys", "contains %q, whose bytes are also in IntegrityKeys: a key has one purpose", k.id)
	}
	if f := c.ForeignTokens; f != (ForeignTokens{}) && (f.MinLen < minForeign || f.MaxLen < f.MinLen || f.MaxLen > maxText) {
		wrong("ForeignTokens", "does not have %d <= MinLen <= MaxLen <= %d", minForeign, maxText)
	}
	if found != nil {
		return nil, errors.Join(found...)
	}

	a := &Authority{
		config:      c,
		grammar:     grammar{c.Prefix + "_"},
		catalog:     c.Permissions,
		permissions: make(map[string]*permission),
		store:       c.Store,
		schemes:     []scheme{newScheme(c.Scheme, c.Realm)},
		policy:      Policy{c.MaxLifetime, c.MaxIdle},
		now:         now,
		started:     now(),

		lookups:  newGate("the store", c.StoreTimeout, c.MaxConcurrentLookups),
		renewals: newGate("the store", c.StoreTimeout, max(1, c.MaxConcurrentLookups/4)),
		owners:   newGate("Config.OwnerPermissions", c.OwnerTimeout, c.MaxConcurrentLookups),
		lanes:    newLanes(c.MaxConcurrentLookups, c.StoreTimeout),
	}
	a.config.IntegrityKeys, a.config.EncryptionKeys = slices.Clone(c.IntegrityKeys), slices.Clone(c.EncryptionKeys)
	if err := a.checkKeys(); err != nil {
		return nil, err
	}
	_, a.cancelable = c.Store.(Cancelable)
	if touches {
		a.uses = newRecorder(toucher.Touch, c.StoreTimeout)
	}
	if c.AcceptBearer && !strings.EqualFold(c.Scheme, "Bearer") {
		a.schemes = append(a.schemes, newScheme("Bearer", c.Realm))
	}
	for _, p := range c.Permissions.close(caller()) {
		a.permissions[p.name] = p
	}
	if c.MaxStaleness != NoCache {
		a.cache = newCache(c.MaxStaleness, c.MaxCacheAge, c.CacheEntries, a.started)
		if w, ok := c.Store.(Watcher); ok {
			a.follower = follow(a, w)
		}
	}
	return a, nil
}

// checkKeys asks the store for the keys that it needs.
func (a *Authority) checkKeys() error {
	lister, ok := a.store.(KeyLister)
	if !ok {
		return nil
	}
	var macs, secrets map[string]int
	_, err := storeCall(context.Background(), a, func(ctx context.Context) (_ struct{}, err error) {
		macs, secrets, err = lister.KeysInUse(ctx)
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("apitoken: asking the store for the keys in use: %w", err)
	}
	var found mistakes
	if err := ring(a.config.IntegrityKeys).missing(macs, "records"); err != nil {
		found.field("Config.IntegrityKeys", "%v", err)
	}
	if err := ring(a.config.EncryptionKeys).missing(secrets, "secrets"); err != nil {
		found.field("Config.EncryptionKeys", "%v", err)
	}
	return errors.Join(found...)
}

// Close ends what runs in the background, and writes what is still to be recorded
// about the use of tokens; each may take as long as Config.StoreTimeout. The store
// stays open: it belongs to whoever opened it, and has to be closed after this.
// Requests that come later are judged as before, but their use is not recorded,
// and changes on other nodes take as long as Config.MaxStaleness to be seen.
func (a *Authority) Close() error {
	if !a.ready() {
		return nil
	}
	var errs [2]error
	a.blocks.close(a.config.StoreTimeout)
	if a.follower != nil {
		errs[0] = a.follower.close(a.config.StoreTimeout)
	}
	if a.uses != nil {
		errs[1] = a.uses.close()
	}
	return errors.Join(errs[:]...)
}

// Catalog returns the catalog of the Config, nil for the zero Authority.
func (a *Authority) Catalog() *Catalog {
	if !a.ready() {
		return nil
	}
	return a.catalog
}

// Format writes "apitoken.Authority" and the prefix, for every verb, and nothing
// of what an Authority holds.
func (a *Authority) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "apitoken.Authority(%s)", a.config.Prefix)
}

// Policy returns the policy of the Config: MaxLifetime and MaxIdle.
func (a *Authority) Policy() Policy {
	if !a.ready() {
		return Policy{}
	}
	return a.policy
}

// clock returns a moment as it is judged, in microseconds since 1970: by the wall
// clock, but no less than has passed by the monotonic one since New, so that a
// wall clock that is set back brings no expired token back to life.
func (a *Authority) clock(now time.Time) int64 {
	return max(now.UnixNano(), a.started.UnixNano()+int64(now.Sub(a.started))) / 1000
}
