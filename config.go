package apitoken

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/limit"
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

	// Accept has the ways by which a request may present a token, at most seven. Nothing
	// else of a request is looked at. nil means the header field
	// "Authorization: apiToken <token>" and the query parameter apiToken:
	//
	//	[]apitoken.Source{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken")}
	//
	// A list without a parameter turns tokens in the query off; Requirement.HeaderOnly
	// refuses them on single routes.
	Accept []Source

	// AcceptFirst makes the first of several credentials count, in the order of Accept, as
	// in services where a header overrules the query. Without it a request with several is
	// malformed. One that stands twice in the same place always is.
	AcceptFirst bool

	// Realm is what challenges name; "" means "api".
	Realm string

	// RefusalBody replaces the problem document of refusals. Status and headers
	// (Content-Type aside) stay. If it panics the problem document is sent.
	RefusalBody func(r *http.Request, p Problem) (contentType string, body []byte)

	// Observe is told of every decision and every change, before a request goes
	// on and after a change was made. It is called from many goroutines, on the
	// request's own and, about the feed and about revocations that are tried again, on
	// others, and should return at once. If it panics about a request,
	// that is refused with 503. See LogEvents.
	Observe func(context.Context, Event)

	// OwnerPermissions returns what the owner of a token may do now: a request
	// may use no more, whatever is assigned to its token. It is asked for every
	// request with a valid token, and its answer is not cached. Requests of one owner
	// that wait for a slot, see MaxConcurrentLookups, ask together, with the values of
	// the context of one of them. ErrNoOwner says
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

	// Limits bound how many requests with a token, and with all tokens of an owner, are
	// accepted; more are refused with 429. A token may have a tighter limit of its own, which
	// counts also without Limits. Where the Store is a Counter, nodes share the limits; with
	// others each node has them for itself. docs/limits.md has the bounds.
	Limits Limits

	// IntegrityKeys authenticate the records in the store, so that someone who can write it but has
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

	// KeepDeleted is how long what is known of a deleted token, but for its secrets, is kept
	// at least, for those who could manage it and so that it cannot be imported again; see
	// Manager.Delete and Manager.Purge. 0 means 30 days; negative keeps nothing.
	KeepDeleted time.Duration

	// KeepExpired is how long a token is kept after its own expiry; then it is deleted, by
	// "Config.KeepExpired". Audit is asked, and can keep it. 0 keeps all. A token that
	// somebody else than its owner has deactivated stays where tokens can be imported. It
	// needs a Store that is a Scanner; see Notify.
	KeepExpired time.Duration

	// Notify is told what somebody should know of a token, to send an e-mail for instance:
	// "expiring", 30, 7 and 1 days before a token expires that was to live for longer;
	// "expired"; "reuse", when a secret that was rotated away is presented, at most once a
	// day for each token. Event.After is the token. Inactive tokens do not expire.
	//
	// Of all nodes on a store one tells of each notice, once. If Notify fails, panics, or
	// does not return within a minute, or if the node ends before the store knows that
	// Notify has returned, it is told again, by the next node that looks ten minutes later
	// or after that: twice, but not never. After a week a notice is dropped. Observe is
	// told of each call.
	//
	// With Notify or KeepExpired each node looks at all tokens once an hour, with
	// Scanner.Scan, and also purges deleted ones after KeepDeleted.
	Notify func(context.Context, Event) error

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
	// most for StoreTimeout or OwnerTimeout. 0 means 64. Half as many more
	// are kept for tokens that are in memory and have to be read anew, so that a
	// flood of unknown ones does not keep them waiting. As many calls of Managers
	// run in the store, and in Audit, an eighth as many lists, and besides a quarter
	// as many revocations and rotations, which so wait for none of the others.
	//
	// Of each of these, one owner or actor has a quarter at most, or two if that is
	// more; of look-ups of a token whose owner is not known yet, the token.
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
	defaultRealm                = "api"
	defaultTimeout              = 2 * time.Second
	defaultKeepDeleted          = 30 * 24 * time.Hour
	defaultMaxConcurrentLookups = 64
)

// minStaleness is the least Config.MaxStaleness that New takes: a store on the same
// machine answers in some tenths of a millisecond.
const minStaleness = time.Millisecond

