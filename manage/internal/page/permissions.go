package page

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A permissionGroup is a group of permissions in a form or on a page.
type permissionGroup struct {
	Name        string
	ID          string
	Permissions []permissionItem
	Selected    int
	Grantable   int
}

type permissionItem struct {
	Name, Description string
	Selected          bool
	Denied            bool // the actor cannot grant it
}

// Tail returns the name after its first colon.
func (p permissionItem) Tail() string {
	if _, tail, found := strings.Cut(p.Name, ":"); found {
		return tail
	}
	return p.Name
}

// groupPermissions groups permissions by Permission.Group, in the order of perms. Fill
// returns the item for each.
func groupPermissions(perms []apitoken.Permission, fill func(apitoken.Permission) permissionItem) []*permissionGroup {
	var groups []*permissionGroup
	for _, p := range perms {
		name := p.Group()
		i := slices.IndexFunc(groups, func(g *permissionGroup) bool { return g.Name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &permissionGroup{Name: name, ID: "group-" + strconv.Itoa(i)})
		}
		g, entry := groups[i], fill(p)
		g.Permissions = append(g.Permissions, entry)
		if entry.Selected {
			g.Selected++
		}
		if !entry.Denied {
			g.Grantable++
		}
	}
	return groups
}

// assignedGroups groups the permissions of a token.
func assignedGroups(in *apitoken.TokenInfo) []*permissionGroup {
	return groupPermissions(in.Permissions, func(p apitoken.Permission) permissionItem {
		return permissionItem{Name: p.Name(), Description: p.Description()}
	})
}

// mayGrant reports whether apitoken.Manager lets an actor grant p.
func mayGrant(a apitoken.Actor, p apitoken.Permission) bool {
	return slices.Contains(a.Grants, p) && (a.Token.IsZero() || a.Token.Has(p))
}
