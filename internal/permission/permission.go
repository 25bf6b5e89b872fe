// Package permission holds the permissions of a service, and decides whether a set of them
// meets the requirement of a route.
package permission

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/text"
)

// MaxDescription is how many characters a description may have.
const MaxDescription = 1000

// A Catalog holds all permissions of a service. Its zero value is empty. Once it is closed,
// it is read without its lock.
type Catalog struct {
	mu     sync.Mutex
	list   []*Permission
	byName map[string]*Permission
	closed string // where Close was called first

	resources []*Resource
}

// A Permission is one entry of a Catalog.
type Permission struct {
	Catalog           *Catalog
	Index             int // in the order of definition
	Name, Description string
	defined           string // file:line
}

// Define adds a permission, which is defined at file:line. It panics if it may not.
func (c *Catalog) Define(name, description, at string) *Permission {
	if !grammar.ValidPermission(name) {
		panic(fmt.Sprintf("apitoken: %s: permission name %q is not 1 to 128 of A-Z, a-z, 0-9 and ._:/-", at, name))
	}
	if err := text.Check(description, 1, MaxDescription); err != nil {
		panic(fmt.Sprintf("apitoken: %s: description of permission %q %v", at, name, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != "" {
		panic(fmt.Sprintf("apitoken: %s: permission %q defined after the catalog was closed by New at %s", at, name, c.closed))
	}
	if earlier, ok := c.byName[name]; ok {
		panic(fmt.Sprintf("apitoken: %s: permission %q is defined already at %s", at, name, earlier.defined))
	}
	p := &Permission{c, len(c.list), name, description, at}
	if c.byName == nil {
		c.byName = make(map[string]*Permission)
	}
	c.byName[name] = p
	c.list = append(c.list, p)
	return p
}

// Find returns the named permissions, and the names that the catalog does not have. It
// may be called before Close.
func (c *Catalog) Find(names []string) (found []*Permission, unknown []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if p, ok := c.byName[name]; ok {
			found = append(found, p)
		} else {
			unknown = append(unknown, name)
		}
	}
	return found, unknown
}

// All returns the permissions in the order of their definition. It may be called before
// Close.
func (c *Catalog) All() []*Permission {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// Close ends definition, at file:line.
func (c *Catalog) Close(at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == "" {
		c.closed = at
	}
}

// Set returns those of the named permissions that a closed catalog has.
func (c *Catalog) Set(names []string) (set bitset.Set) {
	for _, name := range names {
		if p, ok := c.byName[name]; ok {
			set.Add(p.Index)
		}
	}
	return set
}

// SetOf is Set for names with commas between them.
func (c *Catalog) SetOf(names string) (set bitset.Set) {
	for rest := names; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ",")
		if p, ok := c.byName[name]; ok {
			set.Add(p.Index)
		}
	}
	return set
}

// In returns the permissions of a set in the order of a closed catalog.
func (c *Catalog) In(set bitset.Set) iter.Seq[*Permission] {
	return func(yield func(*Permission) bool) {
		for _, p := range c.list {
			if set.Has(p.Index) && !yield(p) {
				return
			}
		}
	}
}

// Unknown returns the names that a closed catalog does not have.
func (c *Catalog) Unknown(names []string) []string {
	_, unknown := c.Find(names)
	return unknown
}

// A Requirement says which permissions a route requires. The zero Requirement is met by no set.
type Requirement struct {
	Match       Match
	Permissions []*Permission // without repetitions

	set   bitset.Set  // of Permissions
	stray *Permission // one of Permissions that is of another catalog than the first
}

// A Match says how many of its permissions a Requirement requires.
type Match string

// All is met by all of the permissions, Any by one of them, Token by any set.
const (
	All   Match = "all"
	Any   Match = "any"
	Token Match = "token"
)

// Require returns a Requirement of permissions.
func Require(m Match, permissions ...*Permission) Requirement {
	n := Requirement{Match: m}
	for _, p := range permissions {
		if slices.Contains(n.Permissions, p) {
			continue
		}
		n.Permissions = append(n.Permissions, p)
		n.set.Add(p.Index)
		if p.Catalog != n.Permissions[0].Catalog {
			n.stray = p
		}
	}
	return n
}

// MetBy reports whether a token with these permissions meets n.
func (n *Requirement) MetBy(set bitset.Set) bool {
	switch n.Match {
	case All:
		return len(n.Permissions) > 0 && set.Holds(n.set)
	case Any:
		return !set.And(n.set).Empty()
	}
	return n.Match == Token
}

// Missing returns the names that keep a token with these permissions from
// meeting n: of an Any, all of its alternatives.
func (n *Requirement) Missing(set bitset.Set) []string {
	var names []string
	for _, p := range n.Permissions {
		if !set.Has(p.Index) {
			names = append(names, p.Name)
		}
	}
	return names
}

// Names returns the names of permissions.
func Names(list []*Permission) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return names
}

// Check reports a Requirement, with the objects that it is about, that cannot be judged
// against this catalog.
func (n *Requirement) Check(c *Catalog, objects Objects) error {
	for i := range objects {
		if r := objects[i].Resource; r.Catalog != c {
			return fmt.Errorf("apitoken: resource %q, defined at %s, is not of the catalog in Config.Permissions", r.Name, r.defined)
		}
	}
	stray := n.stray
	switch {
	case n.Match == "":
		return fmt.Errorf("apitoken: the zero Requirement is met by no token; use All, Any or AnyToken")
	case len(n.Permissions) > 0 && n.Permissions[0].Catalog != c:
		stray = n.Permissions[0]
	case stray == nil:
		return nil
	}
	return fmt.Errorf("apitoken: permission %q, defined at %s, is not of the catalog in Config.Permissions", stray.Name, stray.defined)
}
