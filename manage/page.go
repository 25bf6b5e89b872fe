package manage

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/page"
)

// A Page is how the web page looks, and in which language it is. All fields are
// optional. docs/page.md shows a page in the layout of a service.
type Page struct {
	_ [0]func() // keyed literals only; no ==

	// Layout is the document of the service around the page. It is executed with a
	// [Frame], and must contain {{.Head}} in its head and {{.Body}} in its body. Without
	// it, the page is a document of its own, with a navigation at its side.
	Layout *template.Template

	// Sources are the origins from which Layout loads styles, scripts, images and fonts,
	// besides that of the service, such as "https://cdn.acme.example". The page's
	// Content-Security-Policy allows no others, and nothing inline.
	Sources []string

	// Style sets custom properties of the page's style sheet, such as "accent": "#0b6e4f"
	// and "radius": "4px". A color for light and dark is light-dark(#0b6e4f, #35c08f).
	// docs/page.md lists the properties.
	Style map[string]string

	// Logo is an image (PNG, JPEG, GIF, WebP or SVG), and LogoURL the address of one, that
	// stands beside the name of the service. One of them at most.
	Logo    []byte
	LogoURL string

	// Words are the texts of the page in the language of its readers; nil is English.
	// A service with several languages makes a page for each, and chooses by request.
	Words *Words

	// Location returns the time zone of the reader. Without it, and where it returns
	// nil, times are in UTC.
	Location func(*http.Request) *time.Location

	// Users returns the names by which people know users, by User and Owner. The page
	// calls it once for each answer, with all that the answer shows. Users without a
	// name are shown as they are. The page waits for Users, whose context ends after 2
	// seconds. An error is logged, and names that are returned with it are used.
	Users func(ctx context.Context, users []string) (map[string]string, error)

	// Path are the pages of the service above this one. Without it they are
	// "Environment settings", which leads to Config.Home, and "Access management".
	Path []Crumb

	// FrameAncestors are the origins whose pages may show the page in a frame, such as
	// "https://portal.acme.example", or "'self'". Without it, no page may. Such a page can
	// trick users into clicks. In a frame of another site the session of the user needs a
	// cookie with SameSite=None.
	FrameAncestors []string
}

// A Frame is what Page.Layout is executed with.
type Frame struct {
	Title   string         // of the document
	Lang    string         // of html, such as "en"
	Dir     string         // of html, "ltr" or "rtl"
	Head    template.HTML  // links to the style sheets and the script of the page
	Body    template.HTML  // the page
	Actor   apitoken.Actor // who is signed in, the zero Actor for nobody
	Request *http.Request  // for what the layout shows besides
}

// A Crumb is a page of the service, by its label and its address. Without a Link it is
// no link.
type Crumb struct{ Label, Link string }

// Words are the texts of the web page in one language.
//
// A text is named by its English; [Texts] lists them all. In a text, {1} is the first
// value that is put in, {2} the second; a translation has the same, in its own order.
// Dates are layouts of package time, such as "Monday, 2 January 2006", and the names of
// months and days are texts. A text that counts, such as "{1} token|{1} tokens", has a
// form for each kind of number; one form for all numbers will do, too.
//
// NewUI returns all mistakes in Words at once: texts that the page does not have, and
// places that a text lacks. Permissions and their descriptions, names and descriptions of
// tokens, and the rules of Config.Audit are shown as they are.
type Words struct {
	// Lang is the language as a tag, such as "de" or "pt-BR". Dir is "rtl" for a
	// language that is written from right to left.
	Lang string
	Dir  string

	// Texts has the text of this language for each English text. A text that it does
	// not have remains English.
	Texts map[string]string

	// Plural returns which form of a text is used with n, counted from 0. Without it,
	// the first of two forms is for 1, and the second for all other numbers.
	Plural func(n int) int

	// Thousands stands between groups of three digits. Without it, that is a comma.
	Thousands string
}

// Texts returns the English texts of the web page, in the order of the alphabet. A test
// that looks for each of them in Words.Texts finds what remains to be translated.
func Texts() []string { return page.Texts() }

// checkLayout returns an error if the layout leaves the page out.
func (p *Page) checkLayout() error {
	if p.Layout == nil {
		return nil
	}
	all := ""
	for _, t := range p.Layout.Templates() {
		if t.Tree != nil {
			all += t.Tree.Root.String()
		}
	}
	var missing []error
	for _, part := range []string{".Head", ".Body"} {
		if !strings.Contains(all, part) {
			missing = append(missing, fmt.Errorf("manage: Config.Page.Layout lacks {{%s}}", part))
		}
	}
	return errors.Join(missing...)
}
