package apitoken

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Store keeps token records. It holds no policy: what may be changed, by
// whom, and what a record allows is decided by [Authority] and [Manager].
//
// A Store never sees a secret, only the SHA-256 digest of one. It compares
// strings byte by byte ("abc", "ABC" and "abc " are three IDs) and keeps times
// to the microsecond. It may refuse texts that are not UTF-8 or contain a NUL,
// which no record of a Manager does; it does not change them. Once Create, Replace or Delete has returned nil, every
// later Get on any handle of the same data sees the change, also after a crash.
//
// Get reports a missing record with an error that wraps [ErrNotFound]; Create,
// Replace and Delete likewise use the errors named beside them. Every other
// error means that the outcome is unknown, and requests are refused with 503.
//
// Methods are called concurrently. They should return soon after ctx is done;
// a request does not wait longer than Config.StoreTimeout either way, unless the
// store has a method Cancelable.
//
// By a method Cancelable(), which is never called, a store promises that Get returns
// soon after its context has ended, whatever it waits for. Requests then call it
// themselves. With another Store every Get has a goroutine of its own, which a request
// leaves behind when Config.StoreTimeout has passed, and that costs some microseconds.
// A type that embeds such a store and has its own Get has to keep the promise.
//
// The package stores/storetest checks an implementation.
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
// Touch stores uses, which come in batches off the request path. For each
// secret and source it keeps the newest use. It does not change a record's
// version, writes nothing that a [Watcher] would report, and ignores tokens
// and secrets that no longer exist.
type Toucher interface {
	Touch(ctx context.Context, uses []Use) error
}

// A BatchCreator is a [Store] that adds many records at once, as for [Manager.ImportAll].
type BatchCreator interface {
	// CreateAll is Create of each record, in as few transactions as the engine allows, and returns which
	// of them it added. The others exist already; of two records with the same ID only the first is added. After an
	// error each may have been added or not.
	CreateAll(ctx context.Context, recs []Record) (added []bool, err error)
}

// A Counter is a [Store] that adds up how much of their limits tokens and owners have used
// on all nodes. Without it, each node limits the requests that it gets itself.
//
// A key has a sum, which is a length of time: zero at first, and a second less with each
// second that passes, but never less than zero. Count adds to the sums of keys and returns what
// they are then, for each of the keys. Keys are texts of at most 64 letters and digits, up to 500 in one call.
//
// Sums may get lost, and must not grow by anything but Count; where the clock of the store
// is set back, no time has passed. Requests do not wait for Count.
//
// The package stores/storetest checks an implementation.
type Counter interface {
	Count(ctx context.Context, add map[string]time.Duration) (sums map[string]time.Duration, err error)
}

// A Scanner is a [Store] that can be read from end to end and knows which keys its
// records need: what exports and a change of keys take.
type Scanner interface {
	// Scan returns up to limit records whose IDs follow after, in byte order of
	// their IDs; fewer only at the end.
	Scan(ctx context.Context, after string, limit int) ([]Record, error)

	// KeysInUse returns, by key ID, how many records carry a MAC under a key of
	// Config.IntegrityKeys and how many secrets are encrypted under a key of
	// Config.EncryptionKeys; it may stop counting at 1,000. New asks it once. It
	// should be answered from an index, at once however many records there are.
	KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error)
}

// A Watcher is a [Store] that reports all changes, also those of other nodes and of hands, so that nodes
// can answer from memory. It is what makes a change reach other nodes sooner
// than after Config.MaxStaleness; that it is enforced by then does not rest on it.
//
// Watch passes changes on to feed until ctx is done, or until it can no longer
// do so, and returns why. It begins with feed.Reset, as soon as it is certain to
// hear of every change that is acknowledged from then on. The feed is called
// from one goroutine at a time. After an error Watch is called again, after a
// pause; several Authorities may watch a Store at once.
//
// The package stores/storetest checks an implementation.
type Watcher interface {
	Watch(ctx context.Context, feed Feed) error
}

