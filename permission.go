package apitoken

import (
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken/internal/callsite"
	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/spelling"
)

// A Catalog holds all permissions of a service. Its zero value is empty and ready for
// use. Define permissions while the program starts, as package variables:
//
//	var (
//		catalog     apitoken.Catalog
//		readDevices = catalog.Define("devices:read", "See devices and their state")
//	)
//
// New closes the catalog, because routes and tokens were checked against the permissions
// defined until then.
type Catalog struct{ catalog permission.Catalog }

// A Permission is one entry of a [Catalog], made by [Catalog.Define] or
// [Catalog.Lookup]. Permissions compare with ==. The zero Permission is none:
// no token has it and no route can require it.
type Permission struct{ p *permission.Permission }

// maxUnknown bounds how many names Lookup makes suggestions for.
const maxUnknown = 10

// Define adds a permission. The name has 1 to 128 characters of A-Z, a-z, 0-9 and
// "._:/-", by convention group:action. The description tells users what the permission
// allows.
//
// Define panics if the name is malformed or already defined, if the description is
// empty, or if the catalog is closed. The message names the places in the source.
func (c *Catalog) Define(name, description string) Permission {
	return Permission{c.catalog.Define(name, description, caller())}
}

// Lookup returns the permissions with these names, in the order of names, for lists from
// a configuration or a request. The error names up to ten unknown names, and suggests
// similar ones.
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
	return p.Name()[:max(0, strings.IndexByte(p.Name(), ':'))]
}

// String returns the name.
func (p Permission) String() string { return p.Name() }

// A Requirement is what a route requires of a token. No token meets the zero
// Requirement.
type Requirement struct {
	needs   permission.Requirement
	inQuery credential.Fault // what a token in the query is: nothing, or FaultHeaderOnly or FaultNotDerived
	objects permission.Objects
	denials [][]*Refusal // of a route; see denials
}

// All requires every one of these permissions. It panics on a zero Permission.
func All(p Permission, more ...Permission) Requirement {
	return newRequirement(permission.All, p, more, caller())
}

// Any requires at least one of these permissions. It panics on a zero Permission.
func Any(p Permission, more ...Permission) Requirement {
	return newRequirement(permission.Any, p, more, caller())
}

// AnyToken requires a valid token, with any permissions or none.
func AnyToken() Requirement { return Requirement{needs: permission.Require(permission.Token)} }

// HeaderOnly returns a Requirement like n that refuses tokens in the query with 400.
func (n Requirement) HeaderOnly() Requirement {
	n.inQuery = credential.FaultHeaderOnly
	return n
}

// DerivedInQuery returns a Requirement like n that refuses tokens in the query with 400,
// unless they are derived: see [Authority.Derive].
func (n Requirement) DerivedInQuery() Requirement {
	n.inQuery = credential.FaultNotDerived
	return n
}

// Permissions returns the names of the permissions of n and how many of them it
// requires: "all" or "any"; "token" is AnyToken.
func (n Requirement) Permissions() (names []string, match string) {
	return permission.Names(n.needs.Permissions), string(n.needs.Match)
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

// A Resource is a type of objects that tokens can be limited to, made by
// [Catalog.Resource]. Resources compare with ==. The zero Resource is none.
type Resource struct{ r *permission.Resource }

// Resource adds a type of objects that tokens can be limited to, such as devices or
// projects. The name has 1 to 32 characters of a-z, 0-9, "-" and "_". The label names the
// type to users. Resource panics where [Catalog.Define] does. docs/resources.md has more.
func (c *Catalog) Resource(name, label string) Resource {
	return Resource{c.catalog.Resource(name, label, caller())}
}

// Resources returns the types of objects in the order of their definition.
func (c *Catalog) Resources() (list []Resource) {
	for _, r := range c.catalog.Resources() {
		list = append(list, Resource{r})
	}
	return list
}

// Name returns the name, "" for the zero Resource.
func (r Resource) Name() string {
	if r.r == nil {
		return ""
	}
	return r.r.Name
}

// Label returns the label, "" for the zero Resource.
func (r Resource) Label() string {
	if r.r == nil {
		return ""
	}
	return r.r.Label
}

// String returns the name.
func (r Resource) String() string { return r.Name() }

// On returns a Requirement like n for requests about an object of a type: a token that is
// limited in that type needs to be allowed this one. The function returns its ID; see
// [PathValue] and [ID]. If it panics, or returns what cannot be an ID, such as "", the
// request is refused with 500, whatever its token. With [Authority.Verify] and
// [Authority.Recheck] the function gets an empty request that has only the context.
//
// A token that is limited in a type is refused, with 403, on every route that has neither
// On nor Filtered for it. Call On again for further objects; all must be allowed. It
// panics on a zero Resource and without a function.
func (n Requirement) On(r Resource, id func(*http.Request) string) Requirement {
	if id == nil {
		panic("apitoken: " + caller() + ": On without a function for the ID; use PathValue or ID")
	}
	return n.with(permission.Object{Resource: r.r, ID: id})
}

// Filtered returns a Requirement like n for routes whose handler gives a token only the
// objects of these types that [Token.Only] lists. It panics on a zero Resource.
func (n Requirement) Filtered(types ...Resource) Requirement {
	for _, r := range types {
		n = n.with(permission.Object{Resource: r.r})
	}
	return n
}

func (n Requirement) with(o permission.Object) Requirement {
	if o.Resource == nil {
		panic("apitoken: " + caller() + ": the zero Resource cannot be required; use a value returned by Catalog.Resource")
	}
	n.objects = append(slices.Clip(n.objects), o)
	return n
}

// PathValue returns a function for On that returns [http.Request.PathValue].
func PathValue(name string) func(*http.Request) string {
	return func(r *http.Request) string { return r.PathValue(name) }
}

// ID returns a function for On that returns an ID that the program knows.
func ID(id string) func(*http.Request) string { return func(*http.Request) string { return id } }

// Only returns the IDs of the objects of a type that a token is limited to, sorted. limited
// is false if it is not limited in that type. The zero Token is limited to nothing.
func (t Token) Only(r Resource) (ids []string, limited bool) {
	if t.p == nil || r.r == nil || r.r.Catalog != t.entry().Home().Catalog {
		return nil, true
	}
	ids, limited = t.only().Of(r.r.Name)
	return slices.Clone(ids), limited
}
