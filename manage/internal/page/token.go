package page

import (
	"net/http"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/reports"
)

// A tokenData is the data of the page about one token.
type tokenData struct {
	layout
	Token  *apitoken.TokenInfo
	Texts  []textField
	Mine   bool
	State  tokenState
	Does   []tokenAction
	Groups []*permissionGroup

	Secret   string // "" unless the user has just asked for it
	Ticket   string // of the form that shows the secret
	NotShown string // why the page cannot show the secret

	Created, Expires, LastUsed when
	ByPolicy                   bool // the policy of the service sets Expires
	Idle                       string
	Old                        when
	OldUsed                    when

	Routes  []option // the choices for Explain
	From    string
	Explain *explanation
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
		Token:  in, Mine: owns(rq.actor, in), State: h.state(in, rq.now), Does: h.actions(rq, in, ""),
		Texts:  textFields(func(f fields.Field) string { return f.Text.Value(in) }),
		Groups: assignedGroups(in), Ticket: newTicket(rq.now),
		Created: relativeTime(rq.now, in.CreatedAt), Expires: h.expires(in, rq.now), LastUsed: lastUsed(in, rq.now),
	}
	_, p.ByPolicy = h.end(in)
	if idle := h.config.Authority.Policy().MaxIdle; idle > 0 {
		p.Idle = formatTerm(idle)
	}
	if in.Rotating() {
		p.Old, p.OldUsed = relativeTime(rq.now, in.OldValidUntil), relativeTime(rq.now, in.OldLastUsedAt)
	}
	if in.Status == apitoken.StatusDeleted {
		p.NotShown = "The token is deleted, and its secret with it."
		return p, true
	}
	switch {
	case !p.Mine:
		p.NotShown = "Only its owner can see the secret of a token."
	case !in.Revealable:
		p.NotShown = "The secret of this token was shown once, when it was made, and is not kept. If it is lost, rotate the token to get a new one."
	}
	for _, rt := range h.config.Routes {
		if rt.Match != "open" {
			p.Routes = append(p.Routes, option{reports.NameOf(rt), reports.NameOf(rt), false})
		}
	}
	return p, true
}

// backToToken redirects a user who opens the address of a form to the token.
func (h *handler) backToToken(rq *request) { seeOther(rq.w, rq.at.base+"tokens/"+rq.at.id) }
