package words

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	langPattern  = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)
	placePattern = regexp.MustCompile(`\{[0-9]+\}`)
)

// Check returns all mistakes in w. Known are the English texts of the page.
func (w *Words) Check(known []string) error {
	var mistakes []error
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	if w.Lang != "" && !langPattern.MatchString(w.Lang) {
		wrong("Lang %q is no language tag such as de or pt-BR", w.Lang)
	}
	if w.Lang == "" && len(w.Texts) > 0 {
		wrong("Lang is missing: browsers and screen readers need it, such as de or pt-BR")
	}
	if w.Dir != "" && w.Dir != "ltr" && w.Dir != "rtl" {
		wrong("Dir %q is neither ltr nor rtl", w.Dir)
	}
	forms := 2
	if w.Plural != nil {
		forms = 1
		for n := range 1000 {
			forms = max(forms, w.Plural(n)+1)
		}
	}
	for _, english := range slices.Sorted(maps.Keys(w.Texts)) {
		text := w.Texts[english]
		switch {
		case !slices.Contains(known, english):
			wrong("Texts has %q, which is no text of the page", english)
			continue
		case strings.TrimSpace(text) == "":
			wrong("Texts[%q] is empty", english)
			continue
		}
		own, counts := strings.Split(text, "|"), strings.Contains(english, "|")
		switch {
		case !counts && len(own) > 1:
			wrong("Texts[%q] has %d forms, but the text does not count", english, len(own))
		case len(own) > 1 && len(own) != forms:
			wrong("Texts[%q] has %d forms, not 1 or %d", english, len(own), forms)
		}
		places := placePattern.FindAllString(english, -1)
		for _, form := range own {
			has := placePattern.FindAllString(form, -1)
			for _, place := range places {
				// A form that is for one number only may spell it out.
				if !slices.Contains(has, place) && (!counts || place != "{1}") {
					wrong("Texts[%q] lacks %s in %q", english, place, form)
				}
			}
			for _, place := range has {
				if !slices.Contains(places, place) {
					wrong("Texts[%q] has %s, which the English text has not", english, place)
				}
			}
		}
	}
	return errors.Join(mistakes...)
}

// Translator returns a function that translates English sentences in which the values
// stand already, such as those of errors. Known are the texts from which they are made,
// whose places are in order. A sentence of none of them remains English.
func (w *Words) Translator(known []string) func(sentence string) string {
	patterns := map[string]*regexp.Regexp{}
	var order []string // the longest first, as it says most about a sentence
	for _, english := range known {
		if _, ok := w.Texts[english]; ok && placePattern.MatchString(english) {
			parts := placePattern.Split(english, -1)
			for i := range parts {
				parts[i] = regexp.QuoteMeta(parts[i])
			}
			order = append(order, english)
			patterns[english] = regexp.MustCompile("^(?s:" + strings.Join(parts, "(.*)") + ")$")
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return len(b) - len(a) })
	return func(sentence string) string {
		for _, english := range order {
			if found := patterns[english].FindStringSubmatch(sentence); found != nil {
				values := make([]any, len(found)-1)
				for i, value := range found[1:] {
					values[i] = value
				}
				return w.Text(english, values...)
			}
		}
		return w.Text(sentence)
	}
}
