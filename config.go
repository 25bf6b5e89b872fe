package apitoken

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/limit"
)

// Config configures an [Authority]. Prefix, Permissions and Store are required. Write it
// with field names. [New] reads it once.
type Config struct {
	_ [0]func() // keyed literals only; no ==

	// Prefix begins every generated token, followed by "_": 1 to 16 of a-z, 0-9 and
	// single underscores between them, beginning with a letter. Choose one that names
	// the service, so that people who find a leaked token know where it belongs. Do not
	// change it: tokens with another prefix are not recognized.
	Prefix string

	// Permissions are all permissions of the service. New closes the catalog.
	Permissions *Catalog

	// Store stores the tokens.
	Store Store

	// Environment returns the environment of a request, for instance from its host name.
	// Tokens of other environments are refused. An error, a panic or an empty text
	// refuses the request with 503.
	//
	// Without it, the environment of a request is that of its token, and handlers must
	// restrict themselves to the data of Token.Environment. A service with a single
	// environment generates all tokens in DefaultEnvironment.
	Environment func(*http.Request) (string, error)

	// ClientAddr returns the address of the client, for tokens with an IP allowlist and
	// for events. An error or a panic refuses the request with 503. Without it, the
	// address is http.Request.RemoteAddr, which behind a proxy is that of the proxy.
	ClientAddr func(*http.Request) (netip.Addr, error)

	// Accept lists the places where a request may carry a token, at most seven. The
	// library looks at nothing else. nil means the header field
	// "Authorization: apiToken <token>" and the query parameter apiToken:
	//
	//	[]apitoken.Source{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken")}
	//
	// A list without a parameter turns tokens in the query off. Requirement.HeaderOnly
	// refuses them on single routes.
	Accept []Source

	// AcceptFirst uses the first of several credentials, in the order of Accept, as
	// services do where a header overrides the query. Without it, a request with several
	// credentials is malformed. Two credentials in the place that counts always are.
	AcceptFirst bool

	// Realm is the realm of challenges. "" means "api".
	Realm string

	// RefusalBody replaces the problem document of refusals. Status and header fields
	// other than Content-Type stay. If it panics, the problem document is sent.
	RefusalBody func(r *http.Request, p Problem) (contentType string, body []byte)

	// Observe is called with every decision, before the request continues, and after
	// every change. Many goroutines call it: that of the request, and others in the
	// background. It should return at once. If it panics in a
	// request, the request is refused with 503. See LogEvents.
	Observe func(context.Context, Event)

	// OwnerPermissions returns the permissions that the owner of a token has now. A
	// request may use no others, even if its token has them. It is called for every
	// request with a valid token. Its answer is not cached, but requests of one owner
	// that wait for a slot (MaxConcurrentLookups) share one call, with the context
	// values of one of them.
	//
	// ErrNoOwner means that the user no longer exists: 401. No permissions at all
	// refuse with 403. Another error, a panic, or no answer within OwnerTimeout
	// refuses with 503.
	OwnerPermissions func(ctx context.Context, environment, owner string) ([]Permission, error)

	// OwnerTimeout is how long a request waits for OwnerPermissions. 0 means 2 seconds.
	OwnerTimeout time.Duration

	// MaxLifetime and MaxIdle limit the life of all tokens, see [Policy]. 0 means no
	// limit. MaxIdle is at least an hour and needs a Store that is a Toucher.
	MaxLifetime time.Duration
	MaxIdle     time.Duration

	// Limits limit the rate of requests of each token and of each owner; further requests
	// are refused with 429. A token may have a tighter limit of its own, which also works
	// without Limits. If the Store is a Counter, the nodes share the limits; otherwise each
	// node counts for itself. docs/limits.md has the bounds.
	Limits Limits

	// IntegrityKeys authenticate the records in the store: a person who can write to the
	// store but has no key can neither make a token nor change one. The first key makes
	// MACs, all of them verify. With IntegrityKeys, a record without a MAC is refused
	// with 503. See Authority.Rekey.
	IntegrityKeys []Key

	// EncryptionKeys encrypt secrets, so that their owners can see them again with
	// Manager.Reveal. The first key encrypts, all of them decrypt. Without it, secrets
	// are not stored.
	EncryptionKeys []Key

	// ForeignTokens allows tokens that an earlier system issued.
	ForeignTokens ForeignTokens

	// Audit is called before every change and every reveal. Return an error to veto it:
	// a ForbiddenError is passed on, any other error becomes ErrUnavailable. It must
	// return within StoreTimeout.
	//
	// If somebody else changes the token in between, Audit is called again with what
	// would be written now, so one change may call it several times. For a deactivation
	// this happens only if the token was deactivated in between. Observe is called
	// afterwards with the result.
	Audit func(context.Context, Event) error

	// KeepDeleted is how long the store keeps a deleted token without its secrets, for
	// the people who could manage it and so that nobody can import it again; see
	// Manager.Delete and Manager.Purge. 0 means 30 days. Negative keeps nothing.
	KeepDeleted time.Duration

	// KeepExpired is how long the store keeps a token after its own expiry; then the
	// library deletes it, as "Config.KeepExpired". Audit can veto that. 0 keeps all.
	// With ForeignTokens, tokens that somebody other than the owner deactivated stay.
	// It needs a Store that is a Scanner; see Notify.
	KeepExpired time.Duration

	// Notify is called with what people should know about a token, for instance to send
	// an e-mail. Event.Action is "expiring", 30, 7 and 1 days before a token expires
	// that was made for longer than that; "expired"; or "reuse", when somebody presents a
	// secret that a rotation replaced, at most once a day for each token. Event.After is
	// the token. Inactive tokens do not expire.
	//
	// One of the nodes on a store calls it, once for each notice. If Notify fails, panics
	// or takes more than a minute, or if the node dies before the store knows that it
	// returned, the node that next looks calls it again, at least ten minutes later. So a
	// notice may come twice, but is not lost. After a week it is dropped. Observe
	// is called after each call.
	//
	// With Notify or KeepExpired, each node reads all tokens once an hour with
	// Scanner.Scan, and purges deleted ones after KeepDeleted.
	Notify func(context.Context, Event) error

	// StoreTimeout is how long a request or a change waits for the store. 0 means 2
	// seconds.
	StoreTimeout time.Duration

	// MaxStaleness is the greatest age of a node's copy of a token. A change that was
	// acknowledged by any node holds here for every request that begins more than
	// MaxStaleness later, even if the network or the store fails; and on the node that
	// made it for every later request. If the Store is a Watcher, the other nodes usually
	// know within milliseconds.
	//
	// If an answer of the store is older than MaxStaleness when it arrives, the node
	// reads once more and then refuses with 503: MaxStaleness must be longer than a read
	// takes. 0 means 1 second. See NoCache.
	MaxStaleness time.Duration

	// MaxCacheAge is how long a node uses its copy of a token without reading the store
	// again, even if the feed of a Watcher looks healthy. It bounds changes that no
	// feed can report, such as restored tables, or rows changed while triggers were
	// off. Each copy is read again at an age between half of MaxCacheAge and
	// MaxCacheAge, so that the reads spread. If the store does not answer then, requests
	// are refused with 503. It must not be less than MaxStaleness. 0 means 1 minute, or
	// MaxStaleness if that is longer.
	MaxCacheAge time.Duration

	// CacheEntries is the greatest number of tokens in memory, at about 350 bytes for a
	// typical one and 5 KiB for the largest: it limits their number, not their bytes.
	// 0 means 262,144.
	CacheEntries int

	// MaxConcurrentLookups is how many lookups of tokens run in the store at once, and
	// how many calls of OwnerPermissions; others wait for StoreTimeout or OwnerTimeout at
	// most. 0 means 64. Half as many more are reserved for tokens that are in memory and
	// must be read again, so that a flood of unknown tokens does not delay them. As many
	// calls of Managers run in the store and in Audit, an eighth as many lists, and a
	// quarter as many revocations and rotations, which have slots of their own.
	//
	// One owner or actor gets at most a quarter of each of these, or two if that is
	// more. While the owner of a token is unknown, this holds for the token.
	MaxConcurrentLookups int
}