// checked returns a Config with its defaults, or all that is wrong with it.
func (c Config) checked() (Config, error) {
	var found mistakes
	wrong := func(field, format string, args ...any) { found.field("Config."+field, format, args...) }
	if !grammar.ValidPrefix(c.Prefix) {
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
	if c.Accept == nil {
		c.Accept = []Source{Scheme(defaultScheme), QueryParameter(defaultScheme)}
	}
	c.Accept = slices.Clone(c.Accept)
	for _, mistake := range credential.Check(texts(c.Accept)) {
		wrong("Accept", "%s", mistake)
	}
	c.Realm = cmp.Or(c.Realm, defaultRealm)
	for i := range len(c.Realm) {
		if c.Realm[i] < ' ' || c.Realm[i] > '~' {
			wrong("Realm", "%.40q contains a character outside printable ASCII", c.Realm)
			break
		}
	}
	c.KeepDeleted = cmp.Or(c.KeepDeleted, defaultKeepDeleted)
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
	for name, l := range map[string]Limit{"Token": c.Limits.Token, "Owner": c.Limits.Owner} {
		if err := limit.Limit(l).Check(); err != nil {
			wrong("Limits."+name, "%v", err)
		}
	}
	_, touches := c.Store.(Toucher)
	switch {
	case c.MaxIdle != 0 && c.MaxIdle < minIdle:
		wrong("MaxIdle", "is less than an hour")
	case c.MaxIdle != 0 && c.Store != nil && !touches:
		wrong("MaxIdle", "needs a store that records when tokens are used")
	}
	if c.KeepExpired < 0 {
		wrong("KeepExpired", "is negative")
	}
	if _, scans := c.Store.(Scanner); c.Store != nil && !scans && (c.Notify != nil || c.KeepExpired > 0) {
		wrong("Store", "is no Scanner, which Notify and KeepExpired need: they read it from end to end")
	}
	if err := ring(c.IntegrityKeys).Check(); err != nil {
		wrong("IntegrityKeys", "%v", err)
	}
	if err := ring(c.EncryptionKeys).Check(); err != nil {
		wrong("EncryptionKeys", "%v", err)
	} else if id, shared := ring(c.EncryptionKeys).Shares(ring(c.IntegrityKeys)); shared {
		wrong("EncryptionKeys", "contains %q, whose bytes are also in IntegrityKeys: a key has one purpose", id)
	}
	if f := c.ForeignTokens; f != (ForeignTokens{}) && (f.MinLen < grammar.MinForeign || f.MaxLen < f.MinLen || f.MaxLen > grammar.MaxText) {
		wrong("ForeignTokens", "does not have %d <= MinLen <= MaxLen <= %d", grammar.MinForeign, grammar.MaxText)
	}
	return c, errors.Join(found...)
}

// A Source is a way by which a token is presented. [Config].Accept has those that are
// read; the one by which a token came is recorded with its use, and is its text in logs,
// in the JSON API and in stores.
type Source string

// Direct is the Source of what does not come by [http.Request]; see [Authority.Verify].
const Direct Source = "direct"

// Scheme is the field Authorization with this authentication scheme, followed by spaces
// and the token. The case of the name does not matter in requests.
func Scheme(name string) Source { return Source(credential.Authorization + name) }

// Bearer is Scheme("Bearer"). JWTs and other texts that cannot be tokens of the service
// are not looked at, so that another login can take them.
func Bearer() Source { return Scheme("Bearer") }

// BasicPassword is the field Authorization with the scheme Basic (RFC 7617), for programs
// such as git that know user names and passwords only: the token is the password, and the
// user name is not looked at. Other passwords are not looked at either, so that another
// login can take them. A token as user name is not accepted.
func BasicPassword() Source { return Scheme("Basic") }

// BasicOwnerPassword is BasicPassword, where the user name has to be the owner of the
// token.
func BasicOwnerPassword() Source { return Scheme("Basic") + credential.OwnerName }

// HeaderField is a header field that has the token and nothing else, such as X-API-Key.
func HeaderField(name string) Source { return Source(http.CanonicalHeaderKey(name) + ":") }

// QueryParameter is a parameter of the query, whose name is compared with its case. URLs
// end up in logs and histories: see [Authority.HideQueryToken] and [Requirement.HeaderOnly].
func QueryParameter(name string) Source { return Source("?" + name) }

// Place returns where a Source is in a request: "header" with the name of the field, and
// with the scheme if that is Authorization; or "query" with the name of the parameter.
// All are empty for Direct.
func (s Source) Place() (in, name, scheme string) { return credential.Place(string(s)) }

// texts returns the texts of sources.
func texts(sources []Source) []string {
	list := make([]string, len(sources))
	for i, s := range sources {
		list[i] = string(s)
	}
	return list
}

// A Limit allows Requests per Per in the long run, and Burst of them at once: in every
// window of length t at most Burst + t·Requests/Per. The zero Limit allows everything.
// Requests and Burst are at most 1,000,000,000, Per is 1 ms to 366 days.
type Limit struct {
	Requests int
	Per      time.Duration
	Burst    int // 0: as many requests as come back in a second, and at least one
}

// String returns the Limit as in "100/1m0s", or "100/1m0s/20" with a Burst; "" for the zero Limit.
func (l Limit) String() string { return limit.Limit(l).String() }

// Limits bound how many requests are accepted, see Config.Limits. Zero fields do not.
type Limits struct {
	Token Limit // of each token; it may have a tighter one of its own
	Owner Limit // of all tokens of an owner together
}
