package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func numbered(i int) string { return fmt.Sprintf("%017d", i) }

// fill puts an entry into the cache as if the store had been asked for it.
func fill(c *Cache[int, *int], id string, value int) Entry[int, *int] {
	k, now := c.Key(id), c.Instant(time.Now())
	f, _ := c.Join(k, false, now, time.Minute)
	e := NewEntry[int, *int](id, now)
	e.Value, *e.Pointers = value, &value
	c.Finish(k, f, e, nil, false)
	return f.Entry
}

func get(c *Cache[int, *int], id string) (value int, ok bool) {
	e, fresh := c.Get(c.Key(id), c.Instant(time.Now()))
	if !fresh {
		return 0, false
	}
	return e.Value + **e.Pointers, true
}

func TestEntriesAreFoundWhereverTheyWereMovedTo(t *testing.T) {
	const n = 1000
	c := New[int, *int](time.Hour, time.Hour, 1<<20, time.Now())
	for round := range 3 { // each replaces the entries of the one before
		for i := range n {
			fill(c, numbered(i), i+round)
		}
		for i := range n {
			value, ok := get(c, numbered(i))
			require.True(t, ok)
			require.Equal(t, 2*(i+round), value)
		}
	}
	assert.EqualValues(t, n, c.Stats(c.Instant(time.Now())).Entries)
}

func TestEntriesWithTheSameTagInTheSameSlotsAreTwo(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	first := c.Key(numbered(0))
	slots := uint64(len(c.shards[0].area.Load().table))
	other := 1
	for ; ; other++ {
		if k := c.Key(numbered(other)); k.tag() == first.tag() && (k.hash-first.hash)%slots == 0 {
			break
		}
	}
	fill(c, numbered(0), 1)
	_, ok := get(c, numbered(other))
	assert.False(t, ok)
	fill(c, numbered(other), 2)
	value, _ := get(c, numbered(0))
	assert.Equal(t, 2*1, value)
	c.Invalidate(numbered(0))
	_, ok = get(c, numbered(0))
	assert.False(t, ok)
	value, _ = get(c, numbered(other))
	assert.Equal(t, 2*2, value)
}

func TestTheTableHasWhatAMapWouldHave(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	c.limit = 1 << 20
	want := make(map[string]int)
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 50_000 {
		id := numbered(r.IntN(1 + step/50%700)) // it grows and shrinks
		switch r.IntN(3) {
		case 0:
			fill(c, id, step)
			want[id] = step
		case 1:
			c.Invalidate(id)
			delete(want, id)
		default:
			value, ok := get(c, id)
			old, has := want[id]
			require.Equal(t, has, ok, id)
			require.Equal(t, 2*old, value, id)
		}
	}
	assert.EqualValues(t, len(want), c.Stats(c.Instant(time.Now())).Entries)
}

func TestAnEntryThatStaysIsFoundWhileOthersComeAndGo(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	c.limit = 1 << 20
	for i := range 50 {
		fill(c, numbered(i), i)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer done.Store(true)
		for i := range 20_000 {
			fill(c, numbered(100+i%1000), i)
			fill(c, numbered(i%50), i%50) // anew, as it was
			c.Invalidate(numbered(100 + i*7%1000))
		}
	})
	for i := 0; !done.Load(); i++ {
		value, ok := get(c, numbered(i%50))
		if !assert.True(t, ok) || !assert.Equal(t, 2*(i%50), value) {
			break
		}
	}
	wg.Wait()
}

func TestAMovedEntryKeepsItsMark(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	fill(c, numbered(0), 0).Mark.Store(7)
	for i := range 1000 {
		if fill(c, numbered(0), i); i%2 == 0 {
			fill(c, numbered(1+i), i)
			c.Invalidate(numbered(1 + i))
		}
	}
	e, fresh := c.Get(c.Key(numbered(0)), c.Instant(time.Now()))
	require.True(t, fresh)
	assert.EqualValues(t, 7, e.Mark.Load())
	assert.Equal(t, numbered(0), e.ID())
}

func TestWhoHasAnEntryKeepsItWhateverTheCacheDoes(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	e := fill(c, numbered(0), 42)
	for i := range 1000 {
		fill(c, numbered(1+i), i)
		c.Invalidate(numbered(i))
	}
	assert.Equal(t, numbered(0), e.ID())
	assert.Equal(t, 42, e.Value)
	assert.Equal(t, 42, **e.Pointers)
}

func TestMemoryOfEntriesThatAreGoneIsGivenBack(t *testing.T) {
	const n = 2000
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	c.limit = n
	chunks := func() (used int) {
		for _, chunk := range c.shards[0].area.Load().chunks {
			if chunk.plain != nil {
				used++
			}
		}
		return used
	}
	for i := range n {
		fill(c, numbered(i), i)
	}
	full := chunks()
	assert.LessOrEqual(t, full, n*3/2/chunkLen)
	for range 3 {
		for i := range n {
			fill(c, numbered(i), i)
		}
		assert.LessOrEqual(t, chunks(), n*3/2/chunkLen+1, "entries that were replaced took more than half as much again")
	}
	for i := range n {
		c.Invalidate(numbered(i))
	}
	assert.LessOrEqual(t, chunks(), 5)
}

func TestRequestsNeverGetAnEntryThatWasInvalidatedBefore(t *testing.T) {
	c := New[int, *int](time.Hour, time.Hour, shardSize, time.Now())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				id := numbered(10_000*g + i%50)
				fill(c, id, i)
				value, ok := get(c, id)
				if ok {
					assert.Equal(t, 2*i, value)
				}
				c.Invalidate(id)
				_, ok = get(c, id)
				assert.False(t, ok)
			}
		})
	}
	wg.Wait()
}
