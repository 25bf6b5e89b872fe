package apitoken

import (
	"context"
	"net/http"
	"slices"

	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/resource"
)

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

// covers answers whether a token with these limits may make a request, nil if there is
// none. It names the type of objects that the answer is about.
func (n *Requirement) covers(ctx context.Context, l resource.Limits, r *http.Request) (a answer, about string, err error) {
	if r == nil && n.objects != nil {
		r = new(http.Request).WithContext(ctx)
	}
	about, err = n.objects.Cover(l, r)
	return answerTo(about == "", err), about, err
}

// Only returns the IDs of the objects of a type that a token is limited to, sorted. limited
// is false if it is not limited in that type. The zero Token is limited to nothing.
func (t Token) Only(r Resource) (ids []string, limited bool) {
	if t.p == nil || r.r == nil || r.r.Catalog != t.entry().home.Value().catalog {
		return nil, true
	}
	ids, limited = t.entry().more().narrow.only.Of(r.r.Name)
	return slices.Clone(ids), limited
}
