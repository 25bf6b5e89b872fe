package page

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/apitoken-go/apitoken"
)

// A tokenAction is a link or button for a change of a token.
type tokenAction struct {
	Name, Label string
	Link        string
	Danger      bool
	Not         string // why the change would be refused; "" if it is offered
}

// asOwner is the role of those whose deactivation owners may undo.
const asOwner apitoken.Role = "owner"

// owns reports whether a token is the actor's own.
func owns(a apitoken.Actor, in *apitoken.TokenInfo) bool {
	return in.Owner == a.User || slices.Contains(a.ActsFor, in.Owner)
}

// actions returns the changes of a token that the page offers to the actor. It makes
// no authorization decisions: apitoken.Manager checks the change again.
func (h *handler) actions(rq *request, in *apitoken.TokenInfo, back string) []tokenAction {
	mine := owns(rq.actor, in)
	var lacking []string
	for _, p := range in.Permissions {
		if !mayGrant(rq.actor, p) {
			lacking = append(lacking, p.Name())
		}
	}
	ungrantable := ""
	if lacking != nil {
		ungrantable = "you do not have " + h.joinAnd(lacking[:min(3, len(lacking))]) + " yourself"
	}
	var list []tokenAction
	add := func(name, label, not string, danger bool) {
		link, query := rq.at.base+"tokens/"+in.ID+"/"+name, url.Values{}
		if back != "" {
			query.Set("back", back)
		}
		if name == "activate" { // what the user has seen, and nothing that came after it, is undone
			query.Set("version", strconv.FormatInt(in.Version, 10))
		}
		if len(query) > 0 {
			link += "?" + query.Encode()
		}
		list = append(list, tokenAction{name, label, link, danger, not})
	}
	switch in.Status {
	case apitoken.StatusNewer, apitoken.StatusDeleted:
		return nil
	case apitoken.StatusDamaged:
		not := ""
		if !rq.actor.ManageOthers {
			not = "only those who manage the tokens of others can delete a damaged one"
		}
		add("delete", "Delete", not, true)
		return list
	}
	if mine {
		not := ungrantable
		switch {
		case in.Rotating():
			not = "a rotation is not over yet"
		case in.Status != apitoken.StatusActive:
			not = "only an active token can be rotated"
		}
		add("rotate", "Rotate", not, false)
	}
	switch {
	case in.DeactivatedAt.IsZero():
		add("deactivate", "Deactivate", "", false)
	case mine && in.DeactivatedAs != asOwner:
		add("activate", "Activate", "someone else than its owner deactivated it", false)
	default:
		add("activate", "Activate", ungrantable, false)
		if !mine && in.DeactivatedAs == asOwner {
			add("deactivate", "Deactivate too", "", false)
		}
	}
	add("delete", "Delete", "", true)
	return list
}
