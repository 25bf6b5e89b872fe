package apitoken_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Where tokens of other systems can be imported, an owner cannot delete a token that
// somebody else has deactivated. Users who manage the tokens of others can, one at a time and many at once.
func TestAnAdministratorDeletesWhatAnAdministratorDeactivated(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 40} })
	admin := func(name string) *apitoken.Manager {
		return g.As(apitoken.Actor{User: name, Environment: "production", ManageOthers: true})
	}
	for _, deleting := range []string{"grace", "joan"} {
		for name, remove := range map[string]func(id string) error{
			"alone": func(id string) error { return admin(deleting).Delete(t.Context(), id) },
			"in a bulk": func(id string) error {
				_, err := admin(deleting).Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{id}})
				return err
			},
		} {
			in, _ := g.generate(t)
			_, err := admin("grace").Deactivate(t.Context(), in.ID)
			require.NoError(t, err)
			var forbidden *apitoken.ForbiddenError
			require.ErrorAs(t, g.As(ada).Delete(t.Context(), in.ID), &forbidden, "the owner")
			assert.NoError(t, remove(in.ID), "%s, %s", deleting, name)
			in, err = g.As(ada).Get(t.Context(), in.ID)
			require.NoError(t, err)
			assert.Equal(t, deleting, in.DeletedBy, name)
		}
	}
}

// An owner cannot activate what somebody else has deactivated. With the text of
// an imported token at hand they could delete it and import it again; after two
// rotations, too, when nothing about the token tells any more that it was one.
func TestAnOwnerCannotImportAnewWhatSomeoneElseHasDeactivated(t *testing.T) {
	for rotations := range 3 {
		importAnew(t, rotations)
	}
}

func importAnew(t *testing.T, rotations int) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 40} })
	text := apitoken.NewSecret("8as7bf9a8s7498svaps8dfabsf")
	again := apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}, Secret: text,
	}
	owner := g.As(ada)
	in, err := owner.Import(t.Context(), again)
	require.NoError(t, err)
	_, err = g.Check(newRequest("/", "apiToken "+text.Reveal()), apitoken.All(wireRead))
	require.NoError(t, err)
	for range rotations {
		_, _, err = owner.Rotate(t.Context(), in.ID, 0, "")
		require.NoError(t, err)
	}
	admin := g.As(apitoken.Actor{User: "admin", Environment: "production", Grants: wire.All(), ManageOthers: true})
	_, err = admin.Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	_, err = owner.Activate(t.Context(), in.ID)
	var forbidden *apitoken.ForbiddenError
	require.ErrorAs(t, err, &forbidden)

	other, _ := g.generate(t)
	_, err = owner.Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{other.ID, in.ID}})
	require.ErrorAs(t, err, &forbidden)
	_, err = owner.Get(t.Context(), other.ID)
	require.NoError(t, err, "the first of a bulk is not deleted if the second may not be")

	_ = owner.Delete(t.Context(), in.ID)
	_, _ = owner.Import(t.Context(), again)
	_, err = g.Check(newRequest("/", "apiToken "+text.Reveal()), apitoken.All(wireRead))
	assert.ErrorIs(t, err, apitoken.ErrInvalidToken, "the administrator's word stands")
}

// An owner fills the store with no more than a thousand deleted tokens, and does not push
// out what an administrator has deleted.
func TestAnOwnerLeavesAThousandDeletedTokens(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		admin := g.As(apitoken.Actor{User: "grace", Environment: "production", ManageOthers: true})
		theirs, _ := g.generate(t)
		require.NoError(t, admin.Delete(t.Context(), theirs.ID))
		var ids []string
		for range 1100 {
			in, _ := g.generate(t)
			ids = append(ids, in.ID)
			require.NoError(t, g.As(ada).Delete(t.Context(), in.ID))
			time.Sleep(time.Millisecond)
		}
		_, err := g.store.Get(t.Context(), ids[0])
		assert.ErrorIs(t, err, apitoken.ErrNotFound, "purged when others were made")
		_, err = admin.Purge(t.Context())
		require.NoError(t, err)
		for i, id := range ids {
			_, err := g.store.Get(t.Context(), id)
			require.Equal(t, i < 100, err != nil, "number %d: %v", i, err)
		}
		_, err = admin.Get(t.Context(), theirs.ID)
		assert.NoError(t, err)
	})
}

