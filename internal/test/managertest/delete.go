package managertest

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestADeletedTokenIsUnknownToRequestsAndKnownToThoseWhoManageIt(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"), func(c *apitoken.Config) { c.IntegrityKeys = keys(t, "2025") })
	before, secret := w.generate(w.ada)
	require.True(t, w.works(secret))
	require.NoError(t, w.auth.As(w.ada).Delete(t.Context(), before.ID))
	require.False(t, w.works(secret))
	require.Equal(t, apitoken.ErrUnknownToken, w.lastEvent().Reason)
	require.NoError(t, w.lastEvent().Err, "as for a token that never was")

	for _, actor := range []apitoken.Actor{w.ada, w.admin} {
		in, err := w.auth.As(actor).Get(t.Context(), before.ID)
		require.NoError(t, err)
		require.Equal(t, apitoken.StatusDeleted, in.Status)
		require.Equal(t, "ada", in.DeletedBy)
		require.Equal(t, in.ChangedAt, in.DeletedAt)
		require.Equal(t, before.Name, in.Name)
		require.Equal(t, before.Permissions, in.Permissions)
		require.False(t, in.Revealable)
		require.Equal(t, "demo", in.Environment)
		require.Len(t, in.History, 2)
		require.Equal(t, apitoken.HistoryEntry{At: in.DeletedAt, By: "ada", As: "owner", Action: "delete"}, in.History[0])
	}
	for _, actor := range []apitoken.Actor{w.grace, w.eve} {
		_, err := w.auth.As(actor).Get(t.Context(), before.ID)
		require.Equal(t, apitoken.ErrNotFound, err)
	}
	rec := w.stored(before.ID)
	require.Equal(t, []apitoken.SecretRecord{{Digest: make([]byte, 32), CreatedAt: rec.CreatedAt}}, rec.Secrets)
}

func (s Suite) TestADeletedTokenCannotBeChangedOrUsedAgain(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	in, secret := w.generate(w.ada)
	require.NoError(t, w.auth.As(w.ada).Delete(t.Context(), in.ID))
	stored := w.stored(in.ID)
	for _, actor := range []apitoken.Actor{w.ada, w.admin} {
		m := w.auth.As(actor)
		for what, err := range map[string]error{
			"activate":    second(m.Activate(t.Context(), in.ID)),
			"deactivate":  second(m.Deactivate(t.Context(), in.ID)),
			"update":      second(m.Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Hour)})),
			"end overlap": second(m.EndOverlap(t.Context(), in.ID)),
			"undo":        second(m.UndoRotation(t.Context(), in.ID)),
			"reveal":      second(m.Reveal(t.Context(), in.ID)),
			"explain":     second(m.Explain(t.Context(), in.ID, apitoken.AnyToken(), netip.Addr{})),
			"delete":      m.Delete(t.Context(), in.ID),
			"rotate": func() error {
				_, _, err := m.Rotate(t.Context(), in.ID, 0, "")
				return err
			}(),
		} {
			require.ErrorIs(t, err, apitoken.ErrNotFound, what)
		}
	}
	require.Equal(t, stored, w.stored(in.ID))
	require.False(t, w.works(secret))
}

func (s Suite) TestDeletedTokensAreListedIfTheyAreAskedFor(t *testing.T) {
	w := s.newWorld(t)
	gone, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "deploy" })
	_, _ = w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "deploy too" })
	others, _ := w.generate(w.grace)
	elsewhere, _ := w.generate(w.eve)
	for actor, id := range map[string]string{"ada": gone.ID, "grace": others.ID, "eve": elsewhere.ID} {
		require.NoError(t, w.auth.As(map[string]apitoken.Actor{"ada": w.ada, "grace": w.grace, "eve": w.eve}[actor]).Delete(t.Context(), id))
	}
	list := func(actor apitoken.Actor, l apitoken.ListParams) (names []string) {
		t.Helper()
		page, err := w.auth.As(actor).List(t.Context(), l)
		require.NoError(t, err)
		require.Len(t, page.Tokens, page.Count)
		for _, in := range page.Tokens {
			require.Equal(t, l.Status == apitoken.StatusDeleted, in.Status == apitoken.StatusDeleted)
			names = append(names, in.Name)
		}
		return names
	}
	for _, l := range []apitoken.ListParams{{}, {Text: "dep"}, {Permission: "devices:read"}, {Status: apitoken.StatusActive}, {Order: apitoken.ByLastUsed}} {
		require.Equal(t, []string{"deploy too"}, list(w.ada, l))
		l.Status = apitoken.StatusDeleted
		require.Equal(t, []string{"deploy"}, list(w.ada, l))
	}
	require.Equal(t, []string{"ci", "deploy"}, list(w.admin, apitoken.ListParams{AllOwners: true, Status: apitoken.StatusDeleted}))
	require.Equal(t, []string{"deploy"}, list(w.admin, apitoken.ListParams{AllOwners: true, Status: apitoken.StatusDeleted, Text: "deploy"}))
	require.Equal(t, []string{"deploy"}, list(w.admin, apitoken.ListParams{Owner: "ada", Status: apitoken.StatusDeleted, Permission: "devices:read"}))
	_, err := w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{Owner: "grace", Status: apitoken.StatusDeleted})
	require.True(t, isForbidden(err))
}

