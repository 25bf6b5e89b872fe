package page

import (
	"cmp"
	"net/http"
	"strconv"

	"github.com/apitoken-go/apitoken"
)

// A confirmData is the data of the page that confirms a change of a token.
type confirmData struct {
	layout
	Token    *apitoken.TokenInfo
	Heading  string
	Effects  []string
	LastUsed when
	Uses     apitoken.LastUse
	State    tokenState
	Action   string // the address to which the form is sent
	Button   string
	Danger   bool
	Back     string // the list from which the user came, "" for none
	Cancel   string // the address of the link "Cancel"
	Keep     string // the secret that end-overlap keeps
	Version  string // of the token that the user sees
	Not      string // why the change would be refused
	Type     bool   // the user has to type the name of the token
	Typed    string
}

// confirmation returns a confirmData for the token of the request. If there is none, it
// answers the request itself and reports false.
func (h *handler) confirmation(rq *request) (*confirmData, bool) {
	in, err := h.manager(rq).Get(rq.Context(), rq.at.id)
	if err == nil && in.Status == apitoken.StatusDeleted {
		err = apitoken.ErrNotFound // nothing can be changed
	}
	if err != nil {
		h.refuse(rq, err)
		return nil, false
	}
	p := &confirmData{
		layout: h.newPage(rq, listOf(rq.actor, in), ""), Token: in, State: h.state(in, rq.now),
		LastUsed: h.lastUsed(in, rq.now), Uses: in.LastUsed(), Action: rq.at.page,
		Cancel: rq.at.base + "tokens/" + in.ID,
	}
	if p.Action == "activate" || p.Action == "deactivate" {
		p.Version = strconv.FormatInt(in.Version, 10)
		if rq.Method != http.MethodPost { // else the user sees the token anew
			p.Version = cmp.Or(rq.FormValue("version"), p.Version)
		}
	}
	if back, ok := parseBack(rq.FormValue("back")); ok {
		p.Back = back.back()
		p.Cancel = rq.at.base + back.link()
	}
	for _, a := range h.actions(rq, in, "") {
		if a.Name == rq.at.page {
			p.Not = a.Not
		}
	}
	return p, true
}

// listOf returns the page whose list has the token.
func listOf(a apitoken.Actor, in *apitoken.TokenInfo) string {
	if in.Owner != a.User {
		return pageAll
	}
	return pageMine
}

// refuseChange shows the confirmation again, with the reason why the change was refused.
func (h *handler) refuseChange(rq *request, err error, describe func(*confirmData)) {
	problem, ok := h.problemOf(err)
	if err == errNotTyped {
		problem, ok = formProblem{"typed", h.words.Text("Type the name of the token as it is shown. Nothing was deleted.")}, true
	}
	if !ok {
		h.refuse(rq, err)
		return
	}
	p, ok := h.confirmation(rq)
	if !ok {
		return
	}
	if err != errNotTyped {
		problem.Field = ""
	}
	p.Problems, p.Not, p.Typed = []formProblem{problem}, "", rq.FormValue("typed")
	p.Keep = rq.FormValue("keep")
	describe(p)
	h.render(rq, statusOf(err), "confirm", p)
}
