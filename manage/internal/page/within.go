package page

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"regexp"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A Frame is what Config.Layout gets. Its fields are those of manage.Frame.
type Frame struct {
	Title   string
	Lang    string
	Dir     string
	Head    template.HTML
	Body    template.HTML
	Actor   apitoken.Actor
	Request *http.Request
}

// scope is the selector of the element around the page in the layout of a service.
const scope = ".apitoken"

var wholePage = regexp.MustCompile(`(?m)^(\t*)(?::root|html|body) \{`)

//go:embed within.css
var aroundStyle string

// within returns a style sheet whose rules apply to the page in a layout only, by
// nesting (CSS Nesting Module Level 1).
func within(css string) []byte {
	css = wholePage.ReplaceAllString(css, "$1& {")
	return []byte(scope + " {\n" + strings.Replace(aroundStyle, "/*page*/\n", css, 1) + "}\n")
}

// frame makes the page in the layout of the service.
func (h *handler) frame(rq *request, name string, data interface{ page() *layout }) ([]byte, error) {
	var head, body, out bytes.Buffer
	if err := h.templates[name].ExecuteTemplate(&head, "head", data); err != nil {
		return nil, err
	}
	if err := h.templates[name].ExecuteTemplate(&body, "within", data); err != nil {
		return nil, err
	}
	p := data.page()
	err := h.config.Layout(&out, Frame{
		Title: p.FullTitle(), Lang: p.Lang, Dir: p.Dir, Head: template.HTML(head.String()),
		Body: template.HTML(h.fillPlaces(rq, body.Bytes())), Actor: rq.actor, Request: rq.Request,
	})
	return out.Bytes(), err
}
