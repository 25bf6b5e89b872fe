package page

import (
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A rotateData is the data of the form that rotates a token.
type rotateData struct {
	layout
	Token    *apitoken.TokenInfo
	Ticket   string
	Overlaps []expiryOption
	LastUsed when
	Uses     apitoken.LastUse
	Back     string
	Cancel   string
	Not      string
}

// overlapChoices are the choices of a form, in the words of overlapLabel.
var overlapChoices = []struct {
	value string
	d     time.Duration
}{{"0", 0}, {"1h", time.Hour}, {"24h", oneDay}, {"168h", 7 * oneDay}}

// overlapLabel returns the words for an overlap.
func (h *handler) overlapLabel(d time.Duration) string {
	switch {
	case d == 0:
		return h.words.Text("End it at once")
	case d > oneDay:
		return h.words.Text("{1} day|{1} days", int(d/oneDay))
	}
	return h.words.Text("{1} hour|{1} hours", int(d/time.Hour))
}

// rotateForm shows the form that rotates a token.
func (h *handler) rotateForm(rq *request) { h.askRotate(rq, http.StatusOK, nil) }

// askRotate answers with the form that rotates a token.
func (h *handler) askRotate(rq *request, status int, problems []formProblem) {
	c, ok := h.confirmation(rq)
	if !ok {
		return
	}
	p := &rotateData{
		layout: c.layout, Token: c.Token, Ticket: newTicket(), LastUsed: c.LastUsed, Uses: c.Uses,
		Back: c.Back, Cancel: c.Cancel, Not: c.Not,
	}
	if !owns(rq.actor, c.Token) {
		p.Not = h.words.Text("only its owner may rotate a token")
	}
	p.Title, p.Problems = h.words.Text("Rotate this API token"), problems
	end, _ := h.end(c.Token)
	for _, o := range overlapChoices {
		x := expiryOption{Value: o.value, Label: h.overlapLabel(o.d), Selected: rq.PostFormValue("overlap") == o.value}
		switch until := rq.now.Add(o.d); {
		case o.d == 0:
			x.Date = h.words.Text("If others may know the secret")
		case !end.IsZero() && until.After(end):
			x.Date = h.words.Text("Until it expires, sooner than that")
		default:
			x.Date = h.words.Text("Until {1}", momentText(until))
		}
		p.Overlaps = append(p.Overlaps, x)
	}
	h.render(rq, status, "rotate", p)
}

// rotate rotates a token and shows the new secret.
func (h *handler) rotate(rq *request) {
	var overlap time.Duration
	chosen := false
	for _, o := range overlapChoices {
		if o.value == rq.PostForm.Get("overlap") {
			overlap, chosen = o.d, true
		}
	}
	ticket := rq.PostForm.Get("ticket")
	switch {
	case !chosen:
		h.askRotate(rq, http.StatusUnprocessableEntity, []formProblem{{"overlap", h.words.Text("Choose how long the old secret stays valid.")}})
		return
	case !isTicket(ticket):
		h.askRotate(rq, http.StatusUnprocessableEntity, []formProblem{{"", h.words.Text("The form was incomplete. Check it and try again.")}})
		return
	}
	if _, first := h.tickets.use(rq.actor, ticket); !first {
		h.alreadyRotated(rq)
		return
	}
	var in *apitoken.TokenInfo
	var secret apitoken.Secret
	before, err := h.manager(rq).Get(rq.Context(), rq.at.id)
	if err == nil {
		in, secret, err = h.manager(rq).Rotate(rq.Context(), rq.at.id, overlap, ticket)
	}
	// Another process has rotated it. If the service keeps secrets, Rotate returns the
	// new secret again, without an error.
	if err == apitoken.ErrAlreadyRotated || err == nil && in.Version == before.Version {
		h.alreadyRotated(rq)
		return
	}
	if err != nil {
		h.tickets.came(rq.actor, ticket, "")
		if problem, ok := h.problemOf(err); ok {
			problem.Field = ""
			h.askRotate(rq, statusOf(err), []formProblem{problem})
			return
		}
		h.refuse(rq, err)
		return
	}
	h.tickets.came(rq.actor, ticket, in.ID)
	p := h.secretPage(rq, in, secret)
	p.Title, p.Rotated = h.words.Text("API token rotated"), true
	if in.Rotating() {
		p.Old = h.relativeTime(rq.now, in.OldValidUntil)
	}
	h.render(rq, http.StatusOK, "secret", p)
}

// alreadyRotated answers a form that was sent before.
func (h *handler) alreadyRotated(rq *request) {
	m := &messageData{
		layout: h.newPage(rq, pageMine, h.words.Text("This API token was rotated already")),
		Text: h.words.Text("The same form was sent twice, for instance by reloading the page. It was not rotated again, and the new secret is not shown again here. " +
			"If you did not copy it, open the token: there you can show it, if this service keeps secrets, or else take the rotation back while the old secret is valid, or rotate again."),
		Link: rq.at.base + "tokens/" + rq.at.id, Label: h.words.Text("Open the token"),
	}
	m.Heading = m.Title
	h.render(rq, http.StatusOK, "message", m)
}
