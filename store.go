package apitoken

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/internal/term"
)

// A Store stores token records. It makes no decisions: [Authority] and [Manager] decide
// who may change what, and what a record allows.
//
// A Store never sees a secret, only its SHA-256 digest. It compares strings byte by byte
// ("abc", "ABC" and "abc " are three IDs) and stores times to the microsecond. It may
// refuse texts that are not UTF-8 or contain a NUL, which records of a Manager never do;
// it does not change texts. After Create, Replace or Delete has returned nil, every
// later Get on any handle of the same data sees the change, also after a crash.
//
// Get reports a missing record with an error that wraps ErrNotFound. Create, Replace and
// Delete use the errors named beside them in the same way. Every other error means that
// the outcome is unknown; requests are then refused with 503.
//
// Methods are called concurrently. They should return soon after ctx is done; a request
// waits no longer than Config.StoreTimeout in any case.
//
// A store may have a method Cancelable(), which is never called. It promises that Get
// returns soon after its context has ended. Requests then call Get directly. For other
// stores each Get runs in a goroutine of its own, which a request leaves behind after
// Config.StoreTimeout; that costs some microseconds. A type that embeds such a store and
// has its own Get must keep the promise.
//
// The package stores/storetest tests an implementation.
type Store interface {
	// Create adds a record, Uses included, or reports ErrExists.
	Create(ctx context.Context, rec Record) error

	// Get returns the record with exactly this ID, or ErrNotFound.
	Get(ctx context.Context, id string) (Record, error)

	// Replace writes rec over the stored record of the same ID if that one
	// has version rec.Version-1; otherwise ErrConflict, or ErrNotFound.
	// It leaves Uses as stored.
	Replace(ctx context.Context, rec Record) error

	// Delete removes a record, or reports ErrNotFound.
	Delete(ctx context.Context, id string) error

	// List returns one page of the records that match q. An Order that it does
	// not know is an error.
	List(ctx context.Context, q Query) (Page, error)
}

// Errors of a [Store], which may wrap them.
var (
	ErrExists   = errors.New("apitoken: a record with this ID exists")
	ErrNotFound = errors.New("apitoken: not found")
	ErrConflict = errors.New("apitoken: changed by someone else meanwhile")
)

// A Toucher is a [Store] that records when tokens were last used.
//
// Touch stores uses, which come in batches and not from the requests themselves. For
// each secret and source it keeps the newest use. It does not change the version of a
// record, writes nothing that a [Watcher] would report, and ignores tokens and secrets
// that no longer exist.
type Toucher interface {
	Touch(ctx context.Context, uses []Use) error
}

// A BatchCreator is a Store that can add many records at once. [Manager.ImportAll] uses
// it.
type BatchCreator interface {
	// CreateAll creates each record, in as few transactions as the engine allows. added
	// says which records it added; the others existed already. Of two records with the
	// same ID it adds only the first. After an error each record may or may not have
	// been added.
	CreateAll(ctx context.Context, recs []Record) (added []bool, err error)
}

// A Counter is a [Store] that adds up, for all nodes, how much of their limits tokens and
// owners have used. Without it, each node counts for itself.
//
// Each key has a sum, a length of time. It begins at zero and loses a second with every
// second that passes, but is never less than zero. Count adds to the sums of these keys
// and returns the new sum of each. A key is a text of at most 64 letters and digits. One call
// has at most 500 keys.
//
// A store may lose sums. Only Count makes a sum greater. If the clock of the store is set
// back, no time has passed. Requests do not wait for Count.
//
// The package stores/storetest checks an implementation.
type Counter interface {
	Count(ctx context.Context, add map[string]time.Duration) (sums map[string]time.Duration, err error)
}

// A Scanner is a [Store] that can list all records and knows which keys they need.
// Exports and [Authority.Rekey] use it.
type Scanner interface {
	// Scan returns up to limit records whose IDs are greater than after, in byte order
	// of their IDs. It returns fewer only at the end.
	Scan(ctx context.Context, after string, limit int) ([]Record, error)

	// KeysInUse returns by key ID how many records have a MAC of a key of
	// Config.IntegrityKeys, and how many secrets are encrypted with a key of
	// Config.EncryptionKeys. It may stop counting at 1,000. New calls it once. It should use
	// an index, so that its time does not depend on the number of records.
	KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error)
}

// A Watcher is a [Store] that reports all changes, also those by other nodes or by hand.
// With it, a change reaches other nodes sooner than after Config.MaxStaleness; the
// promise of MaxStaleness does not depend on it.
//
// Watch reports changes to feed until ctx is done or until it can no longer do so, and
// returns the reason. It first calls feed.Reset, as soon as it is certain to see every
// change that is acknowledged from then on. It calls feed from one goroutine at a time.
// After an error Watch is called again, after a pause. Several Authorities may watch a
// Store at once.
//
// The package stores/storetest tests an implementation.
type Watcher interface {
	Watch(ctx context.Context, feed Feed) error
}

