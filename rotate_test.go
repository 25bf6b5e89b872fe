package apitoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Which of two secrets is the older one is told by when they were made. A clock that
// was set back before the rotation must not make the new one look older: to keep the
// old one would seem to be done already, although it is gone.
func TestAnOldSecretThatIsGoneCannotBeKeptAfterTheClockWasSetBack(t *testing.T) {
	for _, back := range []time.Duration{0, time.Microsecond, time.Hour, year} {
		g, clock := newClockRig(t)
		start := clock.at.Add(2 * year) // ahead, or set back would be before New
		clock.set(start)
		in, first := g.generate(t)
		clock.set(start.Add(-back))
		m := g.As(ada)
		_, second, err := m.Rotate(t.Context(), in.ID, time.Hour, "")
		require.NoError(t, err)
		_, err = m.EndOverlap(t.Context(), in.ID, apitoken.KeepNew)
		require.NoError(t, err)

		_, err = m.EndOverlap(t.Context(), in.ID, apitoken.KeepOld)
		assert.ErrorIs(t, err, apitoken.ErrNotRotating, "set back by %s", back)
		_, err = m.EndOverlap(t.Context(), in.ID, apitoken.KeepNew)
		assert.NoError(t, err, "that is done")
		g.expectAt(t, clock, start.Add(-back), first.Reveal(), apitoken.ErrRetiredSecret)
		g.expectAt(t, clock, start.Add(-back), second.Reveal(), "")
	}
}
