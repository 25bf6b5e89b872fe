// Package sweep processes a list completely, although the list may grow meanwhile.
package sweep

import (
	"context"
	"errors"
	"time"
)

// ErrEndless is the error of All if every list had something.
var ErrEndless = errors.New("apitoken: new ones appear faster than they are dealt with")

// maxLists bounds the number of lists of All. Someone who keeps adding items must not keep
// the caller for ever.
const maxLists = 100

// All calls do for everything on a list, and lists again. It ends when a list has no items
// and began more than settle after the last list with items: everything that was in flight
// then has ended, and would be on the list. It also ends if the first list has no items.
//
// All keeps items for which do fails, and tries them again with the next list as long as
// something else succeeds; then it returns their errors together. An error of list ends
// All; so does ctx, because list then fails. All processes first before it lists anything.
func All[T any](ctx context.Context, settle time.Duration, first []T, list func() ([]T, error), do func(T) error) error {
	var last time.Time
	var failed []error
	for range maxLists {
		began, found, listed := time.Now(), first, first == nil
		if first = nil; listed {
			var err error
			if found, err = list(); err != nil {
				return errors.Join(append(failed, err)...)
			}
		}
		if len(found) == 0 && (last.IsZero() || began.Sub(last) > settle) {
			return nil
		}
		failed = nil
		for _, x := range found {
			if err := do(x); err != nil {
				failed = append(failed, err)
			}
		}
		if listed && failed != nil && len(failed) == len(found) {
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
		}
	}
	return ErrEndless
}

// Descend removes from list the items that are in family or have a parent there, and adds
// them to family, until there are no more. The order of the list does not matter.
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
