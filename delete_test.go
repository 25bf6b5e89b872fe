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
			_, err = g.As(ada).Get(t.Context(), in.ID)
			assert.ErrorIs(t, err, apitoken.ErrNotFound, "%s, %s", deleting, name)
		}
	}
}
