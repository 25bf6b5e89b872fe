package apitoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestADerivedTokenEndsWithTheSecretOfTheRequestAndNotWithANewerOne(t *testing.T) {
	for name, c := range map[string]struct {
		end          func(*apitoken.Manager, string) (*apitoken.TokenInfo, error)
		ofOld, ofNew error
	}{
		"the new secret stays": {func(m *apitoken.Manager, id string) (*apitoken.TokenInfo, error) {
			return m.EndOverlap(t.Context(), id)
		}, apitoken.ErrRetiredSecret, nil},
		"the old secret stays": {func(m *apitoken.Manager, id string) (*apitoken.TokenInfo, error) {
			return m.UndoRotation(t.Context(), id)
		}, nil, apitoken.ErrRetiredSecret},
	} {
		t.Run(name, func(t *testing.T) {
			g := deriving(t)
			in, first := g.generate(t)
			_, second, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
			require.NoError(t, err)
			ofOld, ofNew := g.derive(t, first, fiveMinutes), g.derive(t, second, fiveMinutes)
			for _, d := range []apitoken.Secret{ofOld, ofNew} {
				_, err := verify(g, d)
				require.NoError(t, err)
			}
			_, err = c.end(g.As(ada), in.ID)
			require.NoError(t, err)
			_, err = verify(g, ofOld)
			assert.ErrorIs(t, err, c.ofOld)
			_, err = verify(g, ofNew)
			assert.ErrorIs(t, err, c.ofNew)
		})
	}
}

func TestAnImportedTokenHasDerivedTokens(t *testing.T) {
	g := deriving(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} })
	secret := apitoken.NewSecret("a-text-of-an-earlier-system")
	in, err := g.As(ada).Import(t.Context(), apitoken.ImportParams{
		Secret: secret, GenerateParams: apitoken.GenerateParams{Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()},
	})
	require.NoError(t, err)
	tok, err := verify(g, g.derive(t, secret, fiveMinutes))
	require.NoError(t, err)
	assert.Equal(t, in.ID, tok.ID())
}

func TestADerivedTokenOfAllObjectsHasThoseThatItsParentGetsLater(t *testing.T) {
	g := deriving(t)
	in, parent := g.generate(t, func(p *apitoken.GenerateParams) { p.Only = []string{"device:7"} })
	tok, err := g.Verify(t.Context(), apitoken.Credential{Secret: parent, Environment: "production"}, apitoken.AnyToken().Filtered(wireDevice))
	require.NoError(t, err)
	d, err := g.Derive(tok, fiveMinutes)
	require.NoError(t, err)
	on := func(id string) error {
		_, err := g.Verify(t.Context(), apitoken.Credential{Secret: d, Environment: "production"}, apitoken.All(wireRead).On(wireDevice, apitoken.ID(id)))
		return err
	}
	require.NoError(t, on("7"))
	require.ErrorIs(t, on("8"), apitoken.ErrResourceNotAllowed)
	_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:7", "device:8"}})
	require.NoError(t, err)
	assert.NoError(t, on("8"))
}
