package sqlite

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The engine is told to wait as long as the context, and a busy machine decides which of
// the two ends the wait.
func TestAWaitForTheLockEndsWithTheContextWhoeverEndsIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		left    time.Duration
		err     error
		expired bool
	}{
		{"the context", 0, context.DeadlineExceeded, true},
		{"the engine, a moment before", 50 * time.Millisecond, errors.New("database is locked (5) (SQLITE_BUSY)"), true},
		{"the engine after its five seconds", time.Hour, errors.New("database is locked (5) (SQLITE_BUSY)"), false},
		{"another error of the engine", 0, errors.New("disk I/O error"), false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.left)
		err := locked(ctx, c.err)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) != c.expired || !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
