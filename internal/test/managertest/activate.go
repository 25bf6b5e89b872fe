package managertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestOwnersCannotActivateWhatSomeoneElseDeactivated(t *testing.T) {
	w := s.newWorld(t)
	ctx := t.Context()
	ada, admin := w.auth.As(w.ada), w.auth.As(w.admin)
	adaAsAdmin := w.ada
	adaAsAdmin.ManageOthers = true

	info, secret := w.generate(w.ada)
	_, err := admin.Deactivate(ctx, info.ID)
	require.NoError(t, err)
	for what, m := range map[string]*apitoken.Manager{"as a user": ada, "as an administrator": w.auth.As(adaAsAdmin)} {
		_, err = m.Activate(ctx, info.ID)
		require.True(t, isForbidden(err), "%s: %v", what, err)
		_, err = m.Update(ctx, info.ID, apitoken.UpdateParams{Active: new(true), Name: new("x")})
		require.True(t, isForbidden(err), "%s: %v", what, err)
		// A second deactivation by the owner must not give them the right to activate it.
		_, err = m.Deactivate(ctx, info.ID)
		require.NoError(t, err)
		_, err = m.Activate(ctx, info.ID)
		require.True(t, isForbidden(err), "%s, after the owner deactivated it, too: %v", what, err)
	}
	require.Equal(t, "admin", w.stored(info.ID).DeactivatedBy)
	require.False(t, w.works(secret))
	_, err = admin.Activate(ctx, info.ID)
	require.NoError(t, err)
	require.True(t, w.works(secret))

	// The owner deactivates it first, then the administrator: the second one counts.
	_, err = ada.Deactivate(ctx, info.ID)
	require.NoError(t, err)
	_, err = admin.Deactivate(ctx, info.ID)
	require.NoError(t, err)
	_, err = ada.Activate(ctx, info.ID)
	require.True(t, isForbidden(err), "%v", err)
}

func (s Suite) TestActivatingTheActiveAndDeactivatingTheInactiveChangeNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	got, err := w.auth.As(w.ada).Activate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, info.Version, got.Version)
	first, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	w.events = nil
	again, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Empty(t, w.events)
}
