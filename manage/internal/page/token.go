package page

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/reports"
)

// A tokenData is the data of the page about one token.
type tokenData struct {
	layout
	Token   *apitoken.TokenInfo
	Texts   []textField
	Limits  limitData
	Objects []*objectType
	Mine    bool
	State   tokenState
	Does    []tokenAction
	Edit    bool // the user may change it
	Groups  []*permissionGroup

	Secret   string // "" unless the user has just asked for it
	Ticket   string // of the form that shows the secret
	NotShown string // why the page cannot show the secret

	Created, Expires, LastUsed when
	ByPolicy                   bool // the policy of the service sets Expires
	Idle                       string
	Old                        when
	OldUsed                    when
	OwnerLink                  string // the list of the owner’s tokens, "" if the user may not see it
	MadeBy                     string // the name of the token by which it was made, or its ID
	MadeByLink                 string // "" if the user may not see that token

	Calls     callTable // that are let through
	Refused   callTable
	AllCalls  int
	CallsLeft bool   // they are shown when the user asks for them
	CallsNot  string // why they cannot be shown

	Routes  []option // the choices for Explain
	From    string
	Explain *explanation

	Entries []apitoken.HistoryEntry // the newest of the history
}

// token shows the page about a token.
func (h *handler) token(rq *request) {
	if p, ok := h.tokenPage(rq); ok {
		h.notice(rq, &p.layout, "")
		h.explain(rq, p)
		h.render(rq, http.StatusOK, "token", p)
	}
}

// tokenPage returns the data of the page about the token of the request. If there is no
// such token, it answers the request itself and reports false.
func (h *handler) tokenPage(rq *request) (*tokenData, bool) {
	in, err := h.manager(rq).Get(rq.Context(), rq.at.id)
	if err != nil {
		h.refuse(rq, err)
		return nil, false
	}
	p := &tokenData{
		layout: h.newPage(rq, listOf(rq.actor, in), "\u2068"+in.Name+"\u2069"),
		Token:  in, Mine: owns(rq.actor, in), State: h.state(in, rq.now), Does: h.actions(rq, in, ""), Edit: mayEdit(in),
		Texts:  slices.DeleteFunc(h.textFields(func(f fields.Field) string { return f.Text.Value(in) }), func(t textField) bool { return t.Name == "limit" }),
		Limits: h.limits(in), Objects: h.objectTypes(in.Only),
		Groups: assignedGroups(in), Ticket: newTicket(),
		Created: h.relativeTime(rq.now, in.CreatedAt), Expires: h.expires(in, rq.now), LastUsed: h.lastUsed(in, rq.now),
		Entries: in.History[:min(newestEntries, len(in.History))],
	}
	_, p.ByPolicy = h.end(in)
	if idle := h.config.Authority.Policy().MaxIdle; idle > 0 {
		p.Idle = h.formatTerm(idle)
	}
	if in.Rotating() {
		p.Old, p.OldUsed = h.relativeTime(rq.now, in.OldValidUntil), h.relativeTime(rq.now, in.OldLastUsedAt)
	}
	if rq.actor.ManageOthers {
		p.OwnerLink = rq.at.base + listView{All: true, Owner: in.Owner, Sort: defaultSort}.link()
	}
	if p.MadeBy = in.CreatedWith; p.MadeBy != "" {
		maker, err := h.manager(rq).Get(rq.Context(), in.CreatedWith)
		if err == nil {
			p.MadeBy, p.MadeByLink = maker.Name, rq.at.base+"tokens/"+maker.ID
		} else if !errors.Is(err, apitoken.ErrNotFound) {
			h.failed(rq, err) // the page has the ID
		}
	}
	if in.Status == apitoken.StatusDeleted {
		p.NotShown = h.words.Text("The token is deleted, and its secret with it.")
		return p, true
	}
	switch {
	case !p.Mine:
		p.NotShown = h.words.Text("Only its owner can see the secret of a token.")
	case !in.Revealable:
		p.NotShown = h.words.Text("The secret of this token was shown once, when it was made, and is not kept. If it is lost, rotate the token to get a new one.")
	}
	for _, rt := range h.config.Routes {
		if rt.Match != "open" {
			p.Routes = append(p.Routes, option{reports.NameOf(rt), reports.NameOf(rt), false})
		}
	}
	if p.Edit {
		h.reach(rq, p)
	}
	return p, true
}

// PermissionLink returns the address of the list of tokens with a permission.
func (p *tokenData) PermissionLink(name string) string {
	return p.Base + listView{All: p.Actor.ManageOthers, Permission: name, Sort: defaultSort}.link()
}

// ObjectLink returns the address of the list of tokens that are limited to an object.
func (p *tokenData) ObjectLink(name, id string) string {
	return p.Base + listView{All: p.Actor.ManageOthers, Only: name + ":" + id, Sort: defaultSort}.link()
}

// TokenLink returns the address of the page about a token.
func (p *layout) TokenLink(id string) string { return p.Base + "tokens/" + url.PathEscape(id) }

// backToToken redirects a user who opens the address of a form to the token.
func (h *handler) backToToken(rq *request) { seeOther(rq.w, rq.at.base+"tokens/"+rq.at.id) }
