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
		_, err = m.EndOverlap(t.Context(), in.ID)
		require.NoError(t, err)

		_, err = m.UndoRotation(t.Context(), in.ID)
		assert.ErrorIs(t, err, apitoken.ErrNotRotating, "set back by %s", back)
		_, err = m.EndOverlap(t.Context(), in.ID)
		assert.NoError(t, err, "that is done")
		g.expectAt(t, clock, start.Add(-back), first.Reveal(), apitoken.ErrRetiredSecret)
		g.expectAt(t, clock, start.Add(-back), second.Reveal(), "")
	}
}

// A secret that somebody has ended is revoked, as a deactivated token is: at
// once, and on every machine. Its end as a moment of the clock of the machine
// that ended it would let it live on where the clock is behind, and come back
// where one is set back.
func TestASecretThatWasEndedIsDeadAlsoWhereTheClockIsBehind(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(m *apitoken.Manager, id string) (ended int, err error) // which of two secrets
	}{
		{"rotated without an overlap", func(m *apitoken.Manager, id string) (int, error) { return 0, nil }},
		{"overlap ended for the new one", func(m *apitoken.Manager, id string) (int, error) {
			_, err := m.EndOverlap(t.Context(), id)
			return 0, err
		}},
		{"overlap ended for the old one", func(m *apitoken.Manager, id string) (int, error) {
			_, err := m.UndoRotation(t.Context(), id)
			return 1, err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, clock := newClockRig(t)
			start := clock.at.Add(year) // ahead, or behind would be before New
			clock.set(start)
			in, first := g.generate(t)
			overlap := time.Hour
			if c.name == "rotated without an overlap" {
				overlap = 0
			}
			m := g.As(ada)
			_, second, err := m.Rotate(t.Context(), in.ID, overlap, "")
			require.NoError(t, err)
			ended, err := c.end(m, in.ID)
			require.NoError(t, err)
			secrets := []apitoken.Secret{first, second}
			for _, behind := range []time.Duration{0, time.Microsecond, time.Second, time.Minute, time.Hour, year} {
				g.expectAt(t, clock, start.Add(-behind), secrets[ended].Reveal(), apitoken.ErrRetiredSecret)
				g.expectAt(t, clock, start.Add(-behind), secrets[1-ended].Reveal(), "")
			}
		})
	}
}
