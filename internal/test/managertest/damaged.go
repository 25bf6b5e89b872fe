package managertest

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestADamagedTokenIsListedRefusedAndDeletedByAnAdministratorOnly(t *testing.T) {
	w := s.newWorld(t, func(c *apitoken.Config) { c.IntegrityKeys = keys(t, "2025") })
	damaged, secret := w.generate(w.ada)
	sound, other := w.generate(w.ada)
	rec := w.stored(damaged.ID)
	rec.Version++
	rec.Name = "renamed by hand"
	require.NoError(t, w.store.Replace(t.Context(), rec))

	for _, actor := range []apitoken.Actor{w.ada, w.admin} {
		page, err := w.auth.As(actor).List(t.Context(), apitoken.ListParams{Owner: "ada"})
		require.NoError(t, err)
		require.Len(t, page.Tokens, 2)
		for _, in := range page.Tokens {
			require.Equal(t, in.ID == damaged.ID, in.Status == apitoken.StatusDamaged, in.Name)
		}
		in, err := w.auth.As(actor).Get(t.Context(), damaged.ID)
		require.NoError(t, err)
		require.Equal(t, apitoken.StatusDamaged, in.Status)
		require.Empty(t, in.Permissions, "of which nobody knows")
		for what, err := range map[string]error{
			"activate":   second(w.auth.As(actor).Activate(t.Context(), damaged.ID)),
			"deactivate": second(w.auth.As(actor).Deactivate(t.Context(), damaged.ID)),
			"rename":     second(w.auth.As(actor).Update(t.Context(), damaged.ID, apitoken.UpdateParams{Name: new("x")})),
			"rotate": func() error {
				_, _, err := w.auth.As(actor).Rotate(t.Context(), damaged.ID, 0, "")
				return err
			}(),
			"reveal":  second(w.auth.As(actor).Reveal(t.Context(), damaged.ID)),
			"explain": second(w.auth.As(actor).Explain(t.Context(), damaged.ID, apitoken.All(w.read), netip.Addr{})),
			"bulk":    second(w.auth.As(actor).Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{damaged.ID}})),
		} {
			require.True(t, isForbidden(err), "%s: %v", what, err)
			require.NotErrorIs(t, err, apitoken.ErrUnavailable, "trying again does not help")
			require.ErrorContains(t, err, "broken MAC", "for operators")
		}
	}
	_, err := w.auth.As(w.eve).Get(t.Context(), damaged.ID)
	require.True(t, isForbidden(err), "nobody knows whose it is")
	status, called := w.get(secret)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.False(t, called)

	require.True(t, isForbidden(w.auth.As(w.ada).Delete(t.Context(), damaged.ID)))
	require.Equal(t, rec.Version, w.stored(damaged.ID).Version)
	done, err := w.auth.As(w.admin).Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{damaged.ID}})
	require.NoError(t, err)
	require.Equal(t, []string{damaged.ID}, done)
	require.Equal(t, apitoken.StatusDamaged, w.lastEvent().Before.Status)
	_, err = w.store.Get(t.Context(), damaged.ID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	require.True(t, w.works(other))
	require.Equal(t, sound.Version, w.stored(sound.ID).Version)
}

func (s Suite) TestATokenOfALaterVersionIsListedAndNothingElse(t *testing.T) {
	w := s.newWorld(t)
	in, _ := w.generate(w.ada)
	rec := w.stored(in.ID)
	rec.Version++
	rec.Unknown = "\x20\x01x" // tag 32, which this version does not know and must not ignore
	require.NoError(t, w.store.Replace(t.Context(), rec))
	page, err := w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, page.Tokens, 1)
	require.Equal(t, apitoken.StatusNewer, page.Tokens[0].Status)
	require.ErrorIs(t, w.auth.As(w.admin).Delete(t.Context(), in.ID), apitoken.ErrUnavailable)
	require.Equal(t, rec.Version, w.stored(in.ID).Version)
}

func second[T any](_ T, err error) error { return err }
