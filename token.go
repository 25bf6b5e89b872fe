package apitoken

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/derived"
	"github.com/apitoken-go/apitoken/internal/entry"
)

// A Token is the verified token of a request. It is a small immutable handle. The zero
// Token is no token and has no permissions.
type Token struct {
	p, q unsafe.Pointer // to the parts of a node; fmt follows other pointers, and would show its digests
	x    *extra
}

func newToken(n node) Token { return Token{unsafe.Pointer(n.Plain), unsafe.Pointer(n.Pointers), nil} }

// node returns the node of the token.
func (t Token) node() node {
	return node{Plain: (*cache.Plain[plain])(t.p), Pointers: (*pointers)(t.q)}
}

// entry returns the entry of a token that is not zero.
func (t Token) entry() entry.Entry { return entry.Of(t.node()) }

// extra is what a request adds to the entry of its token, where it does.
type extra struct {
	secret  int        // which of the record's secrets was presented
	address netip.Addr // where from, if the token is bound to networks
	perms   bitset.Set // effective
	limited bool       // perms holds, not the entry's

	elsewhere bool            // the request is not for the route of a derived token
	derived   *derived.Claims // of a derived token
}

// ID returns the public ID of the token, which may be logged.
func (t Token) ID() string {
	if t.p == nil {
		return ""
	}
	return t.node().ID()
}

// Environment returns the environment of the token.
func (t Token) Environment() string {
	if t.p == nil {
		return ""
	}
	return t.entry().Home().Environment
}

// Owner returns the user that the token belongs to.
func (t Token) Owner() string {
	if t.p == nil {
		return ""
	}
	return t.entry().Owner()
}

// Name returns the descriptive name that its owner gave the token.
func (t Token) Name() string {
	if t.p == nil {
		return ""
	}
	return t.entry().Name()
}

// ExpiresAt returns the time from which on the token is refused, zero for never.
// Config.MaxLifetime may end it sooner. Of a derived token it is the end of that or of its
// parent.
func (t Token) ExpiresAt() time.Time {
	if t.p == nil {
		return time.Time{}
	}
	end := t.entry().Life.Expires
	if x := t.derivation(); x != nil && (end == noTime || x.Ends < end) {
		end = x.Ends
	}
	return moment(end)
}

// Has reports whether the request may use p: p is assigned to the token and, with
// Config.OwnerPermissions, the owner still has it.
func (t Token) Has(p Permission) bool {
	return t.p != nil && p.p != nil && p.p.Catalog == t.entry().Home().Catalog && t.effective().Has(p.p.Index)
}

// Permissions returns the permissions that the request may use, those for which Has is
// true, in the order of the catalog.
func (t Token) Permissions() []Permission {
	if t.p == nil {
		return nil
	}
	return permissions(t.entry().Home().Catalog.In(t.effective()))
}

// Assigned returns the names of the permissions that are stored with the token, sorted.
// It includes names that the catalog no longer has, which grant nothing.
func (t Token) Assigned() []string {
	if t.p == nil {
		return nil
	}
	return t.entry().Assigned()
}

// IsZero reports whether t is no token.
func (t Token) IsZero() bool { return t.p == nil }

// String returns "token " and the ID.
func (t Token) String() string { return "token " + t.ID() }

// LogValue returns ID, owner and environment.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", t.ID()),
		slog.String("owner", t.Owner()),
		slog.String("environment", t.Environment()),
	)
}

// Format writes what String returns, for every verb.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }

// secret returns which of the record's secrets was presented.
func (t Token) secret() int {
	if t.x == nil {
		return 0
	}
	return t.x.secret
}

func (t Token) effective() bitset.Set {
	if t.x != nil && t.x.limited {
		return t.x.perms // always, if it is derived
	}
	return t.entry().Permissions()
}

// An Expiry is the end of a token's life. It is required; there is no default: Generate
// refuses the zero Expiry.
type Expiry struct {
	kind expiryKind
	in   time.Duration
	at   time.Time
}

type expiryKind byte

const (
	expiryUnsaid expiryKind = iota
	expiryIn
	expiryAt
	expiryNever
)

// In is an expiry after d, counted from the generation of the token. d must be positive
// and is cut to whole microseconds.
func In(d time.Duration) Expiry { return Expiry{kind: expiryIn, in: d} }

// At is an expiry at t, which must be in the future. The token is refused from t on.
// Times are cut to whole microseconds.
func At(t time.Time) Expiry { return Expiry{kind: expiryAt, at: t} }

// Never is no expiry. With Config.MaxLifetime it is refused.
func Never() Expiry { return Expiry{kind: expiryNever} }

// lastMoment is the last microsecond of the years that RFC 3339 can write.
var lastMoment = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)

// resolve returns the moment of expiry, zero for never.
func (e Expiry) resolve(now time.Time) (time.Time, error) {
	var t time.Time
	switch e.kind {
	case expiryNever:
		return time.Time{}, nil
	case expiryIn:
		t = micro(now.Add(e.in))
	case expiryAt:
		t = micro(e.at)
	default:
		return time.Time{}, errors.New("is missing: use In, At or Never")
	}
	if !t.After(now) {
		return time.Time{}, errors.New("does not lie ahead")
	}
	if t.After(lastMoment) {
		return time.Time{}, errors.New("lies after the year 9999")
	}
	return t, nil
}

// micro cuts a time to what stores keep: whole microseconds of UTC.
func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// A node is the entry of a token in memory, see [entry.Node].
type (
	node     = entry.Node
	plain    = entry.Plain
	pointers = entry.Pointers
)

// entry checks a record that the store returned for id, which it was asked for at the instant
// read, and makes an entry of it.
func (c *records) entry(id string, rec *Record, read cache.Instant) (node, error) {
	if err := c.validate(id, rec); err != nil {
		return node{}, err
	}
	older := slices.Grow([]entry.OldSecret(nil), len(rec.Secrets)-1+len(rec.Retired))
	add := func(s SecretRecord, until time.Time) {
		older = append(older, entry.OldSecret{Secret: secretOf(&s), Until: micros(until)})
	}
	for _, s := range rec.Secrets[1:] {
		add(s, s.ValidUntil)
	}
	for _, s := range rec.Retired { // over by any clock
		add(s, ended)
	}
	return entry.New(id, read, &entry.Record{
		Home:  entry.Home{Environment: rec.Environment, Catalog: c.catalog},
		Owner: rec.Owner, Name: rec.Name, Secret: secretOf(&rec.Secrets[0]), Until: micros(rec.Secrets[0].ValidUntil), Older: older,
		Life: rec.life(), Permissions: rec.Permissions, Networks: rec.Networks, Limit: rec.limitOf().Rate(), Only: rec.limitsOf(),
	}), nil
}

// secretOf returns what a request shows of a secret. The record was checked.
func secretOf(s *SecretRecord) entry.Secret {
	return entry.Secret{Digest: [32]byte(s.Digest), Foreign: s.Foreign}
}
