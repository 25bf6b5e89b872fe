package apitoken_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Where tokens of other systems are taken, an owner cannot delete what somebody else
// has deactivated. That rule is for the owner: whoever manages the tokens of others
// can, one at a time and many at once.
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
