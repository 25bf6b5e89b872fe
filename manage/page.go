package manage

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken/manage/internal/page"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// A Page is how the web page looks, and in which language it is. All fields are
// optional. docs/page.md shows a page in the layout of a service.
type Page struct {
	_ [0]func() // keyed literals only; no ==

	// Words are the texts of the page in the language of its readers; nil is English.
	// A service with several languages makes a page for each, and chooses by request.
	Words *Words

	// Location returns the time zone of the reader. Without it, and where it returns
	// nil, times are in UTC.
	Location func(*http.Request) *time.Location

	// Users returns the names by which people know users, by User and Owner. The page
	// calls it once for each answer, with all that the answer shows. Users without a
	// name are shown as they are. If Users fails or takes longer than 2 seconds, the
	// error is logged, and names that are returned with it are used.
	Users func(ctx context.Context, users []string) (map[string]string, error)

	// Path are the pages of the service above this one. Without it they are
	// "Environment settings" and "Access management", and no links.
	Path []Crumb
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

// check returns all mistakes in p.
func (p *Page) check() error {
	if p.Words == nil {
		return nil
	}
	if err := (*words.Words)(p.Words).Check(Texts()); err != nil {
		return fmt.Errorf("manage: Config.Page.Words: %w", err)
	}
	return nil
}
