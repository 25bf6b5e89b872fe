package apitoken_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A touchTap notes how many uses each call has that writes some.
type touchTap struct {
	apitoken.Store

	mu    sync.Mutex
	calls []int
}

func (s *touchTap) Touch(_ context.Context, uses []apitoken.Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, len(uses))
	return nil
}

func (s *touchTap) seen() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Each request has an entry of its own here.
func TestATokenThatIsReadForEveryRequestWaitsOnceToBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *touchTap
		g := newRig(t, noCache, func(c *apitoken.Config) {
			s = &touchTap{Store: c.Store}
			c.Store, c.Observe = s, nil
		})
		for range 100 {
			require.Equal(t, 204, g.get(goodToken.text))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, []int{1}, s.seen())
		for range 300 {
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(100 * time.Millisecond)
		}
		require.NoError(t, g.Close())
		assert.Equal(t, []int{1, 1}, s.seen())
	})
}

// The last use of a token is recorded to five seconds, so that one that is used all
// the time is not told to the recorder with every request.
func TestUsesInTheSameFiveSecondsAreRecordedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *touchTap
		g := newRig(t, func(c *apitoken.Config) {
			s = &touchTap{Store: c.Store}
			c.Store, c.Observe = s, nil
		})
		require.Zero(t, time.Now().Unix()%5, "the time of the bubble")
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{1}, s.seen(), "it was written after a second")
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(1900 * time.Millisecond)
		require.Equal(t, 204, g.get(goodToken.text))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []int{1}, s.seen(), "the others were in the same five seconds")
		require.Equal(t, 204, g.get(goodToken.text))
		require.NoError(t, g.Close())
		assert.Equal(t, []int{1, 1}, s.seen())
	})
}

func TestUsesOfBothSecretsInTheSameFiveSecondsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in no time, so that it is in the same five seconds
		var s *touchTap
		g := newRig(t, func(c *apitoken.Config) {
			s = &touchTap{Store: c.Store}
			c.Store, c.Observe = s, nil
		})
		require.Equal(t, 204, g.get(rotatedToken.text))
		require.Equal(t, 204, g.get(rotatedToken.with(mint("rotated anew").secret)))
		require.NoError(t, g.Close())
		assert.Equal(t, []int{2}, s.seen())
	})
}
