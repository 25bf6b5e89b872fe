package apitoken_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A page that was loaded before somebody deactivated a token must not end that.
func TestActivatingWithTheVersionThatWasSeenEndsNoNewerDeactivation(t *testing.T) {
	g := newRig(t)
	in, _ := g.generate(t)
	other := admin
	other.User, other.Grants = "joan", wire.All()
	seen, err := g.As(other).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	activate := func(version int64) error {
		_, err := g.As(other).Update(t.Context(), in.ID, apitoken.UpdateParams{Active: new(true), IfVersion: version})
		return err
	}
	require.NoError(t, activate(seen.Version))
	_, err = g.As(admin).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	assert.ErrorIs(t, activate(seen.Version), apitoken.ErrConflict)
	after, err := g.As(ada).Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, apitoken.StatusInactive, after.Status)
	assert.Equal(t, "admin", after.DeactivatedBy)
}

// A clock that was ahead when the process began stays so for requests, after it was
// set right; what people are told and may do goes by the same clock.
func TestAClockThatWasAheadAtTheStartIsOneClockForAll(t *testing.T) {
	now, setBy := time.Now(), time.Duration(0)
	g := newRigWithClock(t, func() time.Time { return setBack(now, setBy) })
	in, secret := g.generate(t, func(p *apitoken.GenerateParams) { p.Expiry = apitoken.In(time.Hour) })
	rotating, old := g.generate(t)
	_, _, err := g.As(ada).Rotate(t.Context(), rotating.ID, time.Hour, "")
	require.NoError(t, err)
	now = now.Add(time.Hour)
	setBy = 24 * time.Hour
	require.Equal(t, 401, g.get(secret.Reveal()))
	info, err := g.As(ada).Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, apitoken.StatusExpired, info.Status)
	page, err := g.As(ada).List(t.Context(), apitoken.ListParams{Status: apitoken.StatusExpired, Text: in.ID})
	require.NoError(t, err)
	assert.Len(t, page.Tokens, 1)
	x, err := g.As(ada).Explain(t.Context(), in.ID, apitoken.All(wireRead), networkless)
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Reason{apitoken.ErrExpired}, x.Reasons)
	_, _, err = g.As(ada).Rotate(t.Context(), in.ID, 0, "")
	_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
	assert.True(t, forbidden, "only an active token is rotated: %v", err)

	require.Equal(t, 401, g.get(old.Reveal()), "the overlap is over")
	info, err = g.As(ada).Get(t.Context(), rotating.ID)
	require.NoError(t, err)
	assert.False(t, info.Rotating())
	_, err = g.As(ada).UndoRotation(t.Context(), rotating.ID)
	assert.ErrorIs(t, err, apitoken.ErrNotRotating)
	_, _, err = g.As(ada).Rotate(t.Context(), rotating.ID, 0, "")
	assert.NoError(t, err)
}
