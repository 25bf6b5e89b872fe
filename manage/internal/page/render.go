package page

import (
	"bytes"
	"cmp"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// A layout is the data that every page has.
type layout struct {
	h        *handler
	Title    string
	Base     string // the relative address of the path under which the page is mounted
	Here     string // the page that the navigation marks
	Service  string
	Home     string
	Actor    apitoken.Actor // zero if nobody is signed in
	Notice   string         // what the last form has done
	Undo     *undo          // what takes it back, nil for nothing
	Problems []formProblem
	Now      time.Time
	Lang     string
	Dir      string
	Logo     string  // an address
	Path     []Crumb // the pages of the service above this one
	Tab      string  // the label of the tab of all these pages
}

// FullTitle returns the title of the document: problems first, so that screen readers say
// them first.
func (p *layout) FullTitle() string {
	title := p.Title
	if p.Problems != nil {
		title = p.h.words.Text("Error: {1}", title)
	}
	title += " – " + p.h.words.Text("API tokens")
	if p.Service != "" {
		title += " – " + p.Service
	}
	return title
}

// SignedIn reports whether the request has a user.
func (p *layout) SignedIn() bool { return p.Actor.User != "" }

// Problem returns the problem of the element with this ID, "" for none.
func (p *layout) Problem(field string) string {
	if i := slices.IndexFunc(p.Problems, func(pr formProblem) bool { return pr.Field == field }); i >= 0 {
		return p.Problems[i].Text
	}
	return ""
}

func (p *layout) page() *layout { return p }

// newPage returns a layout.
func (h *handler) newPage(rq *request, here, title string) layout {
	p := layout{
		h: h, Title: title, Base: rq.at.base, Here: here, Actor: rq.actor, Now: rq.now,
		Service: h.config.Service, Home: h.config.Home, Path: h.path(rq), Logo: h.config.LogoURL,
		Lang: cmp.Or(h.words.Lang, "en"), Dir: cmp.Or(h.words.Dir, "ltr"), Tab: h.words.Text("API token"),
	}
	if h.logo != "" {
		p.Logo = rq.at.base + "assets/" + h.asset(h.logo)
	}
	return p
}

// path returns the pages of the service above this one.
func (h *handler) path(rq *request) []Crumb {
	if h.config.Path != nil {
		return h.config.Path
	}
	return []Crumb{{h.words.Text("Environment settings"), h.config.Home}, {h.words.Text("Access management"), rq.at.base}}
}

// fewObjects is how many objects of a token a row of a table shows.
const fewObjects = 3

// funcs returns the functions of the templates.
func (h *handler) funcs() template.FuncMap {
	return template.FuncMap{
		"t":      h.words.HTML,
		"name":   words.Isolate,
		"user":   h.userHTML,
		"object": h.object,
		"label":  h.label,
		"link":   link,
		"asset":  h.asset,
		"number": h.words.Number,
		"date":   h.formatDate,
		"moment": h.relativeTime,
		"limit":  h.limitText,
		"change": h.describeEntry,
		"few":    func(objects []string) []string { return objects[:min(fewObjects, len(objects))] },
		"more":   func(objects []string) int { return max(0, len(objects)-fewObjects) },
		"source": h.sourceLabel,
		// A title can have no markup such as <bdi> around a name in a right-to-left
		// script, so these are the characters for it (Unicode UAX 9).
		"isolate": isolate,
		"initial": h.initial,
	}
}

// parseTemplates returns the templates of the pages.
func (h *handler) parseTemplates() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(h.funcs()).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/within.html", "templates/forms.html"))
	all := make(map[string]*template.Template)
	for _, name := range []string{"list", "token", "generate", "secret", "rotate", "confirm", "bulk", "message", "edit", "editcheck", "history", "whocan", "resend", "revokemade"} {
		all[name] = template.Must(template.Must(shared.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	return all
}

// link returns a link with a name as its text, for a place in a text.
func link(href, name string) template.HTML {
	return template.HTML(`<a href="`+template.HTMLEscapeString(href)+`">`) + words.Isolate(name) + "</a>"
}

// render answers with a page. It writes nothing before the template was executed, so
// that an error leaves no half of a page.
func (h *handler) render(rq *request, status int, name string, data interface{ page() *layout }) {
	text, err := h.document(rq, name, data)
	if err != nil {
		slog.ErrorContext(rq.Context(), "apitoken: page "+name, "error", err)
		http.Error(rq.w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	rq.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	rq.w.WriteHeader(status)
	if rq.Method != http.MethodHead {
		rq.w.Write(text)
	}
}

// document makes a page.
func (h *handler) document(rq *request, name string, data interface{ page() *layout }) ([]byte, error) {
	if h.config.Layout != nil {
		return h.frame(rq, name, data)
	}
	var out bytes.Buffer
	err := h.templates[name].ExecuteTemplate(&out, "layout", data)
	return h.fillPlaces(rq, out.Bytes()), err
}
