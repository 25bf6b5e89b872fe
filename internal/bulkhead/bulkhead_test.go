package bulkhead_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

type typedNil struct{ text string }

func (e *typedNil) Error() string { return e.text }

func TestWhateverACallDoesItsCallerGetsAnError(t *testing.T) {
	for name, f := range map[string]func(context.Context) (int, error){
		"panics":              func(context.Context) (int, error) { panic("broken") },
		"ends its goroutine":  func(context.Context) (int, error) { runtime.Goexit(); return 1, nil },
		"returns a typed nil": func(context.Context) (int, error) { return 1, (*typedNil)(nil) },
		"returns an error that wraps a typed nil": func(context.Context) (int, error) {
			return 1, errors.Join(errors.New("a cause"), (*typedNil)(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bulkhead.Call(t.Context(), bulkhead.New("the store", time.Minute, 1), "", f)
			require.ErrorContains(t, err, "the store")
		})
	}
}

func TestACallThatHangsKeepsItsSlotAndNotItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New("the store", time.Second, 1)
		release := make(chan struct{})
		hang := func(context.Context) (int, error) { <-release; return 1, nil }
		_, err := bulkhead.Call(t.Context(), b, "", hang)
		require.EqualError(t, err, "apitoken: no answer from the store: context deadline exceeded")

		called := false
		answer := func(context.Context) (int, error) { called = true; return 2, nil }
		_, err = bulkhead.Call(t.Context(), b, "", answer)
		require.EqualError(t, err, "apitoken: 1 calls of the store are running, or 2 of one owner or token: context deadline exceeded")
		require.False(t, called)

		close(release)
		n, err := bulkhead.Call(t.Context(), b, "", answer)
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})
}

func TestACallGoesOnWhenItsCallerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New("the store", time.Minute, 0)
		ctx, cancel := context.WithCancel(t.Context())
		written := make(chan error, 1)
		time.AfterFunc(time.Second, cancel)
		_, err := bulkhead.Call(ctx, b, "", func(ctx context.Context) (int, error) {
			time.Sleep(2 * time.Second) // of virtual time
			written <- ctx.Err()
			return 1, nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, <-written)

		_, err = bulkhead.Call(ctx, b, "", func(context.Context) (int, error) { panic("called") })
		require.ErrorIs(t, err, context.Canceled)
	})
}