// A Feed receives what a [Watcher] reports. Its methods return at once.
type Feed interface {
	// Reset says that changes before this moment may be missing, and that all later ones
	// will be reported.
	Reset()

	// Changed says that the records with these IDs were created, replaced or deleted. It
	// is harmless to report an ID twice, or one that did not change.
	Changed(ids ...string)

	// CaughtUp says that every change acknowledged before the local time t was reported.
	// t has the monotonic reading of time.Now. It is usually the moment before the
	// Watcher asked its engine for changes.
	CaughtUp(t time.Time)

	// Interval returns how often CaughtUp should be called at least: a quarter of
	// Config.MaxStaleness, but not less than 10 ms.
	Interval() time.Duration
}

// A Status is the state of a token at a moment. If several apply, it is the first of
// deleted, inactive, expired, pending, active.
type Status string

// The states. A record stores active, inactive or deleted.
const (
	StatusActive   Status = "active"
	StatusInactive Status = "inactive" // deactivated
	StatusExpired  Status = "expired"
	StatusPending  Status = "pending" // before its NotBefore
	StatusDeleted  Status = "deleted" // for Config.KeepDeleted; see Manager.Delete

	// StatusNoAccess is only for ListParams: active tokens whose owner has no access now, see
	// TokenInfo.OwnerReason. The list calls Config.OwnerPermissions for the owner of each
	// active token.
	StatusNoAccess Status = "no_access"

	// Only a Manager returns these; no Query has them. The fields of such a TokenInfo are
	// what the record claims. The token is refused.
	StatusDamaged Status = "damaged" // somebody without the key wrote the record, or a part is missing
	StatusNewer   Status = "newer"   // a later version of this package wrote the record
)

// An Order is the order of a list. Records with equal keys are ordered by ID, ascending
// in byte order (descending with Query.Descending).
type Order string

// The orders. A token that never expires follows all that do; one that was
// never used precedes all that were.
const (
	ByName     Order = "name" // Record.NameKey in byte order
	ByCreated  Order = "created"
	ByExpires  Order = "expires"
	ByLastUsed Order = "last_used"
)

// A Query selects a page of records of one environment. Zero fields do not
// restrict, except that only StatusDeleted selects deleted tokens.
type Query struct {
	Environment string // required
	Owner       string
	Status      Status    // as Policy.Status(record, At) has it
	Policy      Policy    // for Status
	At          time.Time // for Status, and required with it
	Permission  string    // among Record.Permissions
	Text        string    // a prefix of one of Record.Terms
	Order       Order     // required
	Descending  bool
	After       *Position // the end of the page before
	Limit       int       // required; 1 to 1000
}

// Match reports whether q selects rec, on any page: it ignores Order, After and Limit. A
// store that cannot search calls it for each record. The Manager calls it for each
// record of a page, of every store.
func (q *Query) Match(rec *Record) bool {
	return rec.Environment == q.Environment &&
		(q.Owner == "" || rec.Owner == q.Owner) &&
		(rec.Status == StatusDeleted) == (q.Status == StatusDeleted) &&
		(q.Status == "" || q.Policy.Status(rec, q.At) == q.Status) &&
		(q.Permission == "" || slices.Contains(rec.Permissions, q.Permission)) &&
		(q.Text == "" || slices.ContainsFunc(rec.Terms(), func(t string) bool { return strings.HasPrefix(t, q.Text) }))
}

// A Position is a place in an ordered list: the sort key of a record and its ID. It
// stays valid after that record is deleted.
type Position struct {
	Name string    // Record.NameKey, with ByName
	Time time.Time // with the other orders
	ID   string
}

// A Page is a part of a list.
type Page struct {
	Records []Record
	Next    *Position // nil at the end; a page may be short and still have one

	// Partial says that the store stopped early, at Next, after it had read many records
	// of which few match. The page is short. A store with an index for every list never sets it.
	Partial bool

	// Count is how many records match q in all, regardless of After and Limit, up to 1,000.
	// More says that there are, or may be, more. A store may count fewer and set More if it
	// would have to read more than 1,250 records.
	Count int
	More  bool
}

// Position returns the place of r in a list in the given order.
func (r *Record) Position(by Order) Position {
	p := Position{ID: r.ID}
	switch by {
	case ByName:
		p.Name = r.NameKey()
	case ByCreated:
		p.Time = r.CreatedAt
	case ByExpires:
		p.Time = r.ExpiresAt
	case ByLastUsed:
		p.Time = r.LastUsed()
	}
	return p
}

// NameKey returns the sort key of names: the name in lower case.
func (r *Record) NameKey() string { return strings.ToLower(r.Name) }

// Terms returns the texts that Query.Text may be a prefix of: the ID, the owner, and the
// name from each of its words on ("My laptop", "laptop"). They are in lower case, cut to
// 64 bytes, sorted and distinct.
func (r *Record) Terms() []string { return term.Of(r.ID, r.Owner, r.Name) }