// A purge reads pages until there is none. A store that fails or lists in circles ends it.
func TestAPurgeThatTheStoreFailsSaysSo(t *testing.T) {
	for what, test := range map[string]struct{ list, remove bool }{"the list": {list: true}, "the removal": {remove: true}} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &purgeStore{}
				g := newRig(t, func(c *apitoken.Config) { s.Store, c.Store, c.KeepDeleted = c.Store, s, time.Nanosecond })
				admin := g.As(apitoken.Actor{User: "grace", Environment: "production", ManageOthers: true})
				for range 2 {
					in, _ := g.generate(t)
					require.NoError(t, admin.Delete(t.Context(), in.ID))
				}
				time.Sleep(2 * time.Microsecond) // longer than they are kept
				s.circles, s.fails = test.list, test.remove
				n, err := admin.Purge(t.Context())
				assert.ErrorIs(t, err, apitoken.ErrUnavailable)
				assert.Zero(t, n)
				s.circles, s.fails = false, false
				time.Sleep(10 * time.Minute) // so long the removal is that of who has tried it
				n, err = admin.Purge(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, 2, n)
				_, err = g.As(apitoken.Actor{}).Purge(t.Context())
				var forbidden *apitoken.ForbiddenError
				assert.ErrorAs(t, err, &forbidden)
			})
		})
	}
}

// Another node may purge the same token, after which it can be imported again.
func TestAPurgeLeavesWhatWasImportedSinceAnotherPurge(t *testing.T) {
	for _, when := range []string{"List", "Delete"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &purgeStore{}
				g := newRig(t, func(c *apitoken.Config) {
					s.Store, c.Store, c.KeepDeleted = c.Store, s, time.Hour
					c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64}
				})
				admin := g.As(apitoken.Actor{User: "grace", Environment: "production", Grants: wire.All(), ManageOthers: true})
				text := "a-token-of-an-earlier-system"
				again := func() error {
					_, err := admin.Import(t.Context(), apitoken.ImportParams{Secret: apitoken.NewSecret(text), GenerateParams: apitoken.GenerateParams{
						Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(),
					}})
					return err
				}
				require.NoError(t, again())
				id, _ := g.IDOf(apitoken.NewSecret(text))
				require.NoError(t, admin.Delete(t.Context(), id))
				time.Sleep(2 * time.Hour)
				imported := false
				s.hook, s.at = func() {
					_, err := admin.Purge(t.Context())
					assert.NoError(t, err)
					imported = again() == nil
				}, when
				_, err := admin.Purge(t.Context())
				require.NoError(t, err)
				assert.Nil(t, s.hook)
				if imported {
					assert.Equal(t, 204, g.get(text), "it was acknowledged")
				} else {
					assert.NoError(t, again())
				}
			})
		})
	}
}

// A purgeStore lists the same page for ever, or removes nothing, or lets something happen
// once, after a list or before a removal.
type purgeStore struct {
	apitoken.Store
	circles, fails bool
	hook           func()
	at             string
}

func (s *purgeStore) meanwhile(method string) {
	if hook := s.hook; hook != nil && s.at == method {
		s.hook = nil
		hook()
	}
}

func (s *purgeStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if !s.circles {
		page, err := s.Store.List(ctx, q)
		s.meanwhile("List")
		return page, err
	}
	q.Limit, q.After = 1, nil
	return s.Store.List(ctx, q)
}

func (s *purgeStore) Delete(ctx context.Context, id string) error {
	s.meanwhile("Delete")
	if s.fails {
		return errors.New("the disk is full")
	}
	return s.Store.Delete(ctx, id)
}
