package reports

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// RequirementOf returns the requirement of a route, a line of the table of
// [apitoken.Routes], for [apitoken.Manager.Explain]: it does not know where a request has the
// ID of an object. It returns an error if the catalog lacks one of the permissions or types of
// objects, and if the route is open, because an open route requires nothing.
func RequirementOf(c *apitoken.Catalog, rt apitoken.Route) (apitoken.Requirement, error) {
	requirement, err := permissionsOf(c, rt)
	types := c.Resources()
	for i, name := range slices.Concat(rt.Resources, rt.Filtered) {
		k := slices.IndexFunc(types, func(r apitoken.Resource) bool { return r.Name() == name })
		switch {
		case err != nil:
		case k < 0:
			err = &apitoken.FieldError{Field: "route", Problem: fmt.Sprintf("is about the type %.40q, which the catalog does not have", name)}
		case i < len(rt.Resources):
			requirement = requirement.On(types[k], apitoken.PathValue(""))
		default:
			requirement = requirement.Filtered(types[k])
		}
	}
	return requirement, err
}

// permissionsOf returns what a route requires apart from objects.
func permissionsOf(c *apitoken.Catalog, rt apitoken.Route) (apitoken.Requirement, error) {
	perms, err := c.Lookup(rt.Permissions...)
	switch {
	case err != nil:
		return apitoken.Requirement{}, err
	case rt.Match == "token":
		return apitoken.AnyToken(), nil
	case len(perms) == 0:
		return apitoken.Requirement{}, &apitoken.FieldError{Field: "route", Problem: "requires no token"}
	case rt.Match == "any":
		return apitoken.Any(perms[0], perms[1:]...), nil
	}
	return apitoken.All(perms[0], perms[1:]...), nil
}

// NameOf returns the name of a route: the registered method and pattern.
func NameOf(rt apitoken.Route) string { return strings.TrimSpace(rt.Method + " " + rt.Pattern) }

// Reached is a route, and the decision about a token there. The Explanation of an open
// route is empty: such a route takes no token.
type Reached struct {
	apitoken.Route
	*apitoken.Explanation
}

// Reach returns for each route whether the service would accept a request with the newest secret of
// a token now, and the reasons against it. The routes are in the order of the table of
// [apitoken.Routes]. It ignores networks and rate limits. No Reasons means that the service would
// accept the request. The catalog is that of the service.
func Reach(ctx context.Context, m *apitoken.Manager, id string, c *apitoken.Catalog, routes []apitoken.Route) ([]Reached, error) {
	if _, err := m.Get(ctx, id); err != nil { // also if all routes are open
		return nil, err
	}
	reached := make([]Reached, 0, len(routes))
	known := make(map[string]*apitoken.Explanation)
	for _, rt := range routes {
		x := &apitoken.Explanation{}
		if rt.Match != "open" {
			requirement, err := RequirementOf(c, rt)
			if err != nil {
				return nil, err
			}
			key := fmt.Sprintln(rt.Match, rt.Permissions, rt.Resources, rt.Filtered)
			if x = known[key]; x == nil {
				if x, err = m.Explain(ctx, id, requirement, netip.Addr{}); err != nil {
					return nil, err
				}
				x.Reasons = lasting(x.Reasons)
				known[key] = x
			}
		}
		reached = append(reached, Reached{rt, x})
	}
	return reached, nil
}

// UnusedPermissions returns the permissions of a catalog that no route names, in the order
// of the catalog. A service can check them when it starts. It may use some of them with
// [apitoken.Token.Has] instead.
func UnusedPermissions(c *apitoken.Catalog, routes []apitoken.Route) []apitoken.Permission {
	return slices.DeleteFunc(c.All(), func(p apitoken.Permission) bool {
		return slices.ContainsFunc(routes, func(rt apitoken.Route) bool { return slices.Contains(rt.Permissions, p.Name()) })
	})
}

// RoutesWithout returns the routes that take tokens and say nothing of a type of objects: they
// refuse every token that is limited in it. It is a check for the start of a service.
func RoutesWithout(r apitoken.Resource, routes []apitoken.Route) []apitoken.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(rt apitoken.Route) bool {
		return rt.Match == "open" || slices.Contains(rt.Resources, r.Name()) || slices.Contains(rt.Filtered, r.Name())
	})
}
