package page

import (
	"net/http"

	"github.com/apitoken-go/apitoken"
)

func (h *handler) endOverlapForm(rq *request) {
	p, ok := h.confirmation(rq)
	if !ok {
		return
	}
	p.Keep = rq.FormValue("keep")
	if !p.Token.Rotating() {
		p.Not = h.words.Text("the rotation is over already, and only one secret is valid")
	}
	h.describeOverlap(p)
	h.render(rq, http.StatusOK, "confirm", p)
}

func (h *handler) describeOverlap(p *confirmData) {
	if p.Keep != "old" {
		p.Keep = "new"
		p.Title, p.Button = h.words.Text("End the old secret now?"), h.words.Text("End the old secret")
		p.Effects = []string{h.words.Text("Requests with the old secret are refused from now on. The new one stays valid.")}
	} else {
		p.Title, p.Button, p.Danger = h.words.Text("Take the rotation back?"), h.words.Text("Take it back"), true
		p.Effects = []string{
			h.words.Text("Requests with the new secret are refused from now on. The old one stays valid, for as long as the token."),
			h.words.Text("Do this if the new secret was lost, or if a program can’t use it."),
		}
	}
	if used := p.Token.OldLastUsedAt; !used.IsZero() {
		p.Effects = append(p.Effects, h.words.Text("The old secret was last used {1}.", h.relativeTime(p.Now, used).Text))
	}
	p.Heading = p.Title
}

func (h *handler) endOverlap(rq *request) {
	keep := rq.PostForm.Get("keep")
	var err error
	switch m := h.manager(rq); keep {
	case "new":
		_, err = m.EndOverlap(rq.Context(), rq.at.id)
	case "old":
		_, err = m.UndoRotation(rq.Context(), rq.at.id)
	default:
		err = &apitoken.FieldError{Field: "keep", Problem: h.words.Text(`is neither "new" nor "old"`)}
	}
	if err != nil {
		h.refuseChange(rq, err, h.describeOverlap)
		return
	}
	seeOther(rq.w, rq.at.base+"tokens/"+rq.at.id+"?done=kept-"+keep)
}
