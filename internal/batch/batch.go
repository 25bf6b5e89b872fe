// Package batch processes a list in few calls.
package batch

import (
	"errors"
	"slices"
)

// Run processes the items of a list in batches of at most size. It calls ask for each item
// of a batch, do for the items for which ask returned nil, and tell for each item with its
// error. After the first error that wraps final it calls ask and do no more: the rest of
// the list gets that error, and so does every item of a batch that was not done.
func Run[E any](list []E, size int, final error, ask func(E) error, do func([]E) []error, tell func(E, error)) {
	var end error
	for batch := range slices.Chunk(list, size) {
		errs := make([]error, len(batch))
		var asked []E
		var places []int // in the batch
		for i, item := range batch {
			if end == nil {
				errs[i] = ask(item)
			}
			if errors.Is(errs[i], final) {
				end = errs[i]
			}
			if errs[i] == nil {
				asked, places = append(asked, item), append(places, i)
			}
		}
		done := slices.Repeat([]error{end}, len(asked))
		if end == nil && asked != nil {
			done = do(asked)
		}
		for n, i := range places {
			if errs[i] = done[n]; errors.Is(done[n], final) {
				end = done[n]
			}
		}
		for i, item := range batch {
			tell(item, errs[i])
		}
	}
}