// DefaultEnvironment is the environment of services that have only one.
const DefaultEnvironment = "default"

// NoCache is a Config.MaxStaleness: the node keeps nothing in memory and reads the store
// for every request.
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
	if strings.ContainsFunc(c.Realm, func(r rune) bool { return r < ' ' || r > '~' }) {
		wrong("Realm", "%.40q contains a character outside printable ASCII", c.Realm)
	}
	c.KeepDeleted = cmp.Or(c.KeepDeleted, defaultKeepDeleted)
	notNegative(&found, "StoreTimeout", &c.StoreTimeout, defaultTimeout)
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
	notNegative(&found, "CacheEntries", &c.CacheEntries, defaultEntries)
	notNegative(&found, "MaxConcurrentLookups", &c.MaxConcurrentLookups, defaultMaxConcurrentLookups)
	notNegative(&found, "OwnerTimeout", &c.OwnerTimeout, defaultTimeout)
	notNegative(&found, "MaxLifetime", &c.MaxLifetime, 0)
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
	notNegative(&found, "KeepExpired", &c.KeepExpired, 0)
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

// notNegative sets a field that is zero to its default, and reports a negative one.
func notNegative[T int | time.Duration](found *mistakes, field string, value *T, standard T) {
	if *value < 0 {
		found.field("Config."+field, "is negative")
	}
	*value = cmp.Or(*value, standard)
}

