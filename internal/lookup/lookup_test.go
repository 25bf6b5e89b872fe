package lookup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
)

const id = "0123456789abcdefg"

var errGone = errors.New("gone")

type (
	entry  = cache.Entry[string, int]
	reader = Reader[string, int]
)

// A store answers after some seconds, with an entry or an error.
type store struct {
	mu    sync.Mutex
	calls int
	after time.Duration
	err   error
}

func (s *store) read(_ context.Context, id string, at cache.Instant) (entry, error) {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	time.Sleep(s.after)
	if s.err != nil {
		return entry{}, s.err
	}
	return cache.NewEntry[string, int](id, at), nil
}

// newReader returns a Reader with one slot for unknown entries and one for known ones; answers
// may be a second old.
func newReader(s *store, limit time.Duration) *reader {
	return &reader{
		Cache: cache.New[string, int](time.Second, time.Minute, 100, time.Now()), Now: time.Now,
		Read: s.read, Gone: errGone, Holder: func(entry) string { return "ada" },
		Lookups: bulkhead.New("the store", limit, 1), Renewals: bulkhead.New("the store", limit, 1),
	}
}

func ask(ctx context.Context, r *reader, id string, known entry) (entry, error) {
	var key cache.Key
	if r.Cache != nil {
		key = r.Cache.Key(id)
	}
	return r.Entry(ctx, key, id, known, time.Now())
}

func TestRequestsForTheSameEntryShareACall(t *testing.T) {
	for _, cancelable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{after: time.Second / 2}
			r := newReader(s, time.Minute)
			r.Cancelable = cancelable
			for range 5 {
				go func() {
					e, err := ask(t.Context(), r, id, entry{})
					assert.NoError(t, err)
					assert.Equal(t, id, e.ID())
				}()
			}
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, 1, s.calls)
			_, fresh := r.Cache.Get(r.Cache.Key(id), r.Cache.Instant(time.Now()))
			assert.True(t, fresh, "the cache keeps the answer")
		})
	}
}

func TestWithoutACacheOnlyRequestsThatWaitForASlotShareACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{after: time.Second}
		r := newReader(s, time.Minute)
		r.Cache = nil
		for range 5 {
			go ask(t.Context(), r, id, entry{})
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 2, s.calls, "the first, and one for the four that came while it ran")
	})
}

func TestAReaderGivesUp(t *testing.T) {
	for _, c := range []struct {
		what  string
		after time.Duration // of the store
		limit time.Duration
		gone  bool // the client
		err   error
		calls int
		took  time.Duration
	}{
		{"the store hangs", time.Hour, 2 * time.Second, false, context.DeadlineExceeded, 1, 2 * time.Second},
		{"each answer is too old", 1500 * time.Millisecond, time.Minute, false, errSlow, 2, 3 * time.Second},
		{"the client is gone", 0, time.Minute, true, context.Canceled, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{after: c.after}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.gone {
				cancel()
			}
			start := time.Now()
			_, err := ask(ctx, newReader(s, c.limit), id, entry{})
			assert.ErrorIs(t, err, c.err, c.what)
			assert.Equal(t, c.took, time.Since(start), c.what)
			synctest.Wait()
			assert.Equal(t, c.calls, s.calls, c.what)
			time.Sleep(time.Hour) // the abandoned call ends
		})
	}
}

func TestAKnownEntryDoesNotQueueBehindUnknownOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{after: time.Second}
		r := newReader(s, time.Minute)
		known := cache.NewEntry[string, int](id, cache.Instant{})
		for _, other := range []string{"a", "b", "c"} {
			go ask(t.Context(), r, other, entry{})
			synctest.Wait()
		}
		start := time.Now()
		_, err := ask(t.Context(), r, id, known)
		assert.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(start))
		time.Sleep(time.Minute)
	})
}

func TestAnEntryThatIsGoneLeavesTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		r := newReader(s, time.Minute)
		known, err := ask(t.Context(), r, id, entry{})
		assert.NoError(t, err)
		s.err = assert.AnError
		_, err = ask(t.Context(), r, id, known)
		assert.ErrorIs(t, err, assert.AnError)
		now := r.Cache.Instant(time.Now())
		e, _ := r.Cache.Get(r.Cache.Key(id), now)
		assert.False(t, e.IsZero(), "an error says nothing about it")
		s.err = errGone
		_, err = ask(t.Context(), r, id, known)
		assert.ErrorIs(t, err, errGone)
		e, _ = r.Cache.Get(r.Cache.Key(id), now)
		assert.True(t, e.IsZero())
	})
}
