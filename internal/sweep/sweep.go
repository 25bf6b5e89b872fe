// Package sweep does something to all of a list that may grow meanwhile.
package sweep

import (
	"context"
	"errors"
	"time"
)

// ErrEndless is the error of All if list after list had something.
var ErrEndless = errors.New("new ones appear faster than they are dealt with")

// maxLists bounds how often All lists. Someone who adds to the list all the time must not
// keep the caller for ever.
const maxLists = 100

// All calls do for everything on a list, and lists again, until a list has nothing that began
// more than settle after the last one that had: what was under way at that moment has ended
// then, and would be on it. If the first list has nothing, that is all.
//
// What do fails for is left, and tried again with the next list as long as something else
// succeeds; then the errors are returned together. An error of list, or ctx, ends All.
func All[T any](ctx context.Context, settle time.Duration, list func() ([]T, error), do func(T) error) error {
	var last time.Time
	for range maxLists {
		began := time.Now()
		found, err := list()
		if err != nil || len(found) == 0 && (last.IsZero() || began.Sub(last) > settle) {
			return err
		}
		var failed []error
		for _, x := range found {
			if err := do(x); err != nil {
				failed = append(failed, err)
			}
		}
		if failed != nil && len(failed) == len(found) {
			return errors.Join(failed...)
		}
		pause := settle / 8 // a list may be long: not again and again without a pause
		if len(found) > 0 {
			last = time.Now()
		} else {
			pause = time.Until(last.Add(settle)) + time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(append(failed, ctx.Err())...)
		}
	}
	return ErrEndless
}

// Descend takes out of list what is in family or has a parent there, and adds it to family,
// until there is no more. The order of the list does not matter.
func Descend[T any](list []T, family map[string]bool, ids func(T) (id, parent string)) (found []T) {
	for n := -1; n != len(found); {
		n = len(found)
		var others []T
		for _, x := range list {
			if id, parent := ids(x); family[id] || family[parent] {
				family[id] = true
				found = append(found, x)
			} else {
				others = append(others, x)
			}
		}
		list = others
	}
	return found
}