// A Source is a place where a request may carry a token. [Config].Accept lists the ones
// that are read. The source of each use is recorded; logs, the JSON API and stores have
// its text.
type Source string

// Direct is the Source of tokens that did not come in an [http.Request]; see
// [Authority.Verify].
const Direct Source = "direct"

// Scheme is the header field Authorization with this authentication scheme, followed by
// spaces and the token. Requests may write the scheme in any case.
func Scheme(name string) Source { return Source(credential.Authorization + name) }

// Bearer is Scheme("Bearer"). It ignores JWTs and other texts that cannot be tokens of
// the service, so that another login can use them.
func Bearer() Source { return Scheme("Bearer") }

// BasicPassword is the header field Authorization with the scheme Basic (RFC 7617), for
// programs such as git that know only user names and passwords. The token is the
// password; the user name is ignored. Other passwords are ignored too, so that another
// login can use them. A token as user name is not accepted.
func BasicPassword() Source { return Scheme("Basic") }

// BasicOwnerPassword is BasicPassword, but the user name must be the owner of the token.
func BasicOwnerPassword() Source { return Scheme("Basic") + credential.OwnerName }

// HeaderField is a header field that contains only the token, such as X-API-Key.
func HeaderField(name string) Source { return Source(http.CanonicalHeaderKey(name) + ":") }

// QueryParameter is a query parameter. Its name is case-sensitive. URLs end up in logs and
// histories: see [Authority.HideQueryToken] and [Requirement.HeaderOnly].
func QueryParameter(name string) Source { return Source("?" + name) }

// Place returns the position of a Source in a request: "header" with the name of the field,
// and with the scheme if the field is Authorization; or "query" with the name of the
// parameter. All are empty for Direct.
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

// String returns the Limit as in "100/1m", or "100/1m/20" with a Burst; "" for the zero Limit.
func (l Limit) String() string { return limit.Limit(l).String() }

// Limits bound how many requests are accepted, see Config.Limits. Zero fields do not.
type Limits struct {
	Token Limit // of each token; it may have a tighter one of its own
	Owner Limit // of all tokens of an owner together
}
