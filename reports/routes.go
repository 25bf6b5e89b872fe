package reports

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// RequirementOf returns the requirement of a route, a line of the table of
// [apitoken.Routes]. It returns an error if the catalog lacks one of the permissions, and
// if the route is open, because an open route requires nothing.
func RequirementOf(c *apitoken.Catalog, rt apitoken.Route) (apitoken.Requirement, error) {
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

// Reach returns for each route, in the order of the table of [apitoken.Routes], whether the
// service would accept a request with the newest secret of a token now, and the reasons
// against it. It ignores networks. No Reasons means that the service would accept the
// request. The catalog is that of the service.
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
			key := rt.Match + " " + strings.Join(rt.Permissions, " ")
			if x = known[key]; x == nil {
				if x, err = m.Explain(ctx, id, requirement, netip.Addr{}); err != nil {
					return nil, err
				}
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
