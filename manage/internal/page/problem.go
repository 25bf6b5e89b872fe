package page

import (
	"errors"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A formProblem is a mistake in a form, or the reason why a change was refused. Field
// is the ID of the element with the mistake, "" if there is none.
type formProblem struct{ Field, Text string }

// fieldLabels are the labels and the IDs of the elements, by FieldError.Field.
var fieldLabels = map[string]struct{ id, label string }{
	"name":             {"name", "The name"},
	"permissions":      {"permissions", "The list of permissions"},
	"expiry":           {"expires", "The expiry"},
	"not_before":       {"not_before", "The start"},
	"allowed_networks": {"networks", "The list of networks"},
	"overlap":          {"overlap", "The overlap"},
}

// problemsOf returns a formProblem for each error that is joined in err; nil for an
// error that problemOf does not know.
func problemsOf(err error) (problems []formProblem) {
	for _, f := range fields.Errors(err) {
		problem, _ := problemOf(f)
		problems = append(problems, problem)
	}
	if problem, ok := problemOf(err); ok && problems == nil {
		problems = append(problems, problem)
	}
	return problems
}

// problemOf returns the words for an error of apitoken.Manager. It reports false for an
// error that has nothing to do with the request, such as that of a store.
func problemOf(err error) (formProblem, bool) {
	if e, ok := errors.AsType[*apitoken.FieldError](err); ok {
		f, known := fieldLabels[e.Field]
		if slices.ContainsFunc(fields.Texts, func(text fields.Field) bool { return text.Name == e.Field }) {
			f.id, f.label, known = e.Field, "The "+fields.Label(e.Field), true
		}
		if !known {
			return formProblem{"", e.Field + " " + e.Problem + "."}, true
		}
		return formProblem{f.id, f.label + " " + e.Problem + "."}, true
	}
	if e, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		text := strings.ToUpper(e.Rule[:min(1, len(e.Rule))]) + e.Rule[min(1, len(e.Rule)):]
		if e.Permissions != nil {
			return formProblem{"permissions", text + ": " + strings.Join(e.Permissions, ", ") + "."}, true
		}
		return formProblem{"", text + "."}, true
	}
	switch {
	case errors.Is(err, apitoken.ErrRotating):
		return formProblem{"", "The token is being rotated already: its old secret is still valid. End that first."}, true
	case errors.Is(err, apitoken.ErrNotRotating):
		return formProblem{"", "The rotation is over: only one secret is valid."}, true
	case errors.Is(err, apitoken.ErrNotRevealable) && err != apitoken.ErrNotRevealable:
		return formProblem{"", "The secret was kept, but can no longer be decrypted. Rotate the token."}, true
	case errors.Is(err, apitoken.ErrNotRevealable):
		return formProblem{"", "The secret was not kept, so it can’t be shown."}, true
	case errors.Is(err, apitoken.ErrConflict):
		return formProblem{"", "Somebody else has changed the token meanwhile. Look again before you try again."}, true
	}
	return formProblem{}, false
}
