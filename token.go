package apitoken

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
	"unique"
	"unsafe"

	"github.com/apitoken-go/apitoken/internal/alias"
	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/resource"
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
func (t Token) entry() entry { return entryOf(t.node()) }

// extra is what a request adds to the entry of its token, where it does.
type extra struct {
	secret  int        // which of the record's secrets was presented
	address netip.Addr // where from, if the token is bound to networks
	perms   bitset.Set // effective
	limited bool       // perms holds, not the entry's
	derived *derivation
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
	return t.entry().home.Value().environment
}

// Owner returns the user that the token belongs to.
func (t Token) Owner() string {
	if t.p == nil {
		return ""
	}
	return t.entry().ownerText()
}

// Name returns the descriptive name that its owner gave the token.
func (t Token) Name() string {
	if t.p == nil {
		return ""
	}
	return t.entry().nameText()
}

// ExpiresAt returns the time from which on the token is refused, zero for never.
// Config.MaxLifetime may end it sooner. Of a derived token it is the end of that or of its
// parent.
func (t Token) ExpiresAt() time.Time {
	if t.p == nil {
		return time.Time{}
	}
	end := t.entry().life.expires
	if x := t.derivation(); x != nil && (end == noTime || x.Ends < end) {
		end = x.Ends
	}
	return moment(end)
}

// Has reports whether the request may use p: p is assigned to the token and, with
// Config.OwnerPermissions, the owner still has it.
func (t Token) Has(p Permission) bool {
	return t.p != nil && p.p != nil && p.p.Catalog == t.entry().home.Value().catalog && t.effective().Has(p.p.Index)
}

// Permissions returns the permissions that the request may use, those for which Has is
// true, in the order of the catalog.
func (t Token) Permissions() []Permission {
	if t.p == nil {
		return nil
	}
	return permissions(t.entry().home.Value().catalog.In(t.effective()))
}

// Assigned returns the names of the permissions that are stored with the token, sorted.
// It includes names that the catalog no longer has, which grant nothing.
func (t Token) Assigned() []string {
	if t.p == nil {
		return nil
	}
	return t.entry().assigned()
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
		return t.x.perms
	}
	return t.granted()
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
	return t.UTC().Round(0).Truncate(time.Microsecond)
}

// A node is an entry in the cache, which adds its ID, and when it was read. It is two
// pointers, and passed as it is.
type node = cache.Entry[plain, pointers]

// An entry is a record as requests need it: checked, and cut to what decisions
// read and a [Token] shows. What few tokens have is in rare. An entry does not change.
type entry struct {
	*plain
	*pointers
}

func entryOf(n node) entry { return entry{&n.Value, n.Pointers} }

// pointers are what the garbage collector follows of an entry, as there may be millions.
type pointers struct {
	home unique.Handle[home]
	rare *rare
}

// plain is what it does not read. With what the cache adds it has 192 bytes, three cache lines.
type plain struct {
	digest [32]byte // of the newest secret
	life   life
	low    uint64 // the permissions with the indexes 0 to 63

	// Owner and name stand in text one after the other; these are where the name
	// begins, and where it ends. What is longer than text is in rare.
	name, end uint16
	foreign   bool // digest is that of a foreign token
	text      [51]byte
}

// A home is what the tokens of an environment share.
type home struct {
	environment string
	catalog     *permission.Catalog
}

// rare is what most tokens do not have.
type rare struct {
	text     string      // owner and name, if they are long
	until    int64       // when the newest secret ends, as in life
	older    []oldSecret // what rotations have replaced, the newest first
	high     []uint64    // the permissions from index 64 on
	networks []netip.Prefix
	narrow   *narrow  // unlimited for neither
	assigned []string // the stored names, if they are more than the permissions say
}

// narrow is what bounds the requests of a token itself, apart from rare, which would be
// larger for tokens that have only older secrets.
type narrow struct {
	limit limit.Rate      // of its own
	only  resource.Limits // the objects
}

var (
	unlimited = new(narrow)
	noneRare  = &rare{until: noTime, narrow: unlimited}
)

// An oldSecret is the secret that another has replaced.
type oldSecret struct {
	presentedSecret
	until int64 // as in life
}

