package page

import (
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// revokeForm shows the confirmation of the revocation of all tokens of an owner.
func (h *handler) revokeForm(rq *request) {
	owner := rq.URL.Query().Get("owner")
	back := listView{All: true, Owner: owner, Sort: defaultSort}
	tokens, err := h.manager(rq).RevokeAll(rq.Context(), apitoken.RevokeParams{Owner: owner, Preview: true})
	if err != nil {
		h.refuse(rq, err)
		return
	}
	p := h.newBulk(rq, back)
	name := isolate(owner)
	if len(tokens) == 0 {
		h.nothingTo(rq, p, h.words.Text("Nothing to revoke"), h.words.Text("All API tokens of {1} are deactivated already.", name))
		return
	}
	p.Heading = h.words.Text("Revoke all API tokens of {1}?", name)
	p.Title, p.Danger, p.To = p.Heading, true, pageRevoke+back.revokeQuery()
	p.Button = h.words.Text("Revoke {1} API token|Revoke {1} API tokens", len(tokens))
	p.Effects = []string{
		h.words.Text("The service deactivates them, and those that {1} generates while this runs. This takes some seconds. It refuses requests with them from then on.", name),
		h.words.Text("{1} can’t activate them again; you can.", name),
	}
	if owner == rq.actor.User {
		p.Effects = p.Effects[:1]
	}
	h.addChosen(rq, p, tokens, len(tokens))
	h.render(rq, http.StatusOK, "bulk", p)
}

// revoke revokes all tokens of an owner.
func (h *handler) revoke(rq *request) {
	owner := rq.FormValue("owner")
	done, err := h.manager(rq).RevokeAll(rq.Context(), apitoken.RevokeParams{Owner: owner})
	if err != nil && len(done) == 0 {
		h.refuse(rq, err)
		return
	}
	if err != nil {
		h.failed(rq, err)
		h.fail(rq, http.StatusServiceUnavailable, h.words.Text("Not all API tokens are revoked"),
			h.words.Text("{1} API token was deactivated. Others may still be accepted: do the same again.|{1} API tokens were deactivated. Others may still be accepted: do the same again.", len(done)))
		return
	}
	back := listView{All: true, Owner: owner, Sort: defaultSort}
	seeOther(rq.w, rq.at.base+back.linkWith(outcome{done: "deactivated", changed: len(done)}.query()))
}
