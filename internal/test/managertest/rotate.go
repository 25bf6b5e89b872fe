package managertest

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestARotatedTokenKeepsItsIDAndBothSecretsWorkDuringTheOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		info, old := w.generate(w.ada)
		time.Sleep(time.Second)
		got, fresh, err := w.auth.As(w.ada).Rotate(t.Context(), info.ID, time.Hour, "")
		require.NoError(t, err)
		require.Equal(t, info.ID, got.ID)
		require.Equal(t, info.Name, got.Name)
		require.Equal(t, info.Permissions, got.Permissions)
		require.NotEqual(t, old.Reveal(), fresh.Reveal())
		require.True(t, strings.HasPrefix(fresh.Reveal(), got.DisplayID))
		require.True(t, got.OldValidUntil.Equal(time.Now().Add(time.Hour)))
		require.Equal(t, "rotate", string(w.lastEvent().Action))
		require.Equal(t, "rotate", string(got.History[0].Action))

		time.Sleep(time.Hour - time.Microsecond)
		require.True(t, w.works(old))
		require.True(t, w.works(fresh))
		time.Sleep(time.Microsecond)
		require.False(t, w.works(old))
		require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason, "so that theft shows")
		require.ErrorIs(t, w.lastEvent().Reason, apitoken.ErrInvalidToken)
		require.True(t, w.works(fresh))
		got, err = w.auth.As(w.ada).Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.False(t, got.Rotating())
	})
}

func (s Suite) TestAnOverlapOfZeroRetiresTheOldSecretAtOnce(t *testing.T) {
	w := s.newWorld(t)
	info, old := w.generate(w.ada)
	got, fresh, err := w.auth.As(w.ada).Rotate(t.Context(), info.ID, 0, "")
	require.NoError(t, err)
	require.False(t, got.Rotating())
	require.False(t, w.works(old))
	require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason)
	require.True(t, w.works(fresh))
	_, third, err := w.auth.As(w.ada).Rotate(t.Context(), info.ID, 0, "")
	require.NoError(t, err)
	require.False(t, w.works(fresh))
	require.True(t, w.works(third))
	require.False(t, w.works(old))
	require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason, "however often the token was rotated since")
}

func (s Suite) TestAnOverlapNeverOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		m := w.auth.As(w.ada)
		info, old := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(time.Hour) })
		got, fresh, err := m.Rotate(t.Context(), info.ID, 24*time.Hour, "")
		require.NoError(t, err)
		require.Equal(t, info.ExpiresAt, got.OldValidUntil)
		// A shorter expiry of the token shortens the overlap. A longer one later does not extend it.
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Minute)})
		require.NoError(t, err)
		got, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.Never()})
		require.NoError(t, err)
		require.True(t, got.OldValidUntil.Equal(time.Now().Add(time.Minute)))
		time.Sleep(time.Minute)
		require.False(t, w.works(old))
		require.True(t, w.works(fresh))
	})
}

func (s Suite) TestRotatingWhileAnOverlapRunsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		m := w.auth.As(w.ada)
		info, old := w.generate(w.ada)
		_, fresh, err := m.Rotate(t.Context(), info.ID, time.Hour, "one")
		require.NoError(t, err)
		before := w.stored(info.ID)
		for _, key := range []string{"", "two"} {
			_, _, err = m.Rotate(t.Context(), info.ID, time.Hour, key)
			require.ErrorIs(t, err, apitoken.ErrRotating)
		}
		require.Equal(t, before, w.stored(info.ID))
		require.True(t, w.works(old))
		require.True(t, w.works(fresh))
		time.Sleep(time.Hour)
		_, third, err := m.Rotate(t.Context(), info.ID, time.Hour, "two")
		require.NoError(t, err)
		require.True(t, w.works(third))
		require.True(t, w.works(fresh))
	})
}

func (s Suite) TestARepeatedRotationChangesNothing(t *testing.T) {
	for _, kept := range []bool{false, true} {
		w := s.newWorld(t, func(c *apitoken.Config) {
			if kept {
				c.EncryptionKeys = secretKeys(t, "a")
			}
		})
		m := w.auth.As(w.ada)
		info, _ := w.generate(w.ada)
		_, fresh, err := m.Rotate(t.Context(), info.ID, time.Hour, "key 1")
		require.NoError(t, err)
		before := w.stored(info.ID)
		for range 2 {
			_, again, err := m.Rotate(t.Context(), info.ID, 0, "key 1")
			require.Equal(t, before, w.stored(info.ID))
			if !kept {
				require.ErrorIs(t, err, apitoken.ErrAlreadyRotated)
				require.Empty(t, again.Reveal())
				continue
			}
			require.NoError(t, err)
			require.Equal(t, fresh.Reveal(), again.Reveal())
			require.Equal(t, "reveal", string(w.lastEvent().Action), "showing it again is a reveal")
		}
		// The key of a rotation that was taken back must not start another one.
		_, err = m.UndoRotation(t.Context(), info.ID)
		require.NoError(t, err)
		_, _, err = m.Rotate(t.Context(), info.ID, 0, "key 1")
		require.ErrorIs(t, err, apitoken.ErrAlreadyRotated)
	}
}

