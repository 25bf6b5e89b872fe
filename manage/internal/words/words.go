// Package words has the texts of the web page in the language of its readers.
package words

import (
	"cmp"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// Words are the texts of the page in one language. The zero Words are English.
//
// A text is named by its English, which stands where the page uses it. In a text, {1}
// is the first value that is put in, {2} the second. A text that counts has a form
// for each kind of number, with | between them; its first value is the number. The
// fields are those of manage.Words, which describes them.
type Words struct {
	Lang      string
	Dir       string
	Texts     map[string]string
	Plural    func(n int) int
	Thousands string
}

// Key returns a text that is put on the page later, by another call of Text or HTML.
func Key(english string) string { return english }

// Text returns the text with its values, as plain text.
func (w *Words) Text(english string, values ...any) string {
	return w.fill(w.form(english, values), values, func(v any) string { return fmt.Sprint(v) })
}

// HTML returns the text with its values, escaped except for values of type
// template.HTML.
func (w *Words) HTML(english string, values ...any) template.HTML {
	text := template.HTMLEscapeString(w.form(english, values))
	return template.HTML(w.fill(text, values, func(v any) string {
		if markup, ok := v.(template.HTML); ok {
			return string(markup)
		}
		return template.HTMLEscapeString(fmt.Sprint(v))
	}))
}

// form returns the text of this language, in the form for the number in values.
func (w *Words) form(english string, values []any) string {
	text := english
	if own, ok := w.Texts[english]; ok {
		text = own
	}
	forms := strings.Split(text, "|")
	if len(forms) == 1 || len(values) == 0 {
		return text
	}
	n, _ := values[0].(int)
	which := 1
	switch {
	case w.Plural != nil:
		which = w.Plural(n)
	case n == 1:
		which = 0
	}
	return forms[min(max(which, 0), len(forms)-1)]
}

// fill puts the values into the places of a text. Whole numbers are grouped.
func (w *Words) fill(text string, values []any, show func(any) string) string {
	places := make([]string, 0, 2*len(values))
	for i, v := range values {
		if n, ok := v.(int); ok {
			v = w.Number(n)
		}
		places = append(places, "{"+strconv.Itoa(i+1)+"}", show(v))
	}
	return strings.NewReplacer(places...).Replace(text)
}

// Number returns n with its digits in groups of three.
func (w *Words) Number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + cmp.Or(w.Thousands, ",") + s[i:]
	}
	return s
}

// Date returns t in a layout of package time, which is a text. So are the names of
// months and days, which the layout must have in full.
func (w *Words) Date(layout string, t time.Time) string {
	var names []string
	for m := time.January; m <= time.December; m++ {
		names = append(names, m.String(), w.Text(m.String()))
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		names = append(names, d.String(), w.Text(d.String()))
	}
	return strings.NewReplacer(names...).Replace(t.Format(w.Text(layout)))
}

// Isolate returns a name in an element that keeps its direction apart from that of
// the text around it.
func Isolate(name string) template.HTML {
	return "<bdi>" + template.HTML(template.HTMLEscapeString(name)) + "</bdi>"
}
