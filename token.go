package apitoken

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
	"unsafe"
)

// A Token is a token that was verified for a request. It is a small immutable
// handle. The zero Token stands for none: it has no permissions.
type Token struct {
	p unsafe.Pointer // to an entry; fmt follows other pointers, and would show its digests
	x *extra
}

func newToken(e *entry) Token { return Token{p: unsafe.Pointer(e)} }

// entry returns the entry of the token, nil if it is zero.
func (t Token) entry() *entry { return (*entry)(t.p) }

// extra is what a request adds to the entry of its token, where it does.
type extra struct {
	secret  int        // which of the record's secrets was presented
	address netip.Addr // where from, if the token is bound to networks
	perms   permSet    // effective
	limited bool       // perms holds, not the entry's
}

// ID returns the public ID of the token, which may be logged.
func (t Token) ID() string {
	if t.p == nil {
		return ""
	}
	return t.entry().id()
}

// Environment returns the environment that the token belongs to.
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

// ExpiresAt returns the moment from which on the token is refused, zero for
// never. Config.MaxLifetime may end it sooner.
func (t Token) ExpiresAt() time.Time {
	if t.p == nil {
		return time.Time{}
	}
	return moment(t.entry().life.expires)
}

// Has reports whether the request may use p: whether p is assigned to the
// token and, with Config.OwnerPermissions, its owner still has it.
func (t Token) Has(p Permission) bool {
	return t.p != nil && p.p != nil && p.p.catalog == t.entry().home.Value().catalog && t.effective().has(p.p)
}

// Permissions returns the permissions that the request may use (those for
// which Has is true), in the order of the catalog.
func (t Token) Permissions() []Permission {
	if t.p == nil {
		return nil
	}
	return t.effective().list(t.entry().home.Value().catalog)
}

// Assigned returns the names of the permissions that are stored with the token,
// sorted; also those that the catalog no longer knows, which grant nothing.
func (t Token) Assigned() []string {
	if t.p == nil {
		return nil
	}
	return t.entry().assigned()
}

// IsZero reports whether t stands for no token.
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

func (t Token) effective() permSet {
	if t.x != nil && t.x.limited {
		return t.x.perms
	}
	return t.entry().perms()
}

// An Expiry says how long a token is to live. It has to be said: the zero
// Expiry is refused when a token is generated.
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

// In is an expiry after d from the moment when the token is generated. d must be
// positive; what is less than a microsecond is cut off.
func In(d time.Duration) Expiry { return Expiry{kind: expiryIn, in: d} }

// At is an expiry at t, which must lie ahead: from t on the token is refused. What is
// less than a microsecond is cut off.
func At(t time.Time) Expiry { return Expiry{kind: expiryAt, at: t} }

// Never is no expiry. With Config.MaxLifetime it is refused, as that is an end.
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

// base64Text is the encoding of opaque texts such as cursors.
var base64Text = base64.RawURLEncoding.Strict()
