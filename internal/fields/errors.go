package fields

import (
	"errors"

	"github.com/apitoken-go/apitoken"
)

// Errors returns every error about a field in err, of which several may be joined;
// nil if err has none.
func Errors(err error) []*apitoken.FieldError { return each[*apitoken.FieldError](err) }

// Bulk is like Errors for errors about one of many tokens.
func Bulk(err error) []*apitoken.BulkError { return each[*apitoken.BulkError](err) }

func each[E error](err error) (all []E) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, each[E](e)...)
		}
		return all
	}
	if e, ok := errors.AsType[E](err); ok {
		all = append(all, e)
	}
	return all
}
