package apitoken

import (
	"crypto/subtle"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
	"unique"
	"unsafe"
)

// An entry is a record as requests need it: checked, and cut to what decisions
// read and a [Token] shows. It is one object without much for the garbage
// collector to follow, as there may be millions; what few tokens have is in rare.
//
// An entry does not change, but for next, hot and noted, which belong to the cache
// and to shouldRecord. It has 192 bytes, a size that the allocator puts at the beginning of
// a cache line: a decision reads these three lines, in this order.
type entry struct {
	next atomic.Pointer[entry] // in its bucket

	// ID, owner and name stand in text one after the other; these are where the
	// owner begins, the name begins, and it ends. What is longer than text is in
	// rare.
	owner, name, end uint16

	foreign bool // digest is that of a foreign token
	text    [52]byte
	digest  [32]byte    // of the newest secret
	hot     atomic.Bool // used since the eviction last came by
	life    life
	read    instant // when the store was asked; nothing older is in here
	low     uint64  // the permissions with the indexes 0 to 63
	home    unique.Handle[home]
	rare    *rare
	noted   atomic.Int64 // the last use that was recorded; see shouldRecord
}

// A home is what the tokens of an environment share.
type home struct {
	environment string
	catalog     *Catalog
}

// rare is what most tokens do not have.
type rare struct {
	text     string // ID, owner and name, if they are long
	until    int64  // when the newest secret ends, as in life
	rotated  bool   // old is set, as during and after a rotation
	old      oldSecret
	high     []uint64 // the permissions from index 64 on
	networks []netip.Prefix
	assigned []string // the stored names, if they are more than the permissions say
}

var noneRare = &rare{until: noTime}

// An oldSecret is the secret that another has replaced.
type oldSecret struct {
	presentedSecret
	until int64 // as in life
}

// A life is what a [Policy] judges: moments in microseconds since 1970, noTime
// where there is none.
type life struct {
	created, expires, notBefore, used int64

	inactive bool
}

const noTime = math.MinInt64

// micros returns t as a life has it.
func micros(t time.Time) int64 {
	switch {
	case t.IsZero():
		return noTime
	case t.Year() > 10000: // UnixMicro would overflow somewhere beyond
		return math.MaxInt64 / 2
	case t.Year() < -10000:
		return math.MinInt64 / 2
	}
	return t.UnixMicro()
}

// moment is the inverse of micros.
func moment(micros int64) time.Time {
	if micros == noTime {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func (r *Record) life() life {
	return life{
		created: micros(r.CreatedAt), expires: micros(r.ExpiresAt), notBefore: micros(r.NotBefore), used: micros(r.LastUsed()),
		inactive: r.Status != StatusActive,
	}
}

// entry checks a record that the store returned for id, which it was asked for
// at the instant read, and makes an entry of it.
func (c *records) entry(id string, rec *Record, read instant) (*entry, error) {
	if err := c.validate(id, rec); err != nil {
		return nil, err
	}
	e := &entry{
		read:    read,
		home:    unique.Make(home{rec.Environment, c.catalog}),
		owner:   uint16(len(rec.ID)),
		name:    uint16(len(rec.ID) + len(rec.Owner)),
		end:     uint16(len(rec.ID) + len(rec.Owner) + len(rec.Name)),
		digest:  [32]byte(rec.Secrets[0].Digest),
		foreign: rec.Secrets[0].Foreign,
		life:    rec.life(),
	}
	perms := c.catalog.set(rec.Permissions)
	e.low = perms.low
	r := &rare{high: perms.high, until: micros(rec.Secrets[0].ValidUntil)}
	e.rare = r
	if int(e.end) > len(e.text) {
		r.text = rec.ID + rec.Owner + rec.Name
	} else {
		copy(e.text[:], rec.ID)
		copy(e.text[e.owner:], rec.Owner)
		copy(e.text[e.name:], rec.Name)
	}
	if len(rec.Secrets) > 1 {
		old := &rec.Secrets[1]
		r.old, r.rotated = oldSecret{presentedSecret{[32]byte(old.Digest), old.Foreign}, micros(old.ValidUntil)}, true
	}
	r.networks = slices.Clone(rec.Networks)
	if !slices.Equal(rec.Permissions, e.assigned()) {
		r.assigned = slices.Clone(rec.Permissions)
	}
	if r.text == "" && r.until == noTime && !r.rotated && r.high == nil && r.networks == nil && r.assigned == nil {
		e.rare = nil
	}
	return e, nil
}

func (e *entry) more() *rare {
	if e.rare == nil {
		return noneRare
	}
	return e.rare
}

// texts returns what stands in text from one place to another. It is not copied,
// as an entry does not change.
func (e *entry) texts(from, to uint16) string {
	if int(e.end) > len(e.text) {
		return e.rare.text[from:to]
	}
	return unsafe.String(&e.text[0], len(e.text))[from:to]
}

func (e *entry) ownerText() string { return e.texts(e.owner, e.name) }
func (e *entry) nameText() string  { return e.texts(e.name, e.end) }
func (e *entry) id() string        { return e.texts(0, e.owner) }
func (e *entry) perms() permSet    { return permSet{e.low, e.more().high} }
func (e *entry) bound() bool       { return len(e.more().networks) > 0 } // to networks

// assigned returns the names of the permissions in the order of their bytes, or
// as they were stored if that is something else.
func (e *entry) assigned() []string {
	if e.more().assigned != nil {
		return slices.Clone(e.rare.assigned)
	}
	var names []string
	set := e.perms()
	for _, p := range e.home.Value().catalog.list {
		if set.has(p) {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return names
}

// A presentedSecret is what a request shows of a secret.
type presentedSecret struct {
	digest  [32]byte
	foreign bool
}

// find returns which of the token's secrets was presented, 0 for the newest; -1
// for none of them.
func (e *entry) find(p *presentedSecret) int {
	found := -1
	if r := e.rare; r != nil && r.rotated && p.equal(&r.old.digest, r.old.foreign) {
		found = 1
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
func (e *entry) secret(found int) presentedSecret {
	if found == 1 {
		return e.rare.old.presentedSecret
	}
	return presentedSecret{e.digest, e.foreign}
}

// until returns when the secret that find found ends, as in life.
func (e *entry) until(found int) int64 {
	if found == 1 {
		return e.rare.old.until
	}
	return e.more().until
}

// allows reports whether a token may be used from an address.
func (e *entry) allows(addr netip.Addr) bool { return inside(e.more().networks, addr) }

// inside reports whether an address is in one of the networks, of which none at
// all stand for all addresses.
func inside(networks []netip.Prefix, addr netip.Addr) bool {
	return len(networks) == 0 ||
		slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}
