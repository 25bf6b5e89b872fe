package fields

import (
	"errors"

	"github.com/apitoken-go/apitoken"
)

// Errors returns every error about a field in err, of which several may be joined;
// nil if err has none.
func Errors(err error) (all []*apitoken.FieldError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, Errors(e)...)
		}
		return all
	}
	if e, ok := errors.AsType[*apitoken.FieldError](err); ok {
		all = append(all, e)
	}
	return all
}
