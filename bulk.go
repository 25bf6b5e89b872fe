package apitoken

import (
	"context"
	"fmt"

	"github.com/apitoken-go/apitoken/internal/grammar"
)

// maxBulk bounds how many tokens one BulkParams names.
const maxBulk = 200

// BulkParams says what to do to many tokens.
type BulkParams struct {
	Action Action   // "activate", "deactivate" or "delete"
	IDs    []string // 1 to 200 of them
}

// A BulkError is why a Bulk stopped, and at which token.
type BulkError struct {
	ID  string
	Err error
}

// Error returns the text of the error and the ID.
func (e *BulkError) Error() string {
	if !grammar.ValidID(e.ID) { // it may be the text of a token, given by mistake
		return e.Err.Error()
	}
	return fmt.Sprintf("%v (token %q)", e.Err, e.ID)
}

// Unwrap returns the error.
func (e *BulkError) Unwrap() error { return e.Err }

// Bulk activates, deactivates or deletes many tokens. First it checks whether
// all of that is allowed; if not, nothing is done and the error is a
// [BulkError] that names the first refusal; a [FieldError] if there is no such
// action, or not 1 to 200 IDs. Then it does one after the other
// and returns the IDs of those it has done; on an error, a [BulkError], the
// rest is left, and the same Bulk again finishes it: what is so already, also a
// token that is gone when it is to be deleted, counts as done.
func (m *Manager) Bulk(ctx context.Context, b BulkParams) (done []string, err error) {
	var do, may func(id string) error
	allowed := func(rule edit) func(id string) error {
		return func(id string) error {
			return m.prepare(ctx, &change{action: b.Action, id: id, edit: rule})
		}
	}
	if b.Action == actionDeactivate || b.Action == actionDelete {
		m = m.revocation()
	}
	switch b.Action {
	case actionActivate:
		do = func(id string) error { _, err := m.Activate(ctx, id); return err }
		may = allowed(UpdateParams{Active: new(true)}.edit)
	case actionDeactivate:
		do = func(id string) error { _, err := m.Deactivate(ctx, id); return err }
		may = allowed(UpdateParams{Active: new(false)}.edit)
	case actionDelete:
		do = func(id string) error {
			if err := m.Delete(ctx, id); err != ErrNotFound {
				return err
			}
			return nil
		}
		may = func(id string) error { _, err := m.deletable(ctx, id); return err }
	default:
		return nil, &FieldError{"action", fmt.Sprintf("%.40q is not activate, deactivate or delete", b.Action)}
	}
	if len(b.IDs) < 1 || len(b.IDs) > maxBulk {
		return nil, &FieldError{"ids", fmt.Sprintf("has %d IDs, not 1 to %d", len(b.IDs), maxBulk)}
	}
	for _, id := range b.IDs {
		err := may(id)
		if err == ErrNotFound && b.Action == actionDelete {
			err = nil
		}
		if err != nil {
			return nil, &BulkError{id, err}
		}
	}
	for _, id := range b.IDs {
		if err := do(id); err != nil {
			return done, &BulkError{id, err}
		}
		done = append(done, id)
	}
	return done, nil
}
