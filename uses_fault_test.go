package apitoken_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A touchStore records uses as the test says.
type touchStore struct {
	apitoken.Store
	touch   func(context.Context, []apitoken.Use) error
	running atomic.Int32
}

func (s *touchStore) Touch(ctx context.Context, uses []apitoken.Use) error {
	s.running.Add(1)
	defer s.running.Add(-1)
	return s.touch(ctx, uses)
}

func newTouchRig(t *testing.T, touch func(context.Context, []apitoken.Use) error) (*rig, *touchStore) {
	s := &touchStore{touch: touch}
	g := newRig(t, func(c *apitoken.Config) {
		s.Store = c.Store
		c.Store, c.Observe = s, nil
	})
	return g, s
}

// The uses of tokens are written on goroutines of the library's own: nobody but it
// can keep what the store does there from ending the process.
func TestUsesThatTheStoreCouldNotWriteAreWrittenWhenItCan(t *testing.T) {
	for name, fault := range map[string]func() error{
		"an error":           func() error { return errors.New("down") },
		"a panic":            func() error { panic("x") },
		"a goroutine's end":  func() error { runtime.Goexit(); return nil },
		"an error of others": func() error { return apitoken.ErrNotFound },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var healed atomic.Bool
				written := make(chan apitoken.Use, 10)
				g, _ := newTouchRig(t, func(_ context.Context, uses []apitoken.Use) error {
					if !healed.Load() {
						return fault()
					}
					for _, u := range uses {
						written <- u
					}
					return nil
				})
				used := time.Now()
				require.Equal(t, 204, g.get(goodToken.text))
				time.Sleep(10 * time.Second)
				require.Equal(t, 204, g.get(goodToken.text), "requests do not mind")
				healed.Store(true)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				require.NotEmpty(t, written)
				use := <-written
				assert.Equal(t, goodToken.id, use.ID)
				assert.False(t, use.At.Before(used.Add(-time.Microsecond)))
				require.NoError(t, g.Close())
				assert.Zero(t, g.Stats().UsesDropped)
			})
		})
	}
}

func TestAStoreThatHangsWhileUsesAreWrittenIsNotCalledAgainMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var written atomic.Int32
		g, s := newTouchRig(t, func(context.Context, []apitoken.Use) error {
			<-release
			written.Add(1)
			return nil
		})
		for range 20 {
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(10 * time.Second)
			require.EqualValues(t, 1, s.running.Load())
		}
		close(release)
		time.Sleep(5 * time.Second)
		assert.Positive(t, written.Load())
		require.NoError(t, g.Close())
		assert.Zero(t, g.Stats().UsesDropped)
	})
}

func TestUsesAreWrittenOnceAMinuteForEachToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		g, _ := newTouchRig(t, func(_ context.Context, uses []apitoken.Use) error {
			writes.Add(1)
			return nil
		})
		for range 600 {
			require.Equal(t, 204, g.get(goodToken.text))
			time.Sleep(time.Second)
		}
		assert.InDelta(t, 10, writes.Load(), 1)
	})
}

// The token rests then, once for both sources, and its newer use waits with it.
func TestAUseThatComesWhileAnOlderOneIsWrittenIsWrittenAMinuteLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{}, 1)
		var mu sync.Mutex
		newest := make(map[apitoken.Source]time.Time)
		g, s := newTouchRig(t, func(_ context.Context, uses []apitoken.Use) error {
			<-release
			mu.Lock()
			defer mu.Unlock()
			for _, u := range uses {
				newest[u.Source] = u.At
			}
			return nil
		})
		use := func() {
			require.Equal(t, 204, g.get(goodToken.text))
			_, err := g.Check(newRequest("/?apiToken="+goodToken.text), apitoken.All(wireRead))
			require.NoError(t, err)
		}
		use()
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, s.running.Load())
		last := time.Now()
		use()
		release <- struct{}{}
		time.Sleep(time.Minute)
		mu.Lock()
		require.Len(t, newest, 2)
		mu.Unlock()
		close(release)
		time.Sleep(10 * time.Second)
		mu.Lock()
		for source, at := range newest {
			assert.False(t, at.Before(last.Truncate(time.Microsecond)), source)
		}
		mu.Unlock()
		require.NoError(t, g.Close())
		assert.Zero(t, g.Stats().UsesDropped)
	})
}

func TestCloseGivesUpOnAStoreThatHangsWhileUsesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g, _ := newTouchRig(t, func(context.Context, []apitoken.Use) error { <-release; return nil })
		require.Equal(t, 204, g.get(goodToken.text))
		start := time.Now()
		require.Error(t, g.Close())
		assert.Equal(t, 2*time.Second, time.Since(start))
		close(release)
	})
}

// What has gathered while a store was away must not be more than it can write in
// the time that it has for one call, or it would never be written.
func TestManyUsesAreWrittenAThousandAtATime(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, func(t *testing.T) {
		var healed atomic.Bool
		var mu sync.Mutex
		written := make(map[string]bool)
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(written)
		}
		g, _ := newTouchRig(t, func(_ context.Context, uses []apitoken.Use) error {
			if !healed.Load() || len(uses) > 1000 {
				return context.DeadlineExceeded
			}
			mu.Lock()
			defer mu.Unlock()
			for _, u := range uses {
				written[u.ID] = true
			}
			return nil
		})
		const tokens = 2500
		for range tokens {
			_, secret := g.generate(t)
			require.Equal(t, 204, g.get(secret.Reveal()))
		}
		time.Sleep(10 * time.Second)
		healed.Store(true)
		time.Sleep(3 * time.Second)
		assert.Equal(t, tokens, count())

		healed.Store(false)
		time.Sleep(2 * time.Minute)
		for range tokens {
			_, secret := g.generate(t)
			require.Equal(t, 204, g.get(secret.Reveal()))
		}
		healed.Store(true)
		require.NoError(t, g.Close())
		assert.Equal(t, 2*tokens, count(), "Close writes all of them, too")
		assert.Zero(t, g.Stats().UsesDropped)
	})
}

func TestAnOlderUseThatIsNotedLateDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []apitoken.Use
		s := &touchStore{touch: func(_ context.Context, uses []apitoken.Use) error {
			written = append(written, uses...)
			return nil
		}}
		release := make(chan struct{})
		var observed atomic.Int32
		g := newRig(t, func(c *apitoken.Config) {
			s.Store = c.Store
			c.Store, c.MaxStaleness = s, time.Hour
			c.Observe = func(context.Context, apitoken.Event) {
				if observed.Add(1) == 1 {
					<-release
				}
			}
		})
		first := make(chan int)
		go func() { first <- g.get(goodToken.text) }()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		newer := time.Now()
		require.Equal(t, 204, g.get(goodToken.text))
		close(release)
		require.Equal(t, 204, <-first)
		require.NoError(t, g.Close())
		require.Len(t, written, 1)
		assert.True(t, written[0].At.Equal(newer.Truncate(time.Microsecond)), written[0].At)
	})
}
