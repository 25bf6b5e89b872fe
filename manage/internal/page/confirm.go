package page

import (
	"github.com/apitoken-go/apitoken"
)

// A confirmData asks before something is done.
type confirmData struct {
	layout
	Token    *apitoken.TokenInfo
	Heading  string
	Effects  []string
	LastUsed when
	Uses     apitoken.LastUse
	State    tokenState
	Action   string // where the form leads
	Button   string
	Danger   bool
	Back     string // as the form carries it on
	Cancel   string // where it leads
	Keep     string // with end-overlap
	Not      string // why it cannot be done
}

// confirmation prepares a page that asks before a token is changed. It reports
// false if it has answered itself.
func (h *handler) confirmation(rq *request) (*confirmData, bool) {
	in, err := h.manager(rq).Get(rq.Context(), rq.at.id)
	if err != nil {
		h.refuse(rq, err)
		return nil, false
	}
	p := &confirmData{
		layout: h.newPage(rq, listOf(rq.actor, in), ""), Token: in, State: h.state(in, rq.now),
		LastUsed: lastUsed(in, rq.now), Uses: in.LastUsed(), Action: rq.at.page,
		Cancel: rq.at.base + "tokens/" + in.ID,
	}
	if back, ok := parseBack(rq.FormValue("back")); ok {
		p.Back = rq.FormValue("back")
		p.Cancel = rq.at.base + back.link()
	}
	for _, a := range h.actions(rq, in, "") {
		if a.Name == rq.at.page {
			p.Not = a.Not
		}
	}
	return p, true
}

// listOf says under which list a token stands.
func listOf(a apitoken.Actor, in *apitoken.TokenInfo) string {
	if in.Owner != a.User {
		return pageAll
	}
	return pageMine
}

// refuseChange shows the page that asked once more, with what stands against
// the change.
func (h *handler) refuseChange(rq *request, err error, describe func(*confirmData)) {
	problem, ok := problemOf(err)
	if !ok {
		h.refuse(rq, err)
		return
	}
	p, ok := h.confirmation(rq)
	if !ok {
		return
	}
	problem.Field = ""
	p.Problems, p.Not = []formProblem{problem}, ""
	p.Keep = rq.FormValue("keep")
	describe(p)
	h.render(rq, statusOf(err), "confirm", p)
}
