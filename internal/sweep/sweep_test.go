package sweep

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAllEndsWithAListLongEnoughAfterTheLastThatHadSomething(t *testing.T) {
	for _, c := range []struct {
		what  string
		found string // by list: 1 something, 0 nothing; afterwards the last again
		err   error
		took  time.Duration
	}{
		{"nothing at all", "0", nil, 0},
		{"something at once", "10", nil, 8*time.Second + time.Millisecond},
		{"something in two lists", "110", nil, 9*time.Second + time.Millisecond},
		{"something in the last moment", "1010", nil, 16*time.Second + 2*time.Millisecond},
		{"something again and again", "1", ErrEndless, 100 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start, n := time.Now(), 0
			err := All(t.Context(), 8*time.Second, nil, func() ([]int, error) {
				n++
				return make([]int, c.found[min(n, len(c.found))-1]-'0'), nil
			}, func(int) error { return nil })
			assert.Equal(t, c.err, err, c.what)
			assert.Equal(t, c.took, time.Since(start), c.what)
		})
	}
}

func TestWhatFailsIsTriedAgainWhileSomethingElseSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, tries := []string{"a", "bad", "b"}, 0
		err := All(t.Context(), time.Second, nil, func() ([]string, error) { return left, nil }, func(s string) error {
			if s == "bad" {
				tries++
				return assert.AnError
			}
			left = []string{"bad"}
			return nil
		})
		assert.ErrorIs(t, err, assert.AnError)
		assert.Equal(t, 2, tries)
	})
}

func TestWhatComesFirstDoesNotKeepTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := []string{"bad", "a", "b"}
		err := All(t.Context(), time.Second, []string{"bad"}, func() ([]string, error) { return left, nil }, func(s string) error {
			if s == "bad" {
				return assert.AnError
			}
			left = []string{"bad"}
			return nil
		})
		assert.ErrorIs(t, err, assert.AnError)
		assert.Equal(t, []string{"bad"}, left)
	})
}

func TestAnErrorOrTheContextEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := func(int) error { return nil }
		assert.ErrorIs(t, All(t.Context(), time.Second, nil, func() ([]int, error) { return nil, assert.AnError }, none), assert.AnError)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		err := All(ctx, time.Hour, []int{1, 2}, func() ([]int, error) { return []int{1, 2}, ctx.Err() }, func(i int) error {
			if i == 2 {
				return errors.New("two is left")
			}
			return nil
		})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "two is left")
		assert.Equal(t, time.Minute, time.Since(start))
	})
}

func TestAFamilyIsFoundInAnyOrder(t *testing.T) {
	ids := func(s string) (string, string) { id, parent, _ := strings.Cut(s, "<"); return id, parent }
	family := map[string]bool{"a": true}
	found := Descend([]string{"d<c", "x<y", "c<b", "a<", "z<", "b<a", "y<x"}, family, ids)
	assert.ElementsMatch(t, []string{"a<", "b<a", "c<b", "d<c"}, found)
	assert.Equal(t, map[string]bool{"a": true, "b": true, "c": true, "d": true}, family)
}
