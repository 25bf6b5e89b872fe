package limit_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/limit"
)

func TestARateThatDoesNotDivideATimeIsRoundedToFewerRequests(t *testing.T) {
	l := limit.New(func() time.Duration { return 0 }, nil, time.Minute)
	three := limit.Limit{Requests: 3, Per: time.Second, Burst: 1}
	admit := func(at time.Duration) bool { return l.Admits(at, demand("one", three)) }
	require.True(t, admit(0))
	assert.False(t, admit(333_333_333))
	assert.True(t, admit(333_333_334))
}

func TestTheCounterKeepsOwnersOfTheSameNameInTwoEnvironmentsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var names int
		l := limit.New(func() time.Duration { return time.Since(start) }, counterFunc(func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			names += len(add)
			return add, nil
		}), time.Minute)
		defer l.Close()
		for _, environment := range []string{"production", "test"} {
			d := limit.Demands{1: {Key: limit.Key{Environment: environment, Owner: "ada"}, Rate: limit.Limit{Requests: 1, Per: time.Second}.Rate()}}
			require.True(t, l.Admits(0, &d))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 2, names)
	})
}

func TestWhatIsAdmittedDuringAnExchangeCountsBesideTheSumOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() time.Duration { return time.Since(start) }
		ten := demand("one", limit.Limit{Requests: 1, Per: time.Hour, Burst: 10})
		exchanged := false
		var l *limit.Limiter
		l = limit.New(now, counterFunc(func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			if exchanged {
				return nil, errAway
			}
			exchanged = true
			require.True(t, l.Admits(now(), ten))
			for key := range add {
				add[key] = 8 * time.Hour
			}
			return add, nil
		}), time.Minute)
		require.True(t, l.Admits(0, ten))
		time.Sleep(2 * limit.Interval)
		left, _ := l.Left(now(), ten)
		assert.Equal(t, 1, left[0], "nodes have used 8 together, and this one has used 1 since")
		l.Close()
	})
}

func TestASumWithoutBoundsRefusesAndOverflowsNothing(t *testing.T) {
	for _, sum := range []time.Duration{math.MaxInt64, math.MaxInt64 - time.Hour, math.MinInt64, -1} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			now := func() time.Duration { return time.Since(start) }
			ten := demand("one", limit.Limit{Requests: 1, Per: time.Hour, Burst: 10})
			l := limit.New(now, counterFunc(func(_ context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
				for key := range add {
					add[key] = sum
				}
				return add, nil
			}), time.Minute)
			defer l.Close()
			require.True(t, l.Admits(0, ten))
			time.Sleep(2 * limit.Interval)
			assert.Equal(t, sum < 0, l.Admits(now(), ten), sum)
			left, _ := l.Left(now(), ten)
			assert.LessOrEqual(t, left[0], 9, sum)
		})
	}
}
