package page

import (
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// reveal answers with the page of the token and its secret. A GET of the same address
// shows no secret.
func (h *handler) reveal(rq *request) {
	ticket := rq.PostForm.Get("ticket")
	first := false
	if isTicket(ticket) {
		_, first = h.tickets.use(rq.actor, ticket)
	}
	var secret apitoken.Secret
	var problem []formProblem
	status := http.StatusOK
	if first {
		var err error
		if secret, err = h.manager(rq).Reveal(rq.Context(), rq.at.id); err != nil {
			h.tickets.came(rq.actor, ticket, "")
			text, ok := h.problemOf(err)
			if !ok {
				h.refuse(rq, err)
				return
			}
			problem, status = []formProblem{{"", text.Text}}, statusOf(err)
		}
	}
	p, ok := h.tokenPage(rq)
	if !ok {
		return
	}
	h.explain(rq, p)
	p.Problems, p.Secret = problem, secret.Reveal()
	if !first {
		p.Notice = h.words.Text("Reloading the page does not show the secret again. Use “Show” if you need it.")
	}
	h.render(rq, status, "token", p)
}