func (s Suite) TestADeletedTokenIsNotImportedAgainUntilItIsPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, foreignOn, func(c *apitoken.Config) { c.KeepDeleted = time.Hour })
		again := importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) })
		in, err := w.auth.As(w.ada).Import(t.Context(), again)
		require.NoError(t, err)
		require.NoError(t, w.auth.As(w.ada).Delete(t.Context(), in.ID))
		_, err = w.auth.As(w.ada).Import(t.Context(), again)
		require.True(t, isForbidden(err), "%v", err)
		require.ErrorContains(t, err, "was deleted")
		_, err = w.auth.As(w.grace).Import(t.Context(), again)
		require.Equal(t, apitoken.ErrExists, err, "that it was deleted is nothing to others")
		require.False(t, w.works(apitoken.NewSecret(foreign)))

		for actor, want := range map[string]bool{"ada": false, "admin": true} {
			_, err := w.auth.As(map[string]apitoken.Actor{"ada": w.ada, "admin": w.admin}[actor]).Purge(t.Context())
			require.Equal(t, want, err == nil, actor)
		}
		time.Sleep(time.Hour - time.Second)
		n, err := w.auth.As(w.admin).Purge(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		time.Sleep(time.Second)
		n, err = w.auth.As(w.eve).Purge(t.Context())
		require.NoError(t, err)
		require.Zero(t, n, "in another environment")
		n, err = w.auth.As(w.admin).Purge(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		ev := w.lastEvent()
		require.Equal(t, "purge", string(ev.Action))
		require.Equal(t, "ada", ev.Owner)
		require.Equal(t, apitoken.StatusDeleted, ev.Before.Status)
		_, err = w.store.Get(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
		_, err = w.auth.As(w.ada).Import(t.Context(), again)
		require.NoError(t, err)
		require.True(t, w.works(apitoken.NewSecret(foreign)))
	})
}

func (s Suite) TestWithoutKeepDeletedNothingIsLeft(t *testing.T) {
	w := s.newWorld(t, func(c *apitoken.Config) { c.KeepDeleted = -1 })
	in, secret := w.generate(w.ada)
	require.NoError(t, w.auth.As(w.ada).Delete(t.Context(), in.ID))
	require.Equal(t, "delete", string(w.lastEvent().Action))
	_, err := w.store.Get(t.Context(), in.ID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	require.False(t, w.works(secret))
}

func (s Suite) TestWhatSomeoneElseDeletedMeanwhileIsNotFound(t *testing.T) {
	racing := &racingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = racing })
	info, _ := w.generate(w.ada)
	other := s.newWorldOn(t, racing.Store) // another node, as changes of a token in one process take turns
	racing.before = func() { require.NoError(t, other.auth.As(other.admin).Delete(t.Context(), info.ID)) }
	require.Equal(t, apitoken.ErrNotFound, w.auth.As(w.ada).Delete(t.Context(), info.ID))
	require.Equal(t, "admin", w.stored(info.ID).DeletedBy)
}

// The owner's deletion has read the token before an administrator deactivates it.
func (s Suite) TestADeletionDoesNotOvertakeADeactivation(t *testing.T) {
	racing := &racingStore{Store: s.open(t)}
	w := s.newWorld(t, foreignOn, func(c *apitoken.Config) { c.Store = racing })
	again := importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) })
	in, err := w.auth.As(w.ada).Import(t.Context(), again)
	require.NoError(t, err)
	other := s.newWorldOn(t, racing.Store, foreignOn)
	racing.before = func() {
		_, err := other.auth.As(other.admin).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
	}
	require.True(t, isForbidden(w.auth.As(w.ada).Delete(t.Context(), in.ID)))
	require.Equal(t, apitoken.StatusInactive, w.stored(in.ID).Status)
	_, err = w.auth.As(w.ada).Import(t.Context(), again)
	require.Equal(t, apitoken.ErrExists, err)
	require.False(t, w.works(apitoken.NewSecret(foreign)))
}

// A racingStore calls before ahead of the next change, as if another node had been faster.
type racingStore struct {
	apitoken.Store
	before func()
}

func (s *racingStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if f := s.before; f != nil {
		s.before = nil
		f()
	}
	return s.Store.Replace(ctx, rec)
}
