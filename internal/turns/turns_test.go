package turns

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAChangeWaitsForTheOneBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		release, waited, ok := turns.Take(t.Context(), "a", Ordinary, 0)
		require.True(t, ok)
		assert.False(t, waited)
		time.AfterFunc(time.Hour, release)
		_, waited, ok = turns.Take(t.Context(), "b", Ordinary, 0)
		assert.True(t, ok && !waited, "another token")
		start := time.Now()
		_, waited, ok = turns.Take(t.Context(), "a", Ending, 2*time.Hour)
		assert.True(t, ok && waited)
		assert.Equal(t, time.Hour, time.Since(start))
	})
}

func TestARevocationGoesOnWithoutItsTurnAndAnOrdinaryChangeDoesNot(t *testing.T) {
	for r, goesOn := range map[Rank]bool{Ordinary: false, Narrowing: true, Ending: true} {
		synctest.Test(t, func(t *testing.T) {
			var turns Turns
			_, _, ok := turns.Take(t.Context(), "a", Ending, 0) // and hangs
			require.True(t, ok)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			release, waited, ok := turns.Take(ctx, "a", r, time.Second)
			assert.Equal(t, goesOn, ok)
			assert.True(t, waited)
			if !goesOn {
				assert.Equal(t, time.Minute, time.Since(start))
				return
			}
			assert.Equal(t, time.Second, time.Since(start))
			release()
			cancel()
			_, _, ok = turns.Take(ctx, "a", r, time.Second)
			assert.False(t, ok, "the context has ended")
		})
	}
}

func TestRevocationsHaveTheirTurnFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		release, _, _ := turns.Take(t.Context(), "a", Ordinary, 0)
		var order []Rank
		for _, r := range []Rank{Ordinary, Narrowing, Ending} {
			go func() {
				release, _, _ := turns.Take(t.Context(), "a", r, time.Hour)
				order = append(order, r)
				release()
			}()
			synctest.Wait()
		}
		release()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []Rank{Ending, Narrowing, Ordinary}, order)
	})
}
