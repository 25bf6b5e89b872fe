package apitoken_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestAStoreThatDoesNotCountIsReportedOnceUntilItCountsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away error
		mem := memory.New()
		store := countingStore{mem, func(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			if away != nil {
				return nil, away
			}
			return mem.Count(ctx, add)
		}}
		require.NoError(t, store.Create(t.Context(), goodToken.record(wireRead)))
		g := newRig(t, limited, func(c *apitoken.Config) { c.Store = store })
		defer g.Close()
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		request := func() {
			send(h, asGood+goodToken.text)
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		reported := func() (list []apitoken.Event) {
			for _, ev := range g.events {
				if ev.Action == "limits" {
					list = append(list, ev)
				}
			}
			return list
		}
		request()
		assert.Empty(t, reported())
		for n := range 2 {
			away = errors.New("NOPERM no permissions to access a key")
			for range 3 {
				request()
			}
			require.Len(t, reported(), n+1)
			ev := reported()[n]
			assert.Equal(t, apitoken.ErrUnavailable, ev.Reason)
			assert.ErrorIs(t, ev.Err, away)
			away = nil
			request()
		}
		assert.Equal(t, 9, calls, "requests are served all the same")
	})
}

// A countingStore counts in its own way.
type countingStore struct {
	*memory.Store
	count func(context.Context, map[string]time.Duration) (map[string]time.Duration, error)
}

func (s countingStore) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	return s.count(ctx, add)
}