func (s Suite) TestEndOverlapKeepsTheNewSecretAndUndoRotationTheOldOne(t *testing.T) {
	for _, keepOld := range []bool{false, true} {
		w := s.newWorld(t, func(c *apitoken.Config) { c.EncryptionKeys = secretKeys(t, "a") })
		m := w.auth.As(w.ada)
		info, old := w.generate(w.ada)
		_, fresh, err := m.Rotate(t.Context(), info.ID, time.Hour, "")
		require.NoError(t, err)
		end, other := m.EndOverlap, m.UndoRotation
		if keepOld {
			end, other = other, end
		}
		got, err := end(t.Context(), info.ID)
		require.NoError(t, err)
		require.False(t, got.Rotating())
		require.Equal(t, "end_overlap", string(w.lastEvent().Action))
		kept, gone := fresh, old
		if keepOld {
			kept, gone = old, fresh
		}
		require.True(t, w.works(kept))
		require.False(t, w.works(gone))
		require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason)
		shown, err := m.Reveal(t.Context(), info.ID)
		require.NoError(t, err)
		require.Equal(t, kept.Reveal(), shown.Reveal())
		require.Empty(t, w.stored(info.ID).Secrets[1].Ciphertext, "a retired secret is not kept")

		version := w.stored(info.ID).Version
		_, err = end(t.Context(), info.ID)
		require.NoError(t, err, "asked again it is so already")
		require.Equal(t, version, w.stored(info.ID).Version)
		_, err = other(t.Context(), info.ID)
		require.ErrorIs(t, err, apitoken.ErrNotRotating, "the other one is gone")

		_, next, err := m.Rotate(t.Context(), info.ID, time.Hour, "")
		require.NoError(t, err)
		require.True(t, w.works(next))
		require.True(t, w.works(kept))
		require.False(t, w.works(gone))
	}
}

func (s Suite) TestEndOverlapWithoutARotationIsRefused(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	_, err := w.auth.As(w.ada).UndoRotation(t.Context(), info.ID)
	require.ErrorIs(t, err, apitoken.ErrNotRotating)
	_, err = w.auth.As(w.ada).EndOverlap(t.Context(), info.ID)
	require.ErrorIs(t, err, apitoken.ErrNotRotating)
}

func (s Suite) TestOnlyItsOwnerRotatesAndRevealsAToken(t *testing.T) {
	w := s.newWorld(t, func(c *apitoken.Config) { c.EncryptionKeys = secretKeys(t, "a") })
	info, old := w.generate(w.ada)
	_, fresh, err := w.auth.As(w.ada).Rotate(t.Context(), info.ID, time.Hour, "")
	require.NoError(t, err)
	before := w.stored(info.ID)
	for who, c := range map[string]struct {
		actor apitoken.Actor
		is    func(error) bool
	}{
		"an administrator":                     {w.admin, isForbidden},
		"another user":                         {w.grace, func(err error) bool { return err == apitoken.ErrNotFound }},
		"an administrator of another":          {w.eve, func(err error) bool { return err == apitoken.ErrNotFound }},
		"nobody":                               {apitoken.Actor{}, isForbidden},
		"the owner without the permission":     {apitoken.Actor{User: "ada", Environment: "demo"}, isForbidden},
		"the owner by a token that lacks it":   {s.byToken(w, w.ada, w.write), isForbidden},
		"the administrator with a token":       {s.byToken(w, w.admin, w.read), isForbidden},
		"somebody of that name somewhere else": {apitoken.Actor{User: "ada", Environment: "other", ManageOthers: true}, func(err error) bool { return err == apitoken.ErrNotFound }},
	} {
		m := w.auth.As(c.actor)
		_, _, err := m.Rotate(t.Context(), info.ID, 0, "")
		require.True(t, c.is(err), "%s rotates: %v", who, err)
		_, err = m.UndoRotation(t.Context(), info.ID)
		require.True(t, c.is(err), "%s ends it: %v", who, err)
		secret, err := m.Reveal(t.Context(), info.ID)
		if who == "the owner without the permission" {
			require.NoError(t, err, "the owner still sees it")
			require.Equal(t, fresh.Reveal(), secret.Reveal())
			continue
		}
		require.True(t, c.is(err), "%s reveals: %v", who, err)
		require.Empty(t, secret.Reveal())
	}
	require.Equal(t, before, w.stored(info.ID))
	require.True(t, w.works(old))
	require.True(t, w.works(fresh))
}

