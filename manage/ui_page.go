package manage

import (
	"bytes"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A uiPage is what every page is made of.
type uiPage struct {
	Title    string
	Base     string // the relative way to the path under which the page is mounted
	Here     string // the page that the navigation marks
	Service  string
	Home     string
	Actor    apitoken.Actor // zero if nobody is signed in
	Notice   string         // what was done by the form before
	Problems []uiProblem
	Now      time.Time
}

func (p *uiPage) SignedIn() bool { return p.Actor.User != "" }

// Problem returns what is wrong with the field of this ID, "" for nothing.
func (p *uiPage) Problem(field string) string {
	if i := slices.IndexFunc(p.Problems, func(pr uiProblem) bool { return pr.Field == field }); i >= 0 {
		return p.Problems[i].Text
	}
	return ""
}

func (p *uiPage) page() *uiPage { return p }

// newPage begins a page.
func (ui *ui) newPage(rq *uiRequest, here, title string) uiPage {
	return uiPage{
		Title: title, Base: rq.at.base, Here: here, Actor: rq.actor, Now: rq.now,
		Service: ui.config.Service, Home: ui.config.Home,
	}
}

var uiFuncs = template.FuncMap{
	"asset":  func(name string) string { return uiAssetNames[name] },
	"count":  uiCount,
	"number": uiNumber,
	"date":   uiDate,
	"moment": uiMoment,
	"change": uiChange,
	"source": uiSource,
	// A title has no markup to isolate a name whose letters run the other way,
	// so the characters for that are used (Unicode UAX 9).
	"isolate": func(s string) string { return "\u2068" + s + "\u2069" },
	"initial": func(s string) string {
		for _, c := range s {
			return strings.ToUpper(string(c))
		}
		return ""
	},
}

var uiTemplates = uiParseTemplates("list", "token", "generate", "secret", "rotate", "confirm", "bulk", "message")

func uiParseTemplates(pages ...string) map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(uiFuncs).ParseFS(uiFiles, "templates/layout.html", "templates/parts.html"))
	all := make(map[string]*template.Template)
	for _, name := range pages {
		all[name] = template.Must(template.Must(shared.Clone()).ParseFS(uiFiles, "templates/"+name+".html"))
	}
	return all
}

// render answers with a page. It is made whole first, so that an error leaves
// no half of one.
func (ui *ui) render(rq *uiRequest, status int, name string, data interface{ page() *uiPage }) {
	var out bytes.Buffer
	if err := uiTemplates[name].ExecuteTemplate(&out, "layout", data); err != nil {
		slog.ErrorContext(rq.Context(), "apitoken: page "+name, "error", err)
		http.Error(rq.w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	rq.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	rq.w.WriteHeader(status)
	if rq.Method != http.MethodHead {
		rq.w.Write(out.Bytes())
	}
}

// uiMessage is a page that only says something.
type uiMessage struct {
	uiPage
	Heading, Text string
	Link, Label   string // where to go from there
}

// fail answers with a page that says why there is no other.
func (ui *ui) fail(rq *uiRequest, status int, heading, text string) {
	m := &uiMessage{uiPage: ui.newPage(rq, "", heading), Heading: heading, Text: text}
	if status == http.StatusServiceUnavailable {
		rq.w.Header().Set("Retry-After", "1")
	}
	if m.SignedIn() {
		m.Link, m.Label = rq.at.base, "My API tokens"
	}
	ui.render(rq, status, "message", m)
}

// refuse answers an error that no form can show.
func (ui *ui) refuse(rq *uiRequest, err error) {
	if errors.Is(err, apitoken.ErrNotFound) {
		ui.fail(rq, http.StatusNotFound, "This API token does not exist", "It was deleted, or it is not one that you can see.")
		return
	}
	if p, ok := uiProblemOf(err); ok {
		ui.fail(rq, uiStatusOf(err), "This is not possible", p.Text)
		return
	}
	ui.failed(rq, err)
	text := "API tokens can’t be read at the moment. Try again in a minute."
	if rq.Method == http.MethodPost {
		text = "It is not known whether the change was made: a token that you wanted to stop may still be accepted. Look before you try again."
	}
	ui.fail(rq, http.StatusServiceUnavailable, "API tokens are unavailable just now", text)
}

// uiStatusOf returns the status of a page that shows an error.
func uiStatusOf(err error) int {
	if _, ok := errors.AsType[*apitoken.FieldError](err); ok {
		return http.StatusUnprocessableEntity
	}
	if _, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		return http.StatusForbidden
	}
	return http.StatusConflict
}

// uiNotices are what a page says at its top after a form was sent and the
// browser was redirected. Only what stands here can come from the address.
var uiNotices = map[string]string{
	"activated":   "activated",
	"deactivated": "deactivated",
	"deleted":     "deleted",
	"kept-new":    "The rotation is over. Only the new secret is valid.",
	"kept-old":    "The rotation was taken back. Only the old secret is valid.",
}

// notice reads what the form before has done from the address.
func uiNotice(q url.Values) string {
	verb, ok := uiNotices[q.Get("done")]
	switch {
	case !ok:
		return ""
	case strings.HasSuffix(verb, "."):
		return verb
	}
	n := uiSmallNumber(q.Get("n"))
	if n > 1 {
		return uiCount(n, "API token") + " " + verb + "."
	}
	return "API token " + verb + "."
}

// uiSmallNumber reads a number of up to four digits, 0 if it is none.
func uiSmallNumber(s string) (n int) {
	if len(s) > 4 {
		return 0
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// failed tells the service why a page is answered with 503.
func (ui *ui) failed(rq *uiRequest, err error) {
	if ui.config.Failed != nil {
		ui.config.Failed(rq.Request, err)
		return
	}
	slog.ErrorContext(rq.Context(), "apitoken: "+rq.Method+" of a page", "error", err)
}
