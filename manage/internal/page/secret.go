package page

import (
	"github.com/apitoken-go/apitoken"
)

// A secretData is the data of the page that shows a new secret.
type secretData struct {
	layout
	Token    *apitoken.TokenInfo
	Secret   string
	Expires  when
	Commands commandLines
	Rotated  bool
	Old      when // the end of the overlap, if the old secret is still valid
}

func (h *handler) secretPage(rq *request, in *apitoken.TokenInfo, secret apitoken.Secret) *secretData {
	text := secret.Reveal()
	return &secretData{
		layout: h.newPage(rq, pageMine, ""), Token: in, Secret: text,
		Expires: h.expires(in, rq.now), Commands: h.commands(rq, in, text),
	}
}
