package managertest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestOfThreeNodesOneDoesWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var notices []apitoken.Event
		upkeep := func(c *apitoken.Config) {
			c.IntegrityKeys = keys(t, "2025")
			c.KeepExpired, c.KeepDeleted = 2*time.Hour, 2*time.Hour
			c.Notify = func(_ context.Context, ev apitoken.Event) error {
				mu.Lock()
				defer mu.Unlock()
				notices = append(notices, ev)
				return nil
			}
		}
		w := s.newWorld(t, upkeep)
		nodes := []*world{w, s.newWorldOn(t, w.store, upkeep), s.newWorldOn(t, w.store, upkeep)}
		in, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(25 * time.Hour) })
		stays, first := w.generate(w.ada)
		elsewhere, _ := w.generate(w.eve, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(25 * time.Hour) })
		w.rotations(stays.ID, first, 2)
		before := w.stored(stays.ID)
		for _, node := range nodes {
			require.False(t, node.works(first))
			synctest.Wait()
		}
		time.Sleep(34 * time.Hour)

		synctest.Wait()
		mu.Lock()
		sent := slices.Clone(notices)
		mu.Unlock()
		told := map[string][]string{}
		for _, ev := range sent {
			told[ev.TokenID] = append(told[ev.TokenID], string(ev.Action))
			require.Equal(t, ev.TokenID, ev.After.ID)
			require.Equal(t, ev.Owner, ev.After.Owner)
		}
		require.Equal(t, map[string][]string{
			stays.ID: {"reuse"}, in.ID: {"expiring", "expired"}, elsewhere.ID: {"expiring", "expired"},
		}, told)
		seen := map[string]int{}
		for _, node := range nodes {
			require.NoError(t, node.auth.Close())
			node.mu.Lock()
			events := slices.Clone(node.events)
			node.mu.Unlock()
			for _, ev := range events {
				require.NoError(t, ev.Err)
				if ev.TokenID == in.ID {
					seen[string(ev.Action)+" by "+ev.Actor]++
				}
			}
		}
		require.Equal(t, map[string]int{
			"generate by ada": 1, "expiring by ": 1, "expired by ": 1, "delete by Config.KeepExpired": 1, "purge by Config.KeepDeleted": 1,
		}, seen)
		_, err := w.store.Get(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
		after := w.stored(stays.ID)
		require.Equal(t, before.ChangedAt, after.ChangedAt)
		require.Equal(t, before.History, after.History, "a claim is no change that people see")
	})
}
