package page

import (
	"net/http"
	"strings"
)

// A resendData is the data of the page that keeps a form which could not be answered.
type resendData struct {
	layout
	Text    string
	SignIn  string         // the address at which the user can sign in, "" if they are signed in
	Entered []enteredValue // the form
	Shown   []enteredValue // what the user entered, with labels
}

// resend answers a form that cannot be answered now with a page from which it can be sent
// again: nothing that was entered is lost.
func (h *handler) resend(rq *request, status int, title, text string) {
	p := &resendData{layout: h.newPage(rq, "", title), Text: text, Entered: enteredValues(rq.PostForm)}
	if status == http.StatusUnauthorized {
		p.SignIn = rq.at.base
	} else {
		rq.w.Header().Set("Retry-After", "1")
	}
	labels := map[string]string{
		"name": h.words.Text("Name"), "description": h.words.Text("Description"), "permission": h.words.Text("Permission"),
		"expires": h.words.Text("Expires"), "date": h.words.Text("On a date"), "networks": h.words.Text("Networks"), "not_before": h.words.Text("Valid from"),
		"limit": h.words.Text("Limit"),
	}
	for _, v := range p.Entered {
		if name, ok := strings.CutPrefix(v.Name, "ids:"); ok {
			labels[v.Name] = name
		}
		if label := labels[v.Name]; label != "" && v.Value != "" {
			p.Shown = append(p.Shown, enteredValue{label, v.Value})
		}
	}
	h.render(rq, status, "resend", p)
}