// A Feed receives what a [Watcher] reports. Its methods return at once.
type Feed interface {
	// Reset says that changes before this moment may have been missed, and that
	// all later ones will be passed on.
	Reset()

	// Changed says that the records with these IDs were created, replaced or
	// deleted. Saying so twice, or of an ID that did not change, is harmless.
	Changed(ids ...string)

	// CaughtUp says that every change that was acknowledged before the local
	// instant t has been passed on. t is of this process's clock, with its
	// monotonic reading, as time.Now returns it: as a rule the moment before the
	// Watcher asked its engine what is new.
	CaughtUp(t time.Time)

	// Interval is how often CaughtUp should be called at least: a quarter of
	// Config.MaxStaleness, for which what a node has in memory is good after t, but
	// not less than 10 ms.
	Interval() time.Duration
}

// Status is the state of a token at a moment. Where several apply it is the
// first of deleted, inactive, expired, pending, active.
type Status string

// The states. A record stores active, inactive or deleted.
const (
	StatusActive   Status = "active"
	StatusInactive Status = "inactive" // deactivated
	StatusExpired  Status = "expired"
	StatusPending  Status = "pending" // its not-before lies ahead
	StatusDeleted  Status = "deleted" // for Config.KeepDeleted; see Manager.Delete

	// Only ListParams say this: active tokens by which the owner has no access now, see
	// TokenInfo.OwnerReason. Config.OwnerPermissions is asked for the owner of each active token.
	StatusNoAccess Status = "no_access"

	// Only a Manager says these; no Query asks for them. What such a TokenInfo has is
	// what the record claims. The token is refused.
	StatusDamaged Status = "damaged" // somebody else wrote the record, or a part of it is missing
	StatusNewer   Status = "newer"   // a later version of this package has to judge it
)

// Order is the order of a list. Ties are broken by ID, ascending in byte order
// (descending with Query.Descending).
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

// Match reports whether rec is among the records that q selects, on whatever page:
// Order, After and Limit do not count. A store that cannot search calls it for each
// record; of every store, the Manager calls it for each record of a page.
func (q *Query) Match(rec *Record) bool {
	return rec.Environment == q.Environment &&
		(q.Owner == "" || rec.Owner == q.Owner) &&
		(rec.Status == StatusDeleted) == (q.Status == StatusDeleted) &&
		(q.Status == "" || q.Policy.Status(rec, q.At) == q.Status) &&
		(q.Permission == "" || slices.Contains(rec.Permissions, q.Permission)) &&
		(q.Text == "" || slices.ContainsFunc(rec.Terms(), func(term string) bool { return strings.HasPrefix(term, q.Text) }))
}

// A Position is a place in an ordered list: the sort key of a record and its
// ID. It stays meaningful when that record is gone.
type Position struct {
	Name string    // Record.NameKey, with ByName
	Time time.Time // with the other orders
	ID   string
}

// A Page is a part of a list.
type Page struct {
	Records []Record
	Next    *Position // nil at the end; a page may be short and still have one

	// Partial says that the page is short as the store stopped early, at Next: it had looked at many
	// records of which few match. A store that has an index for every list never does.
	Partial bool

	// Count is how many records match q in all (After and Limit aside), up to
	// 1,000; More says that there are, or may be, more. A store may count fewer and
	// say More where it would have to look at more than 1,250 records.
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

// NameKey returns the key by which names are ordered: the name in lower case.
func (r *Record) NameKey() string { return strings.ToLower(r.Name) }

// maxTerm bounds a search term, in bytes.
const maxTerm = 64

// Terms returns the texts of which Query.Text may be a prefix: the ID, the
// owner, and the name from each of its words on ("My laptop", "laptop"), all
// in lower case, cut to 64 bytes, sorted, none twice.
func (r *Record) Terms() []string {
	name := r.NameKey()
	terms := []string{searchTerm(r.ID), searchTerm(r.Owner), searchTerm(name)}
	inWord := false
	for i, c := range name {
		letter := unicode.IsLetter(c) || unicode.IsDigit(c)
		if letter && !inWord {
			terms = append(terms, searchTerm(name[i:]))
		}
		inWord = letter || inWord && unicode.IsMark(c)
	}
	slices.Sort(terms)
	return slices.Compact(terms)
}

// searchTerm folds and cuts a text as it stands in the search index.
func searchTerm(s string) string {
	s = strings.ToLower(s)
	if len(s) > maxTerm {
		s = strings.ToValidUTF8(s[:maxTerm], "")
	}
	return s
}
