package managertest

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestABulkIsCheckedFirstAndThenDoneOneByOne(t *testing.T) {
	w := s.newWorld(t)
	mine, secret := w.generate(w.ada)
	second, _ := w.generate(w.ada)
	others, _ := w.generate(w.grace)
	reports, _ := w.generate(w.grace, func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{w.reports} })
	elsewhere, _ := w.generate(w.eve)
	bulk := func(actor apitoken.Actor, action string, ids ...string) ([]string, error) {
		return w.auth.As(actor).Bulk(t.Context(), apitoken.BulkParams{Action: apitoken.Action(action), IDs: ids})
	}
	refusedAt := func(id string, err error) {
		t.Helper()
		var stopped *apitoken.BulkError
		require.ErrorAs(t, err, &stopped)
		require.Equal(t, id, stopped.ID)
	}

	done, err := bulk(w.ada, "deactivate", mine.ID, others.ID, second.ID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	refusedAt(others.ID, err)
	require.Empty(t, done)
	require.True(t, w.works(secret), "nothing was done")

	done, err = bulk(w.admin, "deactivate", mine.ID, others.ID, mine.ID, reports.ID)
	require.NoError(t, err)
	require.Equal(t, []string{mine.ID, others.ID, mine.ID, reports.ID}, done)
	require.False(t, w.works(secret))

	weak := w.admin
	weak.Grants = []apitoken.Permission{w.read}
	done, err = bulk(weak, "activate", mine.ID, reports.ID)
	require.True(t, isForbidden(err))
	refusedAt(reports.ID, err)
	require.Empty(t, done)
	require.False(t, w.works(secret))
	done, err = bulk(w.admin, "activate", mine.ID, second.ID)
	require.NoError(t, err)
	require.Len(t, done, 2)
	require.True(t, w.works(secret))

	done, err = bulk(w.admin, "delete", mine.ID, elsewhere.ID, mine.ID)
	require.NoError(t, err, "what does not exist counts as deleted")
	require.Len(t, done, 3)
	require.NotZero(t, w.stored(elsewhere.ID).Version, "but a token of another environment stays")
	require.False(t, w.works(secret))

	for field, b := range map[string]apitoken.BulkParams{
		"action": {Action: "rotate", IDs: []string{second.ID}},
		"ids":    {Action: "delete"},
	} {
		_, err := w.auth.As(w.admin).Bulk(t.Context(), b)
		require.Equal(t, field, fieldOf(err))
	}
	_, err = bulk(w.admin, "delete", strings.Split(strings.Repeat(second.ID+" ", 201), " ")[:201]...)
	require.Equal(t, "ids", fieldOf(err))
	_, err = bulk(apitoken.Actor{}, "delete", second.ID)
	require.True(t, isForbidden(err))
}

func (s Suite) TestABulkThatTheStoreBreaksOffIsFinishedByRepeatingIt(t *testing.T) {
	failing := &failingDeletes{Store: s.open(t)}
	failing.left.Store(2)
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = failing })
	var ids []string
	for range 4 {
		info, _ := w.generate(w.ada)
		ids = append(ids, info.ID)
	}
	done, err := w.auth.As(w.ada).Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: ids})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	var stopped *apitoken.BulkError
	require.ErrorAs(t, err, &stopped)
	require.Equal(t, ids[2], stopped.ID)
	require.Equal(t, ids[:2], done)
	failing.left.Store(100)
	done, err = w.auth.As(w.ada).Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: ids})
	require.NoError(t, err)
	require.Equal(t, ids, done)
	list, err := w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.NoError(t, err)
	require.Empty(t, list.Tokens)
}

// A failingDeletes store deletes as many tokens as are left and fails from then on.
type failingDeletes struct {
	apitoken.Store
	left atomic.Int64
}

func (s *failingDeletes) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.left.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return s.Store.Replace(ctx, rec)
}
