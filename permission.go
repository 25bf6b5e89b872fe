package apitoken

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/callsite"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/spelling"
	"github.com/apitoken-go/apitoken/internal/text"
)

// A Catalog holds all permissions that a service knows. Its zero value is
// empty and ready for use. Permissions are defined while the program starts,
// as package variables:
//
//	var (
//		catalog   apitoken.Catalog
//		readDevices = catalog.Define("devices:read", "See devices and their state")
//	)
//
// [New] closes the catalog: a permission that could be defined later could
// not have been part of what routes and tokens were checked against.
type Catalog struct {
	mu     sync.Mutex
	list   []*permission
	byName map[string]*permission
	closed string // where New closed it
}

// A Permission is one entry of a [Catalog], made by [Catalog.Define] or
// [Catalog.Lookup]. Permissions compare with ==. The zero Permission is none:
// no token has it and no route can require it.
type Permission struct{ p *permission }

type permission struct {
	catalog           *Catalog
	index             int
	name, description string
	defined           string // file:line
}

// maxUnknown bounds how many names Lookup makes suggestions for.
const maxUnknown = 10

// Define adds a permission. The name is 1 to 128 of A-Z, a-z, 0-9 and "._:/-",
// and by custom group:action; the description tells users what it allows.
//
// Define panics, naming the places in the source, if the name is malformed or
// defined already, the description is empty, or the catalog is closed.
func (c *Catalog) Define(name, description string) Permission {
	here := caller()
	if !grammar.ValidPermission(name) {
		panic(fmt.Sprintf("apitoken: %s: permission name %q is not 1 to 128 of A-Z, a-z, 0-9 and ._:/-", here, name))
	}
	if err := text.Check(description, 1, maxDescription); err != nil {
		panic(fmt.Sprintf("apitoken: %s: description of permission %q %v", here, name, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != "" {
		panic(fmt.Sprintf("apitoken: %s: permission %q defined after the catalog was closed by New at %s", here, name, c.closed))
	}
	if earlier, ok := c.byName[name]; ok {
		panic(fmt.Sprintf("apitoken: %s: permission %q is defined already at %s", here, name, earlier.defined))
	}
	p := &permission{c, len(c.list), name, description, here}
	if c.byName == nil {
		c.byName = make(map[string]*permission)
	}
	c.byName[name] = p
	c.list = append(c.list, p)
	return Permission{p}
}

// Lookup finds permissions by name, for lists that come from configuration or
// from a request. It returns them in the order of names, or an error that
// names the unknown ones, up to ten, and suggests what may have been meant.
func (c *Catalog) Lookup(names ...string) ([]Permission, error) {
	found := make([]Permission, 0, len(names))
	var unknown []string
	c.mu.Lock()
	for _, name := range names {
		if p, ok := c.byName[name]; ok {
			found = append(found, Permission{p})
		} else if len(unknown) < maxUnknown {
			unknown = append(unknown, name)
		}
	}
	c.mu.Unlock() // as suggestions take time
	if unknown != nil {
		return nil, &FieldError{"permissions", "unknown: " + spelling.Suggest(unknown, namesOf(c.All()))}
	}
	return found, nil
}

// All returns the permissions in the order of their definition.
func (c *Catalog) All() []Permission {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Permission, len(c.list))
	for i, p := range c.list {
		all[i] = Permission{p}
	}
	return all
}

// close ends definition. From then on list and byName are read without the lock.
func (c *Catalog) close(at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == "" {
		c.closed = at
	}
}

// set returns those of the named permissions that the catalog has, once it is closed.
func (c *Catalog) set(names []string) (set bitset.Set) {
	for _, name := range names {
		if p, ok := c.byName[name]; ok {
			set.Add(p.index)
		}
	}
	return set
}

// permissions returns the permissions of a set in the order of the catalog, once it is
// closed.
func (c *Catalog) permissions(set bitset.Set) []Permission {
	perms := []Permission{}
	for _, p := range c.list {
		if set.Has(p.index) {
			perms = append(perms, Permission{p})
		}
	}
	return perms
}

// unknown returns the names that the catalog does not have, once it is closed.
func (c *Catalog) unknown(names []string) []string {
	var unknown []string
	for _, name := range names {
		if _, ok := c.byName[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// Name returns the name, "" for the zero Permission.
func (p Permission) Name() string {
	if p.p == nil {
		return ""
	}
	return p.p.name
}

// Description returns what the permission allows, in words for users.
func (p Permission) Description() string {
	if p.p == nil {
		return ""
	}
	return p.p.description
}

// Group returns the part of the name before the first colon, "" without one.
func (p Permission) Group() string {
	group, _, found := strings.Cut(p.Name(), ":")
	if !found {
		return ""
	}
	return group
}

// String returns the name.
func (p Permission) String() string { return p.Name() }

// A Requirement says what a route asks of a token. The zero Requirement is met by no token.
type Requirement struct {
	match      match
	perms      []Permission
	headerOnly bool

	set     bitset.Set // of perms
	catalog *Catalog   // of the first of perms; nil without any
	stray   Permission // one of perms that is of another catalog

	denials [][]*Refusal // of a route; see denials
}

type match string

const (
	matchAll   match = "all"
	matchAny   match = "any"
	matchToken match = "token"
)

// All is met by a token that has every one of these permissions.
// It panics on a zero Permission.
func All(p Permission, more ...Permission) Requirement {
	return newRequirement(matchAll, p, more, caller())
}

// Any is met by a token that has at least one of these permissions.
// It panics on a zero Permission.
func Any(p Permission, more ...Permission) Requirement {
	return newRequirement(matchAny, p, more, caller())
}

// AnyToken is met by every valid token, whatever its permissions.
func AnyToken() Requirement { return Requirement{match: matchToken} }

// HeaderOnly returns a Requirement like n that refuses tokens in the query with 400.
func (n Requirement) HeaderOnly() Requirement {
	n.headerOnly = true
	return n
}

// Permissions returns the names of the permissions of n, and whether it asks for "all" or
// "any" of them; "token" is [AnyToken].
func (n Requirement) Permissions() (names []string, match string) {
	return namesOf(n.perms), string(n.match)
}

func newRequirement(m match, p Permission, more []Permission, at string) Requirement {
	n := Requirement{match: m}
	for _, p := range append([]Permission{p}, more...) {
		if p.p == nil {
			panic("apitoken: " + at + ": the zero Permission cannot be required; use a value returned by Catalog.Define")
		}
		if slices.Contains(n.perms, p) {
			continue
		}
		n.perms = append(n.perms, p)
		n.set.Add(p.p.index)
		if n.catalog == nil {
			n.catalog = p.p.catalog
		} else if n.catalog != p.p.catalog {
			n.stray = p
		}
	}
	return n
}

// metBy reports whether a token with these permissions meets n.
func (n *Requirement) metBy(set bitset.Set) bool {
	switch n.match {
	case matchAll:
		return len(n.perms) > 0 && set.Holds(n.set)
	case matchAny:
		return !set.And(n.set).Empty()
	}
	return n.match == matchToken
}

// missing returns the names that keep a token with these permissions from
// meeting n: of an Any, all of its alternatives.
func (n *Requirement) missing(set bitset.Set) []string {
	var names []string
	for _, p := range n.perms {
		if !set.Has(p.p.index) {
			names = append(names, p.p.name)
		}
	}
	return names
}

// check reports a Requirement that cannot be judged against this catalog.
func (n *Requirement) check(c *Catalog) error {
	stray := n.stray.p
	switch {
	case n.match == "":
		return fmt.Errorf("apitoken: the zero Requirement is met by no token; use All, Any or AnyToken")
	case n.catalog != nil && n.catalog != c:
		stray = n.perms[0].p
	case stray == nil:
		return nil
	}
	return fmt.Errorf("apitoken: permission %q, defined at %s, is not of the catalog in Config.Permissions", stray.name, stray.defined)
}

// namesOf returns the names of permissions in order.
func namesOf(perms []Permission) []string {
	list := make([]string, len(perms))
	for i, p := range perms {
		list[i] = p.Name()
	}
	return list
}

var packagePath = reflect.TypeFor[Permission]().PkgPath()

// caller returns the file:line of the first caller outside this package.
func caller() string { return callsite.Outside(packagePath) }
