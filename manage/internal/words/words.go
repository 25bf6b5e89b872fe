// Package words has the texts of the web page in the language of its readers.
package words

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
)

// Words are the texts of the page in one language. The zero Words are English.
//
// A text is named by its English, which stands where the page uses it. In a text, {1}
// is the first value that is put in, {2} the second. A text that counts has a form
// for each kind of number, with | between them; its first value is the number.
type Words struct {
	// Texts has the text of this language for each English text. What it does not have
	// remains English.
	Texts map[string]string

	// Plural returns which form of a text is used with n, counted from 0. Without it,
	// the first form is for 1 and the second for all other numbers.
	Plural func(n int) int
}

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
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Isolate returns a name in an element that keeps its direction apart from that of
// the text around it.
func Isolate(name string) template.HTML {
	return "<bdi>" + template.HTML(template.HTMLEscapeString(name)) + "</bdi>"
}
