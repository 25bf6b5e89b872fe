package page

import (
	"slices"

	"github.com/apitoken-go/apitoken"
)

// A permissionGroup is a group of permissions in a form or on a page.
type permissionGroup struct {
	Name        string
	Permissions []permissionItem
	Selected    int
}

type permissionItem struct {
	Name, Description string
	Selected          bool
	Denied            bool // the user cannot assign it
}

// groupPermissions groups permissions by Permission.Group, in the order of perms, those
// that are denied apart from the others. Fill returns the item for each.
func groupPermissions(perms []apitoken.Permission, fill func(apitoken.Permission) permissionItem) (groups, denied []*permissionGroup) {
	for _, p := range perms {
		item, list := fill(p), &groups
		if item.Denied {
			item.Selected, list = false, &denied
		}
		i := slices.IndexFunc(*list, func(g *permissionGroup) bool { return g.Name == p.Group() })
		if i < 0 {
			i = len(*list)
			*list = append(*list, &permissionGroup{Name: p.Group()})
		}
		g := (*list)[i]
		g.Permissions = append(g.Permissions, item)
		if item.Selected {
			g.Selected++
		}
	}
	return groups, denied
}

// assignedGroups groups the permissions of a token.
func assignedGroups(in *apitoken.TokenInfo) []*permissionGroup {
	groups, _ := groupPermissions(in.Permissions, func(p apitoken.Permission) permissionItem {
		return permissionItem{Name: p.Name(), Description: p.Description()}
	})
	return groups
}

// mayGrant reports whether apitoken.Manager lets an actor grant p.
func mayGrant(a apitoken.Actor, p apitoken.Permission) bool {
	return slices.Contains(a.Grants, p) && (a.Token.IsZero() || a.Token.Has(p))
}
