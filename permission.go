package apitoken

import (
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken/internal/callsite"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/spelling"
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
type Catalog struct{ catalog permission.Catalog }

// A Permission is one entry of a [Catalog], made by [Catalog.Define] or
// [Catalog.Lookup]. Permissions compare with ==. The zero Permission is none:
// no token has it and no route can require it.
type Permission struct{ p *permission.Permission }

// maxUnknown bounds how many names Lookup makes suggestions for.
const maxUnknown = 10

// Define adds a permission. The name is 1 to 128 of A-Z, a-z, 0-9 and "._:/-",
// and by custom group:action; the description tells users what it allows.
//
// Define panics, naming the places in the source, if the name is malformed or
// defined already, the description is empty, or the catalog is closed.
func (c *Catalog) Define(name, description string) Permission {
	return Permission{c.catalog.Define(name, description, caller())}
}

// Lookup finds permissions by name, for lists that come from configuration or
// from a request. It returns them in the order of names, or an error that
// names the unknown ones, up to ten, and suggests what may have been meant.
func (c *Catalog) Lookup(names ...string) ([]Permission, error) {
	found, unknown := c.catalog.Find(names)
	if unknown != nil {
		unknown = unknown[:min(len(unknown), maxUnknown)]
		return nil, &FieldError{"permissions", "unknown: " + spelling.Suggest(unknown, permission.Names(c.catalog.All()))}
	}
	return permissions(slices.Values(found)), nil
}

// All returns the permissions in the order of their definition.
func (c *Catalog) All() []Permission { return permissions(slices.Values(c.catalog.All())) }

func permissions(list iter.Seq[*permission.Permission]) []Permission {
	perms := []Permission{}
	for p := range list {
		perms = append(perms, Permission{p})
	}
	return perms
}

// Name returns the name, "" for the zero Permission.
func (p Permission) Name() string {
	if p.p == nil {
		return ""
	}
	return p.p.Name
}

// Description returns what the permission allows, in words for users.
func (p Permission) Description() string {
	if p.p == nil {
		return ""
	}
	return p.p.Description
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
	needs      permission.Requirement
	headerOnly bool
	denials    [][]*Refusal // of a route; see denials
}

// All is met by a token that has every one of these permissions.
// It panics on a zero Permission.
func All(p Permission, more ...Permission) Requirement {
	return newRequirement(permission.All, p, more, caller())
}

// Any is met by a token that has at least one of these permissions.
// It panics on a zero Permission.
func Any(p Permission, more ...Permission) Requirement {
	return newRequirement(permission.Any, p, more, caller())
}

// AnyToken is met by every valid token, whatever its permissions.
func AnyToken() Requirement { return Requirement{needs: permission.Require(permission.Token)} }

// HeaderOnly returns a Requirement like n that refuses tokens in the query with 400.
func (n Requirement) HeaderOnly() Requirement {
	n.headerOnly = true
	return n
}

func newRequirement(m permission.Match, p Permission, more []Permission, at string) Requirement {
	var list []*permission.Permission
	for _, p := range append([]Permission{p}, more...) {
		if p.p == nil {
			panic("apitoken: " + at + ": the zero Permission cannot be required; use a value returned by Catalog.Define")
		}
		list = append(list, p.p)
	}
	return Requirement{needs: permission.Require(m, list...)}
}

var packagePath = reflect.TypeFor[Permission]().PkgPath()

// caller returns the file:line of the first caller outside this package.
func caller() string { return callsite.Outside(packagePath) }