// byToken returns the actor as if a token with one permission had made the request.
func (s Suite) byToken(w *world, actor apitoken.Actor, p apitoken.Permission) apitoken.Actor {
	_, secret := w.generate(actor, func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{p} })
	tok, err := w.auth.Verify(w.t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.NoError(w.t, err)
	actor.Token = tok
	return actor
}

func (s Suite) TestOnlyAnActiveTokenIsRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		m := w.auth.As(w.ada)
		inactive, _ := w.generate(w.ada)
		_, err := m.Deactivate(t.Context(), inactive.ID)
		require.NoError(t, err)
		expired, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(time.Second) })
		pending, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.NotBefore = time.Now().Add(time.Hour) })
		time.Sleep(time.Second)
		for what, id := range map[string]string{"inactive": inactive.ID, "expired": expired.ID, "pending": pending.ID} {
			before := w.stored(id)
			_, _, err := m.Rotate(t.Context(), id, 0, "")
			require.True(t, isForbidden(err), "%s: %v", what, err)
			require.Equal(t, before, w.stored(id))
		}
	})
}

func (s Suite) TestBadRotationsNameTheField(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	_, _, err := w.auth.As(w.ada).Rotate(t.Context(), info.ID, -time.Second, "")
	require.Equal(t, "overlap", fieldOf(err))
	_, _, err = w.auth.As(w.ada).Rotate(t.Context(), info.ID, 0, strings.Repeat("k", 256))
	require.Equal(t, "idempotency_key", fieldOf(err))
}

func (s Suite) TestOfManyRotationsAtTheSameTimeOneSucceeds(t *testing.T) {
	w := s.newWorld(t)
	info, old := w.generate(w.ada)
	var wg sync.WaitGroup
	secrets := make(chan apitoken.Secret, 8)
	for range 8 {
		wg.Go(func() {
			if _, secret, err := w.auth.As(w.ada).Rotate(t.Context(), info.ID, time.Hour, ""); err == nil {
				secrets <- secret
			}
		})
	}
	wg.Wait()
	close(secrets)
	require.Len(t, secrets, 1)
	require.True(t, w.works(<-secrets))
	require.True(t, w.works(old))
}

func (s Suite) TestTheOwnerSeesWhenTheOldSecretFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		info, old := w.generate(w.ada)
		m := w.auth.As(w.ada)
		_, fresh, err := m.Rotate(t.Context(), info.ID, 24*time.Hour, "")
		require.NoError(t, err)
		get := func() *apitoken.TokenInfo {
			time.Sleep(5 * time.Minute) // longer than uses wait
			synctest.Wait()
			got, err := m.Get(t.Context(), info.ID)
			require.NoError(t, err)
			return got
		}
		require.True(t, get().OldLastUsedAt.IsZero())
		usedOld := time.Now().UTC()
		require.True(t, w.works(old))
		require.Equal(t, usedOld, get().OldLastUsedAt)
		usedNew := time.Now().UTC()
		require.True(t, w.works(fresh))
		got := get()
		require.Equal(t, usedOld, got.OldLastUsedAt)
		require.Equal(t, apitoken.LastUse{At: usedNew, From: netip.MustParseAddr("192.0.2.1"), Source: apitoken.Scheme("apiToken")}, got.LastUsed())
		require.Equal(t, apitoken.LastUse{At: usedOld, From: netip.MustParseAddr("192.0.2.1"), Source: apitoken.Scheme("apiToken"), Old: true}, got.LastUses[1])
	})
}

func (s Suite) TestRecheckFollowsTheSecretThatWasPresented(t *testing.T) {
	w := s.newWorld(t)
	info, old := w.generate(w.ada)
	tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: old}, apitoken.All(w.read))
	require.NoError(t, err)
	m := w.auth.As(w.ada)
	_, fresh, err := m.Rotate(t.Context(), info.ID, time.Hour, "")
	require.NoError(t, err)
	newTok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: fresh}, apitoken.All(w.read))
	require.NoError(t, err)
	tok, err = w.auth.Recheck(t.Context(), tok, apitoken.All(w.read))
	require.NoError(t, err, "in the overlap")
	_, err = m.EndOverlap(t.Context(), info.ID)
	require.NoError(t, err)
	_, err = w.auth.Recheck(t.Context(), tok, apitoken.All(w.read))
	require.ErrorIs(t, err, apitoken.ErrRetiredSecret)
	_, err = w.auth.Recheck(context.WithoutCancel(t.Context()), newTok, apitoken.All(w.read))
	require.NoError(t, err)
}