// entry checks a record that the store returned for id, which it was asked for
// at the instant read, and makes an entry of it.
func (c *records) entry(id string, rec *Record, read cache.Instant) (node, error) {
	if err := c.validate(id, rec); err != nil {
		return node{}, err
	}
	n := cache.NewEntry[plain, pointers](id, read)
	n.Pointers.home = unique.Make(home{rec.Environment, c.catalog})
	n.Value = plain{
		name:    uint16(len(rec.Owner)),
		end:     uint16(len(rec.Owner) + len(rec.Name)),
		digest:  [32]byte(rec.Secrets[0].Digest),
		foreign: rec.Secrets[0].Foreign,
		life:    rec.life(),
	}
	e := entryOf(n)
	perms := c.catalog.Set(rec.Permissions)
	e.low = perms.Low
	r := &rare{high: perms.High, until: micros(rec.Secrets[0].ValidUntil), narrow: unlimited}
	e.rare = r
	if int(e.end) > len(e.text) {
		r.text = rec.Owner + rec.Name
	} else {
		copy(e.text[:], rec.Owner)
		copy(e.text[e.name:], rec.Name)
	}
	r.older = slices.Grow(r.older, len(rec.Secrets)-1+len(rec.Retired))
	for _, s := range rec.Secrets[1:] {
		r.older = append(r.older, oldSecret{presentedSecret{[32]byte(s.Digest), s.Foreign}, micros(s.ValidUntil)})
	}
	for _, s := range rec.Retired { // over by any clock
		r.older = append(r.older, oldSecret{presentedSecret{[32]byte(s.Digest), s.Foreign}, micros(ended)})
	}
	r.networks = slices.Clone(rec.Networks)
	if rec.Limit != "" || rec.Only != nil {
		r.narrow = &narrow{rec.limitOf().Rate(), rec.limitsOf()}
	}
	if !slices.Equal(rec.Permissions, e.assigned()) {
		r.assigned = slices.Clone(rec.Permissions)
	}
	if r.text == "" && r.until == noTime && r.older == nil && r.high == nil && r.networks == nil && r.assigned == nil && r.narrow == unlimited {
		e.rare = nil
	}
	return n, nil
}

func (e entry) more() *rare {
	if e.rare == nil {
		return noneRare
	}
	return e.rare
}

// texts returns what stands in text from one place to another. It is not copied,
// as an entry does not change.
func (e entry) texts(from, to uint16) string {
	if int(e.end) > len(e.text) {
		return e.rare.text[from:to]
	}
	return alias.String(e.text[from:to])
}

func (e entry) ownerText() string { return e.texts(0, e.name) }
func (e entry) nameText() string  { return e.texts(e.name, e.end) }
func (e entry) perms() bitset.Set { return bitset.Set{Low: e.low, High: e.more().high} }
func (e entry) bound() bool       { return len(e.more().networks) > 0 } // to networks

// assigned returns the names of the permissions in the order of their bytes, or
// as they were stored if that is something else.
func (e entry) assigned() []string {
	if e.more().assigned != nil {
		return slices.Clone(e.rare.assigned)
	}
	var names []string
	for p := range e.home.Value().catalog.In(e.perms()) {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// A presentedSecret is what a request shows of a secret.
type presentedSecret struct {
	digest  [32]byte
	foreign bool
}

// find returns which of the token's secrets was presented, 0 for the newest, higher ones
// for older ones; -1 for none of them.
func (e entry) find(p *presentedSecret) int {
	found := -1
	for i := range e.more().older {
		if old := &e.rare.older[i]; p.equal(&old.digest, old.foreign) {
			found = 1 + i
		}
	}
	if p.equal(&e.digest, e.foreign) {
		found = 0
	}
	return found
}

func (p *presentedSecret) equal(digest *[32]byte, foreign bool) bool {
	return subtle.ConstantTimeCompare(p.digest[:], digest[:]) == 1 && p.foreign == foreign
}

// secret returns the secret that find found.
func (e entry) secret(found int) presentedSecret {
	if found > 0 {
		return e.rare.older[found-1].presentedSecret
	}
	return presentedSecret{e.digest, e.foreign}
}

// until returns when the secret that find found ends, as in life.
func (e entry) until(found int) int64 {
	if found > 0 {
		return e.rare.older[found-1].until
	}
	return e.more().until
}

// allows reports whether a token may be used from an address.
func (e entry) allows(addr netip.Addr) bool { return network.Inside(e.more().networks, addr) }
