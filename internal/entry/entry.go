// Package entry has the tokens that are in memory: records, reduced to the facts that decisions
// about requests read.
package entry

import (
	"crypto/subtle"
	"math"
	"net/netip"
	"slices"
	"unique"

	"github.com/apitoken-go/apitoken/internal/alias"
	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/resource"
)

// A Node is an entry in the cache, which adds its ID, and when it was read. It is two
// pointers, and passed as it is.
type Node = cache.Entry[Plain, Pointers]

// An Entry is a token as requests need it. What few tokens have is in rare. An Entry does not
// change.
type Entry struct {
	*Plain
	*Pointers
}

// Of returns the Entry of a Node that is not zero.
func Of(n Node) Entry { return Entry{&n.Value, n.Pointers} }

// Pointers are what the garbage collector follows of an Entry, as there may be millions.
type Pointers struct {
	home unique.Handle[Home]
	rare *rare
}

// Plain is what it does not read. With what the cache adds it has 192 bytes, three cache lines.
type Plain struct {
	digest [32]byte // of the newest secret
	Life   Life
	low    uint64 // the permissions with the indexes 0 to 63

	// Owner and name stand in text one after the other; these are where the name
	// begins, and where it ends. What is longer than text is in rare.
	name, end uint16
	foreign   bool // digest is that of a foreign token
	text      [51]byte
}

// A Life has moments in microseconds since 1970, Never where there is none.
type Life struct {
	Created, Expires, NotBefore, Used int64

	Inactive bool
}

// Never is the moment that does not come.
const Never = math.MinInt64

// A Home is what the tokens of an environment share.
type Home struct {
	Environment string
	Catalog     *permission.Catalog
}

// rare is what most tokens do not have.
type rare struct {
	text     string      // owner and name, if they are long
	until    int64       // when the newest secret ends, as in Life
	older    []OldSecret // what rotations have replaced, the newest first
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
	noneRare  = &rare{until: Never, narrow: unlimited}
)

// A Secret is what a request shows of a secret.
type Secret struct {
	Digest  [32]byte
	Foreign bool // the digest is of a whole foreign token
}

// Equal compares in constant time.
func (s *Secret) Equal(digest *[32]byte, foreign bool) bool {
	return subtle.ConstantTimeCompare(s.Digest[:], digest[:]) == 1 && s.Foreign == foreign
}

// An OldSecret is the secret that another has replaced.
type OldSecret struct {
	Secret
	Until int64 // as in Life
}

// A Record is what New makes an Entry of. Without Limit and Only the token has none of its own.
type Record struct {
	Home
	Owner, Name string // at most 65,535 bytes together
	Secret      Secret // the newest
	Until       int64  // when that ends
	Older       []OldSecret
	Life        Life
	Permissions []string // sorted
	Networks    []netip.Prefix
	Limit       limit.Rate
	Only        resource.Limits
}

// New returns an Entry of what the store was asked for at a moment. It keeps the
// texts of r, Older and Only, but copies the other lists.
func New(id string, read cache.Instant, r *Record) Node {
	n := cache.NewEntry[Plain, Pointers](id, read)
	n.Pointers.home = unique.Make(r.Home)
	n.Value = Plain{
		name: uint16(len(r.Owner)), end: uint16(len(r.Owner) + len(r.Name)),
		digest: r.Secret.Digest, foreign: r.Secret.Foreign, Life: r.Life,
	}
	e := Of(n)
	perms := r.Catalog.Set(r.Permissions)
	e.low = perms.Low
	x := &rare{until: r.Until, older: r.Older, high: perms.High, narrow: unlimited}
	e.rare = x
	if int(e.end) > len(e.text) {
		x.text = r.Owner + r.Name
	} else {
		copy(e.text[:], r.Owner)
		copy(e.text[e.name:], r.Name)
	}
	x.networks = slices.Clone(r.Networks)
	if r.Limit != (limit.Rate{}) || r.Only != nil {
		x.narrow = &narrow{r.Limit, r.Only}
	}
	if perms.Len() != len(r.Permissions) || !slices.IsSorted(r.Permissions) { // Assigned would return others
		x.assigned = slices.Clone(r.Permissions)
	}
	if x.text == "" && x.until == Never && x.older == nil && x.high == nil && x.networks == nil && x.assigned == nil && x.narrow == unlimited {
		e.rare = nil
	}
	return n
}

func (e Entry) more() *rare {
	if e.rare == nil {
		return noneRare
	}
	return e.rare
}

// texts returns what stands in text from one place to another. It is not copied,
// as an Entry does not change.
func (e Entry) texts(from, to uint16) string {
	if int(e.end) > len(e.text) {
		return e.rare.text[from:to]
	}
	return alias.String(e.text[from:to])
}

// Home returns what the token shares with others.
func (e Entry) Home() Home { return e.home.Value() }

// Owner returns the owner.
func (e Entry) Owner() string { return e.texts(0, e.name) }

// Name returns the name.
func (e Entry) Name() string { return e.texts(e.name, e.end) }

// Permissions returns those of the catalog that are assigned.
func (e Entry) Permissions() bitset.Set { return bitset.Set{Low: e.low, High: e.more().high} }

// Limit returns the limit of the token itself.
func (e Entry) Limit() limit.Rate { return e.more().narrow.limit }

// Only returns the objects that the token is limited to.
func (e Entry) Only() resource.Limits { return e.more().narrow.only }

// Bound reports whether the token is bound to networks.
func (e Entry) Bound() bool { return len(e.more().networks) > 0 }

// Allows reports whether the token may be used from an address.
func (e Entry) Allows(addr netip.Addr) bool { return network.Inside(e.more().networks, addr) }

// Assigned returns the names of the permissions in the order of their bytes, or
// as they were stored if that is something else.
func (e Entry) Assigned() []string {
	if e.more().assigned != nil {
		return slices.Clone(e.rare.assigned)
	}
	var names []string
	for p := range e.Home().Catalog.In(e.Permissions()) {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// Find returns which of the token's secrets was presented, 0 for the newest, higher ones
// for older ones; -1 for none of them.
func (e Entry) Find(s *Secret) int {
	found := -1
	for i := range e.more().older {
		if old := &e.rare.older[i]; s.Equal(&old.Digest, old.Foreign) {
			found = 1 + i
		}
	}
	if s.Equal(&e.digest, e.foreign) {
		found = 0
	}
	return found
}

// FindFunc returns the first of the token's secrets for which f is true, as Find does.
func (e Entry) FindFunc(f func(Secret) bool) int {
	for i := range 1 + len(e.more().older) {
		if f(e.Secret(i)) {
			return i
		}
	}
	return -1
}

// Secret returns the secret that Find found.
func (e Entry) Secret(found int) Secret {
	if found > 0 {
		return e.rare.older[found-1].Secret
	}
	return Secret{e.digest, e.foreign}
}

// Until returns when the secret that Find found ends, as in Life.
func (e Entry) Until(found int) int64 {
	if found > 0 {
		return e.rare.older[found-1].Until
	}
	return e.more().until
}
