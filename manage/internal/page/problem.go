package page

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// A formProblem is a mistake in a form, or the reason why a change was refused. Field
// is the ID of the element with the mistake, "" if there is none.
type formProblem struct{ Field, Text string }

// fieldProblems are the IDs of the elements, and the sentences about what is wrong with
// them, by FieldError.Field.
var fieldProblems = map[string]struct{ id, sentence string }{
	"name":             {"name", words.Key("The name {1}.")},
	"permissions":      {"permissions", words.Key("The list of permissions {1}.")},
	"expiry":           {"expires", words.Key("The expiry {1}.")},
	"not_before":       {"not_before", words.Key("The start {1}.")},
	"allowed_networks": {"networks", words.Key("The list of networks {1}.")},
	"only":             {"only", words.Key("The list of objects {1}.")},
	"overlap":          {"overlap", words.Key("The overlap {1}.")},
}

// problemsOf returns a formProblem for each error that is joined in err; nil for an
// error that problemOf does not know.
func (h *handler) problemsOf(err error) (problems []formProblem) {
	for _, f := range fields.Errors(err) {
		problem, _ := h.problemOf(f)
		problems = append(problems, problem)
	}
	if problem, ok := h.problemOf(err); ok && problems == nil {
		problems = append(problems, problem)
	}
	return problems
}

// problemOf returns the words for an error of apitoken.Manager. It reports false for an
// error that has nothing to do with the request, such as that of a store.
func (h *handler) problemOf(err error) (formProblem, bool) {
	t := h.words.Text
	if e, ok := errors.AsType[*apitoken.FieldError](err); ok {
		problem := h.said(e.Problem)
		if f, known := fieldProblems[e.Field]; known {
			return formProblem{f.id, t(f.sentence, problem)}, true
		}
		if slices.ContainsFunc(fields.Texts, func(text fields.Field) bool { return text.Name == e.Field }) {
			return formProblem{e.Field, t("The {1} {2}.", t(fields.Label(e.Field)), problem)}, true
		}
		return formProblem{"", t("{1} {2}.", e.Field, problem)}, true
	}
	if e, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		text := h.said(e.Rule)
		if first, size := utf8.DecodeRuneInString(text); size > 0 {
			text = string(unicode.ToUpper(first)) + text[size:]
		}
		if e.Permissions != nil {
			return formProblem{"permissions", t("{1}: {2}.", text, strings.Join(e.Permissions, ", "))}, true
		}
		return formProblem{"", text + "."}, true
	}
	switch {
	case errors.Is(err, apitoken.ErrRotating):
		return formProblem{"", t("The token is being rotated already: its old secret is still valid. End that first.")}, true
	case errors.Is(err, apitoken.ErrNotRotating):
		return formProblem{"", t("The rotation is over: only one secret is valid.")}, true
	case errors.Is(err, apitoken.ErrNotRevealable) && err != apitoken.ErrNotRevealable:
		return formProblem{"", t("The secret was kept, but can no longer be decrypted. Rotate the token.")}, true
	case errors.Is(err, apitoken.ErrNotRevealable):
		return formProblem{"", t("The secret was not kept, so it can’t be shown.")}, true
	case errors.Is(err, apitoken.ErrConflict):
		return formProblem{"", t("Somebody else has changed the token. Look at it again before you try again.")}, true
	}
	return formProblem{}, false
}
