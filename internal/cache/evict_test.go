package cache

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnEntryThatIsReadAnewStaysOneThatIsUsed(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	hot := func() bool {
		k := c.Key(numbered(0))
		e, _ := c.shards[0].area.Load().find(&k)
		return e.hot.Load()
	}
	fill(c, numbered(0), 0)
	require.False(t, hot())
	_, ok := get(c, numbered(0))
	require.True(t, ok)
	fill(c, numbered(0), 1)
	assert.True(t, hot())
}

func TestAnEntryIsNotEvictedWhenItComes(t *testing.T) {
	const n = 100
	c := New[int, *int](time.Hour, time.Hour, n, time.Now())
	for i := range 10 * n {
		fill(c, numbered(i), i)
		_, ok := get(c, numbered(i))
		require.True(t, ok)
	}
}

func TestEvictionsGoOnInATableThatBecameSmaller(t *testing.T) {
	for name, shrink := range map[string]func(c *Cache[int, *int], n int){
		"by the reset after which entries of long ago would seem new": func(c *Cache[int, *int], _ int) {
			c.shards[0].era.Store(1<<16 - 1)
			c.Reset()
		},
		"by invalidations": func(c *Cache[int, *int], n int) {
			for i := range 2 * n {
				c.Invalidate(numbered(i))
			}
		},
	} {
		const n = 2000
		c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
		for i := range n {
			c.limit = n
			fill(c, numbered(i), i)
		}
		s := &c.shards[0]
		s.hand = len(s.area.Load().table) - 1 // where evictions have come to
		shrink(c, n)
		c.limit = 10
		for i := range 20 {
			fill(c, numbered(i), i)
		}
		assert.LessOrEqual(t, c.Stats(c.Instant(time.Now())).Entries, int64(n), name)
	}
}
