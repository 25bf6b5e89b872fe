package managertest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// rotations rotates a token so many times, without an overlap, a minute apart. It returns
// the secrets that the token had, the first one first.
func (w *world) rotations(id string, first apitoken.Secret, n int) (secrets []apitoken.Secret) {
	w.t.Helper()
	for range n {
		secrets = append(secrets, first)
		time.Sleep(time.Minute)
		var err error
		_, first, err = w.auth.As(w.ada).Rotate(w.t.Context(), id, 0, "")
		require.NoError(w.t, err)
	}
	return append(secrets, first)
}

func (s Suite) TestASecretIsKnownAsRetiredForNineRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, foreignOn, withKeys(t, "a"), func(c *apitoken.Config) { c.IntegrityKeys = keys(t, "2025") })
		in, err := w.auth.As(w.ada).Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
		require.NoError(t, err)
		began := time.Now()
		secrets := w.rotations(in.ID, apitoken.NewSecret(foreign), 10)
		for i, secret := range secrets {
			status, called := w.get(secret)
			if i == 10 {
				require.True(t, called)
				break
			}
			require.False(t, called)
			require.Equal(t, 401, status)
			ev := w.lastEvent()
			if i == 0 {
				require.Equal(t, apitoken.ErrWrongSecret, ev.Reason, "eight are remembered, and the one before")
				continue
			}
			require.Equal(t, apitoken.ErrRetiredSecret, ev.Reason, "rotation %d", i)
			require.Equal(t, []string{in.ID, "ada", "demo"}, []string{ev.TokenID, ev.Owner, ev.Environment})
		}
		rec := w.stored(in.ID)
		require.Len(t, rec.Retired, 8)
		for i, s := range rec.Retired {
			require.True(t, s.ValidUntil.Equal(began.Add(time.Duration(9-i)*time.Minute)), "when it ended: %v", s.ValidUntil)
			require.Empty(t, s.Ciphertext)
			require.Empty(t, s.IdempotencyKey)
		}
		require.NoError(t, w.auth.As(w.ada).Delete(t.Context(), in.ID))
		require.Empty(t, w.stored(in.ID).Retired)
		require.False(t, w.works(secrets[9]))
		require.Equal(t, apitoken.ErrUnknownToken, w.lastEvent().Reason)
	})
}

func (s Suite) TestEverySecretThatARotationLeftBehindIsRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, foreignOn)
		m := w.auth.As(w.ada)
		in, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
		require.NoError(t, err)
		_, undone, err := m.Rotate(t.Context(), in.ID, time.Hour, "")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = m.UndoRotation(t.Context(), in.ID)
		require.NoError(t, err)
		undoneAt := time.Now()
		_, second, err := m.Rotate(t.Context(), in.ID, 2*time.Hour, "")
		require.NoError(t, err)
		require.True(t, w.works(apitoken.NewSecret(foreign)))
		time.Sleep(2 * time.Hour)
		secondEnds := time.Now()
		_, third, err := m.Rotate(t.Context(), in.ID, time.Hour, "")
		require.NoError(t, err)
		for _, retired := range []apitoken.Secret{undone, apitoken.NewSecret(foreign)} {
			require.False(t, w.works(retired))
			require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason)
		}
		require.True(t, w.works(second))
		require.True(t, w.works(third))
		rec := w.stored(in.ID)
		require.Len(t, rec.Retired, 2)
		require.True(t, rec.Retired[0].ValidUntil.Equal(secondEnds), "the end of its overlap")
		require.True(t, rec.Retired[1].ValidUntil.Equal(undoneAt), "when somebody took the rotation back")
		_, err = w.auth.Verify(t.Context(), apitoken.Credential{Secret: undone}, apitoken.AnyToken())
		require.ErrorIs(t, err, apitoken.ErrInvalidToken)
	})
}

func (s Suite) TestATokenInUseIsRecheckedAsRetiredAfterTwoRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) { c.MaxStaleness = apitoken.NoCache })
		in, secret := w.generate(w.ada)
		tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
		require.NoError(t, err)
		w.rotations(in.ID, secret, 2)
		_, err = w.auth.Recheck(t.Context(), tok, apitoken.AnyToken())
		require.ErrorIs(t, err, apitoken.ErrInvalidToken)
		require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason)

		// The token of the event is that of a secret which is not the newest.
		_, err = w.auth.As(apitoken.Actor{User: "ada", Environment: "demo", Token: w.lastEvent().Token}).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}})
		require.True(t, isForbidden(err), "%v", err)
		require.ErrorContains(t, err, "not the newest")
	})
}
