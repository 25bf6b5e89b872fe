package page

import (
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// A revokeMadeData is the data of the page that deactivates a token and the tokens made
// with it.
type revokeMadeData struct {
	layout
	Token  *apitoken.TokenInfo
	Rows   []row // the first tokens that would be deactivated
	Count  int
	Cancel string
}

// maxShown is the number of tokens that the page names.
const maxShown = 50

// revokeMadeForm shows which tokens would be deactivated.
func (h *handler) revokeMadeForm(rq *request) {
	in, ok := h.editable(rq)
	if !ok {
		return
	}
	found, err := h.manager(rq).RevokeAll(rq.Context(), apitoken.RevokeParams{MadeWith: in.ID, Preview: true})
	if err != nil {
		h.refuse(rq, err)
		return
	}
	p := &revokeMadeData{
		layout: h.newPage(rq, listOf(rq.actor, in), h.words.Text("Deactivate every token that was made with this one?")),
		Token:  in, Count: len(found), Cancel: rq.at.base + "tokens/" + in.ID,
	}
	for _, in := range found[:min(maxShown, len(found))] {
		p.Rows = append(p.Rows, row{TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: h.state(in, rq.now), LastUsed: h.lastUsed(in, rq.now)})
	}
	h.render(rq, http.StatusOK, "revokemade", p)
}

// revokeMade deactivates a token and the tokens made with it.
func (h *handler) revokeMade(rq *request) {
	done, err := h.manager(rq).RevokeAll(rq.Context(), apitoken.RevokeParams{MadeWith: rq.at.id})
	switch {
	case err != nil && len(done) > 0:
		h.failed(rq, err)
		h.resend(rq, http.StatusServiceUnavailable, h.words.Text("The change is not complete"),
			h.words.Text("{1} API token is deactivated, others are not. Send the form again to finish it.|{1} API tokens are deactivated, others are not. Send the form again to finish it.", len(done)))
	case err != nil:
		h.refuse(rq, err)
	default:
		seeOther(rq.w, rq.at.base+"tokens/"+rq.at.id+"?"+outcome{done: "deactivated", changed: len(done)}.query().Encode())
	}
}
