package apitoken_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A change may find that another node has made it already. Then nothing is
// written, but it is acknowledged all the same, and holds on this node from then
// on: not only when the feed says so, or the lease is over.
func TestAChangeThatAnotherNodeHasMadeHoldsHereOnceItIsAcknowledgedHere(t *testing.T) {
	for _, c := range []struct {
		name      string
		elsewhere func(t *testing.T, m *apitoken.Manager, id string)
		here      func(t *testing.T, m *apitoken.Manager, id string)
	}{
		{"deactivated",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Deactivate(t.Context(), id)
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				info, err := m.Deactivate(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, apitoken.StatusInactive, info.Status)
			}},
		{"deactivated in bulk",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Deactivate(t.Context(), id)
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				done, err := m.Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
				require.NoError(t, err)
				require.Equal(t, []string{id}, done)
			}},
		{"narrowed",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireReports}})
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireReports}})
				require.NoError(t, err)
			}},
		{"rotated, with the same key",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, _, err := m.Rotate(t.Context(), id, 0, "key")
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, _, err := m.Rotate(t.Context(), id, 0, "key")
				require.ErrorIs(t, err, apitoken.ErrAlreadyRotated)
			}},
		{"deleted",
			func(t *testing.T, m *apitoken.Manager, id string) { require.NoError(t, m.Delete(t.Context(), id)) },
			func(t *testing.T, m *apitoken.Manager, id string) {
				require.ErrorIs(t, m.Delete(t.Context(), id), apitoken.ErrNotFound)
			}},
		{"deleted in bulk",
			func(t *testing.T, m *apitoken.Manager, id string) { require.NoError(t, m.Delete(t.Context(), id)) },
			func(t *testing.T, m *apitoken.Manager, id string) {
				done, err := m.Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{id}})
				require.NoError(t, err)
				require.Equal(t, []string{id}, done)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here := newRig(t, func(c *apitoken.Config) { c.MaxStaleness = 1000 * time.Hour })
				there := newRig(t, func(c *apitoken.Config) { c.Store, c.MaxStaleness = here.store, 1000*time.Hour })
				info, secret := here.generate(t)
				require.Equal(t, 204, here.get(secret.Reveal()))
				c.elsewhere(t, there.As(ada), info.ID)
				require.Equal(t, 204, here.get(secret.Reveal()), "nobody has told this node yet")
				c.here(t, here.As(ada), info.ID)
				assert.NotEqual(t, 204, here.get(secret.Reveal()))
			})
		})
	}
}
