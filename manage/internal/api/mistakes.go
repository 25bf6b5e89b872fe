package api

import (
	"errors"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// note adds the mistakes of err to c.wrong. It returns err if that is another error.
func (c *call) note(err error) error {
	wrong := fields.Errors(err)
	if err != nil && (wrong == nil || errors.Is(err, apitoken.ErrUnavailable)) {
		return err
	}
	c.wrong = append(c.wrong, wrong...)
	return nil
}

// wrongIn notes a mistake.
func (c *call) wrongIn(field, problem string) {
	c.wrong = append(c.wrong, &apitoken.FieldError{Field: field, Problem: problem})
}

// mistakes returns c.wrong and the mistakes that a Manager has found: the first of each
// field.
func (c *call) mistakes(found error) error {
	known := map[string]bool{"expiry": true} // see params
	var all []error
	for _, f := range append(c.wrong, fields.Errors(found)...) {
		if !known[f.Field] {
			known[f.Field] = true
			all = append(all, f)
		}
	}
	return errors.Join(all...)
}

// renameField replaces the name of a field in err by that of its member or header
// field, which clients know.
func renameField(err error, field, member string) error {
	if errors.Is(err, apitoken.ErrUnavailable) {
		return err
	}
	var said []error
	for _, f := range fields.Errors(err) {
		if f.Field == field {
			f = &apitoken.FieldError{Field: member, Problem: f.Problem}
		}
		said = append(said, f)
	}
	if said == nil {
		return err
	}
	return errors.Join(said...)
}
