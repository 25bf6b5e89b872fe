package permission

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/resource"
	"github.com/apitoken-go/apitoken/internal/text"
)

// MaxLabel is how many characters the label of a type of objects may have.
const MaxLabel = 100

// A Resource is a type of objects that tokens can be limited to.
type Resource struct {
	Catalog     *Catalog
	Name, Label string
	defined     string // file:line
}

// Resource adds a type of objects, which is defined at file:line. It panics if it may not.
func (c *Catalog) Resource(name, label, at string) *Resource {
	if !resource.ValidType(name) {
		panic(fmt.Sprintf("apitoken: %s: resource name %q is not 1 to 32 of a-z, 0-9, - and _", at, name))
	}
	if err := text.Check(label, 1, MaxLabel); err != nil {
		panic(fmt.Sprintf("apitoken: %s: label of resource %q %v", at, name, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != "" {
		panic(fmt.Sprintf("apitoken: %s: resource %q defined after the catalog was closed by New at %s", at, name, c.closed))
	}
	for _, r := range c.resources {
		if r.Name == name {
			panic(fmt.Sprintf("apitoken: %s: resource %q is defined already at %s", at, name, r.defined))
		}
	}
	r := &Resource{c, name, label, at}
	c.resources = append(c.resources, r)
	return r
}

// Resources returns the types in the order of their definition. It may be called before
// Close.
func (c *Catalog) Resources() []*Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.resources)
}

// ResourceNames returns their names.
func (c *Catalog) ResourceNames() (names []string) {
	for _, r := range c.Resources() {
		names = append(names, r.Name)
	}
	return names
}

// An Object is what a route says of one type of objects.
type Object struct {
	Resource *Resource
	ID       func(*http.Request) string // of the one that a request is about; nil: the handler filters
}

// Objects are all that a route says of objects.
type Objects []Object

// Cover returns the type of which a request has an object that is not in l, or of which the
// route says nothing although it is limited; "" if there is none. The error says that an ID
// cannot be read, of which type. It comes first, as it concerns every token.
func (list Objects) Cover(l resource.Limits, r *http.Request) (beyond string, err error) {
	for i := range list {
		o := &list[i]
		if o.ID == nil {
			continue
		}
		id, err := o.read(r)
		if err != nil {
			return o.Resource.Name, fmt.Errorf("apitoken: the route does not know which %s the request is about: %w", o.Resource.Name, err)
		}
		if beyond == "" && !l.Allow(o.Resource.Name, id) {
			beyond = o.Resource.Name
		}
	}
	for i := range l {
		if beyond == "" && !list.says(l[i].Type) {
			beyond = l[i].Type
		}
	}
	return beyond, nil
}

// says reports whether the route says anything of a type.
func (list Objects) says(name string) bool {
	return slices.ContainsFunc(list, func(o Object) bool { return o.Resource.Name == name })
}

// read returns the ID of the object that a request is about.
func (o *Object) read(r *http.Request) (id string, err error) {
	defer bulkhead.Recover("the function of Requirement.On", &err)
	if id = o.ID(r); !resource.ValidID(id) {
		return "", fmt.Errorf("%.140q is not an ID", id)
	}
	return id, nil
}

// Any returns what the route says of a request about whichever objects it allows a token with
// these limits: an ID that can only be read from a request is one of l, if that has any.
func (list Objects) Any(ctx context.Context, l resource.Limits) Objects {
	list = slices.Clone(list)
	for i := range list {
		o := &list[i]
		if o.ID == nil {
			continue
		}
		if _, err := o.read(new(http.Request).WithContext(ctx)); err == nil {
			continue
		}
		o.ID = nil
		if ids, limited := l.Of(o.Resource.Name); limited && len(ids) == 0 {
			o.ID = func(*http.Request) string { return "any" } // which l does not have
		}
	}
	return list
}

// Names returns the types of which the route has an ID, and the types that the handler filters.
func (list Objects) Names() (ids, filtered []string) {
	for _, o := range list {
		names := &ids
		if o.ID == nil {
			names = &filtered
		}
		if !slices.Contains(*names, o.Resource.Name) {
			*names = append(*names, o.Resource.Name)
		}
	}
	return ids, filtered
}
