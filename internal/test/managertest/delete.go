package managertest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestWhatSomeoneElseDeletedMeanwhileIsNotFound(t *testing.T) {
	racing := &racingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = racing })
	info, _ := w.generate(w.ada)
	racing.deleteFirst = true
	w.events = nil
	require.Equal(t, apitoken.ErrNotFound, w.auth.As(w.ada).Delete(t.Context(), info.ID))
	require.Empty(t, w.events, "who was faster has told the observer")
}

// A racingStore deletes a token twice, as if another node had been faster.
type racingStore struct {
	apitoken.Store
	deleteFirst bool
}

func (s *racingStore) Delete(ctx context.Context, id string) error {
	if s.deleteFirst {
		if err := s.Store.Delete(ctx, id); err != nil {
			return err
		}
	}
	return s.Store.Delete(ctx, id)
}
