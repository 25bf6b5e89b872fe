package apitoken_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A meddlingStore makes another change, once, before a Replace.
type meddlingStore struct {
	apitoken.Store
	meddle func()
}

func (s *meddlingStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if do := s.meddle; do != nil {
		s.meddle = nil
		do()
	}
	return s.Store.Replace(ctx, rec)
}

// A rule over two fields at once, such as "a token that may write expires", holds for the
// written token, also if the fields are changed by two updates at the same time.
func TestAVetoCannotBeEvadedByTwoChangesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(meddlingStore)
		rule := &apitoken.ForbiddenError{Rule: "a token that may write has to expire"}
		g := newRig(t, func(c *apitoken.Config) {
			s.Store, c.Store = c.Store, s
			c.Audit = func(_ context.Context, ev apitoken.Event) error {
				if in := ev.After; in != nil && in.ExpiresAt.IsZero() && slices.Contains(in.Permissions, wireWrite) {
					return rule
				}
				return nil
			}
		})
		in, _ := g.generate(t, func(p *apitoken.GenerateParams) { p.Expiry = apitoken.At(farOff) })
		s.meddle = func() {
			rec, err := s.Get(context.Background(), in.ID)
			require.NoError(t, err)
			rec.Version++
			rec.ExpiresAt = rec.NotBefore // never
			require.NoError(t, s.Store.Replace(context.Background(), rec))
		}
		_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireRead, wireWrite}})
		assert.ErrorIs(t, err, rule)
		after, err := g.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, []apitoken.Permission{wireRead}, after.Permissions)
	})
}

// An audit may take longer than others for their changes.
func TestADeactivationIsAuditedOnceWhateverElseChangesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(meddlingStore)
		asked := 0
		g := newRig(t, func(c *apitoken.Config) {
			s.Store, c.Store = c.Store, s
			c.Audit = func(_ context.Context, ev apitoken.Event) error {
				asked++
				if asked > 2 { // the first was to generate
					return errors.New("asked again")
				}
				return nil
			}
		})
		in, _ := g.generate(t)
		s.meddle = func() {
			rec, err := s.Get(context.Background(), in.ID)
			require.NoError(t, err)
			rec.Version++
			rec.Name, rec.Permissions = "another", nil
			require.NoError(t, s.Store.Replace(context.Background(), rec))
		}
		after, err := g.As(admin).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, "another", after.Name)
		assert.Equal(t, apitoken.StatusInactive, after.Status)
	})
}

// The role decides whether the owner may activate the token again.
func TestADeletionIsAuditedAgainIfTheTokenWasDeactivatedInAnotherRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(meddlingStore)
		var seen []apitoken.Role
		g := newRig(t, func(c *apitoken.Config) {
			s.Store, c.Store = c.Store, s
			c.Audit = func(_ context.Context, ev apitoken.Event) error {
				if ev.Action == "delete" {
					seen = append(seen, ev.Before.DeactivatedAs)
				}
				return nil
			}
		})
		in, _ := g.generate(t)
		_, err := g.As(ada).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		s.meddle = func() {
			rec, err := s.Get(context.Background(), in.ID)
			require.NoError(t, err)
			rec.Version++
			rec.DeactivatedAs = "manager"
			require.NoError(t, s.Store.Replace(context.Background(), rec))
		}
		require.NoError(t, g.As(admin).Delete(t.Context(), in.ID))
		assert.Equal(t, []apitoken.Role{"owner", "manager"}, seen)
	})
}

func TestAChangeIsAuditedAgainIfAnotherHasMadeAPartOfItMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(meddlingStore)
		var seen [][]string
		g := newRig(t, func(c *apitoken.Config) {
			s.Store, c.Store = c.Store, s
			c.Audit = func(_ context.Context, ev apitoken.Event) error {
				if ev.Action == "update" {
					seen = append(seen, ev.Fields)
				}
				return nil
			}
		})
		in, _ := g.generate(t)
		s.meddle = func() {
			rec, err := s.Get(context.Background(), in.ID)
			require.NoError(t, err)
			rec.Version++
			rec.Name = "another"
			require.NoError(t, s.Store.Replace(context.Background(), rec))
		}
		_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Name: new("another"), Active: new(false)})
		require.NoError(t, err)
		assert.Equal(t, [][]string{{"name", "active"}, {"active"}}, seen)
	})
}
