package apitoken

import (
	"errors"
	"fmt"
	"strings"
)

// A FieldError says what is wrong with a field of the input.
type FieldError struct {
	Field   string // as the caller wrote it: "Config.Prefix", "name"
	Problem string // the rest of the sentence: "is missing"
}

// Error returns "apitoken: ", the field and the problem.
func (e *FieldError) Error() string { return "apitoken: " + e.Field + " " + e.Problem }

// mistakes collects what is wrong with what was given, so that the caller is told
// all of it at once.
type mistakes []error

func (m *mistakes) field(name, format string, args ...any) {
	*m = append(*m, &FieldError{name, fmt.Sprintf(format, args...)})
}

// add adds an error, unless it is nil.
func (m *mistakes) add(err error) {
	if err != nil {
		*m = append(*m, err)
	}
}

// join returns the one mistake as it is, and several as errors.Join does.
func (m mistakes) join() error {
	if len(m) == 1 {
		return m[0]
	}
	return errors.Join(m...)
}

// A ForbiddenError names the rule that forbids what the actor wants to do.
type ForbiddenError struct {
	Rule        string   // that stands against it, in words
	Permissions []string // names of those that the actor may not grant, if the rule is about that
}

// Error returns "apitoken: " and the rule.
func (e *ForbiddenError) Error() string {
	if e.Permissions != nil {
		return "apitoken: " + e.Rule + ": " + strings.Join(e.Permissions, ", ")
	}
	return "apitoken: " + e.Rule
}

// unavailable marks an error after which nothing is known. It is none of the
// named errors, also where a store or an audit has answered with one of them.
func unavailable(err error) error {
	if named(err) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// damaged is the error of a record that nobody can vouch for. It is a rule, as trying
// again does not help; one that a later version has to judge is unavailable here.
func damaged(wrong error) error {
	if errors.Is(wrong, errNewerRecord) {
		return unavailable(wrong)
	}
	rule := "the record of the token is damaged: those who manage the tokens of others can delete it, and an operator can adopt it"
	return fmt.Errorf("%w (%w)", &ForbiddenError{Rule: rule}, wrong)
}

// named reports whether an error says that what was asked for cannot be done.
func named(err error) bool {
	for _, e := range []error{ErrNotFound, ErrExists, ErrConflict, ErrRotating, ErrAlreadyRotated, ErrNotRotating, ErrNotRevealable} {
		if errors.Is(err, e) {
			return true
		}
	}
	_, field := errors.AsType[*FieldError](err)
	_, forbidden := errors.AsType[*ForbiddenError](err)
	return field || forbidden
}
