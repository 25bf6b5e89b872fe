package page

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
)

// generateForm shows the form that generates a token.
func (h *handler) generateForm(rq *request) {
	h.render(rq, http.StatusOK, "generate", h.linkedForm(rq, rq.URL.Query()))
}

// generate generates a token and shows its secret.
func (h *handler) generate(rq *request) {
	q := rq.PostForm
	again := func(status int, problems []formProblem) {
		p := h.newForm(rq, q)
		p.addProblems(problems)
		if status == http.StatusServiceUnavailable {
			p.Ticket = q.Get("ticket") // the same form again makes no second token
		}
		h.render(rq, status, "generate", p)
	}
	if q.Get("step") == "find" {
		again(http.StatusOK, nil)
		return
	}
	g, problems := h.asked(q)
	if !isTicket(q.Get("ticket")) {
		problems = append(problems, formProblem{"", h.words.Text("The form was incomplete. Check it and try again.")})
	}
	if problems != nil {
		again(http.StatusUnprocessableEntity, problems)
		return
	}
	// The key is of the form with its content: a user who goes back to a form and changes
	// it wants another token.
	digest := sha256.Sum256([]byte(q.Encode()))
	key := hex.EncodeToString(digest[:])
	id, first := h.tickets.use(rq.actor, key)
	if !first {
		h.already(rq, id)
		return
	}
	came := "" // the ID of the token; "" makes the key valid again
	defer func() { h.tickets.came(rq.actor, key, came) }()

	g.IdempotencyKey = key
	in, secret, err := h.manager(rq).Generate(rq.Context(), g)
	earlier := err == nil && in.CreatedAt.Before(rq.now.Truncate(time.Microsecond))
	switch {
	case earlier || err == apitoken.ErrExists: // by another process
		came = in.ID
		h.already(rq, in.ID)
	case err == nil:
		came = in.ID
		p := h.secretPage(rq, in, secret)
		p.Title = h.words.Text("API token generated")
		h.render(rq, http.StatusOK, "secret", p)
	case errors.Is(err, apitoken.ErrNotFound): // somebody else’s token, or none
		h.refuse(rq, err)
	default:
		if problems := h.problemsOf(err); problems != nil {
			again(statusOf(err), problems)
			return
		}
		h.failed(rq, err)
		rq.w.Header().Set("Retry-After", "1")
		again(http.StatusServiceUnavailable, []formProblem{{"", h.words.Text(
			"API tokens are unavailable at the moment. The token may have been generated, or not. Send the form again in a minute: it makes no second token.")}})
	}
}

// already answers a form that was sent before. The ID may be "".
func (h *handler) already(rq *request, id string) {
	m := &messageData{
		layout: h.newPage(rq, pageMine, h.words.Text("This API token was generated already")),
		Text:   h.words.Text("The same form was sent twice, for instance by reloading the page. No second token was made, and the secret is not shown again here."),
		Link:   rq.at.base, Label: h.words.Text("My API tokens"),
	}
	m.Heading = m.Title
	if id != "" {
		if in, err := h.manager(rq).Get(rq.Context(), id); err == nil {
			m.Link, m.Label = rq.at.base+"tokens/"+id, h.words.Text("Open the token")
			if in.Revealable {
				m.Text += " " + h.words.Text("If you did not copy it, open the token and show it.")
			} else {
				m.Text += " " + h.words.Text("If you did not copy it, open the token and rotate it to get a new one.")
			}
		}
	}
	h.render(rq, http.StatusOK, "message", m)
}
