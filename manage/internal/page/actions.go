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
	Link        string // of the page that asks before it makes the change
	Post        string // the address of a form that makes the change at once, "" if a page asks first
	Version     string // of the token that the user sees, for the form
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
		ungrantable = h.words.Text("you do not have {1} yourself", h.joinAnd(lacking[:min(3, len(lacking))]))
	}
	var list []tokenAction
	add := func(name, label, not string, danger bool) {
		a := tokenAction{Name: name, Label: label, Link: rq.at.base + "tokens/" + in.ID + "/" + name, Danger: danger, Not: not}
		query := url.Values{}
		if name == "activate" || name == "deactivate" && in.DeactivatedAt.IsZero() { // can be undone
			a.Post, a.Version = a.Link, strconv.FormatInt(in.Version, 10)
		}
		if back != "" {
			query.Set("back", back)
		}
		if name == "activate" { // what the user has seen, and nothing that came after it, is undone
			query.Set("version", a.Version)
		}
		if len(query) > 0 {
			a.Link += "?" + query.Encode()
		}
		list = append(list, a)
	}
	switch in.Status {
	case apitoken.StatusNewer, apitoken.StatusDeleted:
		return nil
	case apitoken.StatusDamaged:
		not := ""
		if !rq.actor.ManageOthers {
			not = h.words.Text("only people who manage the tokens of others can delete a damaged one")
		}
		add("delete", h.words.Text("Delete"), not, true)
		return list
	}
	if mine {
		not := ungrantable
		switch {
		case in.Rotating():
			not = h.words.Text("a rotation is not over yet")
		case in.Status != apitoken.StatusActive:
			not = h.words.Text("only an active token can be rotated")
		}
		add("rotate", h.words.Text("Rotate"), not, false)
	}
	switch {
	case in.DeactivatedAt.IsZero():
		add("deactivate", h.words.Text("Deactivate"), "", false)
	case mine && in.DeactivatedAs != asOwner:
		add("activate", h.words.Text("Activate"), h.words.Text("someone other than its owner deactivated it"), false)
	default:
		add("activate", h.words.Text("Activate"), ungrantable, false)
		if !mine && in.DeactivatedAs == asOwner {
			add("deactivate", h.words.Text("Deactivate too"), "", false)
		}
	}
	add("delete", h.words.Text("Delete"), "", true)
	return list
}
