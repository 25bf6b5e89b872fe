package apitoken

import (
	"errors"
	"fmt"
)

// A FieldError says what is wrong with a field of what was given.
type FieldError struct {
	Field   string // as the caller wrote it: "Config.Prefix", "name"
	Problem string // the rest of the sentence: "is missing"
}

// Error returns "apitoken: ", field and problem.
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
