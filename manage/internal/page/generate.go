package page

import (
	"net/http"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
)

// generate generates a token and shows its secret.
func (h *handler) generate(rq *request) {
	q := rq.PostForm
	again := func(status int, problems []formProblem) {
		p := h.generatePage(rq, q)
		p.Problems, p.Refused = problems, nil
		if slices.ContainsFunc(problems, func(pr formProblem) bool { return pr.Field == "not_before" || pr.Field == "networks" }) {
			p.More = true
		}
		h.render(rq, status, "generate", p)
	}
	asked, problems := h.asked(q)
	ticket := q.Get("ticket")
	made, ok := ticketTime(ticket)
	if !ok {
		problems = append(problems, formProblem{"", "The form was incomplete. Check it and try again."})
	}
	if problems != nil {
		again(http.StatusUnprocessableEntity, problems)
		return
	}
	id, first := h.tickets.use(rq.actor, ticket)
	if !first {
		// A user who went back to the form and changed it wants another token.
		if in, err := h.manager(rq).Get(rq.Context(), id); err == nil && !asked.same(in) {
			again(http.StatusConflict, []formProblem{{"", "A token was generated with this form before. Generate once more if you want another one."}})
			return
		}
		h.already(rq, id)
		return
	}
	came := "" // the ID of the token; "" makes the ticket valid again
	defer func() { h.tickets.came(rq.actor, ticket, came) }()

	id, err := h.generatedSince(rq, asked, made)
	if err != nil {
		h.refuse(rq, err)
		return
	}
	if id != "" {
		came = id
		h.already(rq, id)
		return
	}
	in, secret, err := h.manager(rq).Generate(rq.Context(), asked.GenerateParams)
	if err != nil {
		if problems := h.problemsOf(err); problems != nil {
			again(statusOf(err), problems)
			return
		}
		h.refuse(rq, err)
		return
	}
	came = in.ID
	p := h.secretPage(rq, in, secret)
	p.Title = "API token generated"
	h.render(rq, http.StatusOK, "secret", p)
}

// generatedSince returns the ID of the token that another process has generated from
// the same form, "" if there is none. A token has no trace of its form, but one with
// the same content that is younger than the form hardly comes from anything else.
func (h *handler) generatedSince(rq *request, asked tokenForm, made time.Time) (id string, err error) {
	tokens, err := h.manager(rq).List(rq.Context(), apitoken.ListParams{Order: apitoken.ByCreated, Descending: true, Limit: 10})
	if err != nil {
		return "", err
	}
	for _, in := range tokens.Tokens {
		if asked.same(in) && in.CreatedAt.After(made) {
			return in.ID, nil
		}
	}
	return "", nil
}

// already answers a form that was sent before. The ID may be "".
func (h *handler) already(rq *request, id string) {
	m := &messageData{
		layout:  h.newPage(rq, pageMine, "This API token was generated already"),
		Heading: "This API token was generated already",
		Text:    "The same form was sent twice, for instance by reloading the page. No second token was made, and the secret is not shown again here.",
		Link:    rq.at.base, Label: "My API tokens",
	}
	if id != "" {
		if in, err := h.manager(rq).Get(rq.Context(), id); err == nil {
			m.Link, m.Label = rq.at.base+"tokens/"+id, "Open the token"
			if in.Revealable {
				m.Text += " If you did not copy it, open the token and show it."
			} else {
				m.Text += " If you did not copy it, open the token and rotate it to get a new one."
			}
		}
	}
	h.render(rq, http.StatusOK, "message", m)
}
