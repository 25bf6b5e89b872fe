package apitoken_test

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func keepsSecrets(t *testing.T) func(*apitoken.Config) {
	key, err := apitoken.NewKey("2026-07", secretKeyBytes)
	require.NoError(t, err)
	return func(c *apitoken.Config) { c.EncryptionKeys = []apitoken.Key{key} }
}

func askWithKey(key string) apitoken.GenerateParams {
	return apitoken.GenerateParams{Name: "nightly", Permissions: []apitoken.Permission{wireWrite, wireRead}, Expiry: apitoken.Never(), IdempotencyKey: key}
}

func TestGenerateWithTheKeyOfATokenReturnsThatToken(t *testing.T) {
	g := newRig(t, keepsSecrets(t))
	in, secret, err := g.As(ada).Generate(t.Context(), askWithKey("deploy 7"))
	require.NoError(t, err)
	again, shown, err := g.As(ada).Generate(t.Context(), askWithKey("deploy 7"))
	require.NoError(t, err)
	assert.Equal(t, in.ID, again.ID)
	assert.Equal(t, in.Version, again.Version, "nothing was changed")
	assert.Equal(t, secret.Reveal(), shown.Reveal())
	assert.Equal(t, 204, g.get(shown.Reveal()))

	grace, bob := ada, ada
	grace.Environment, bob.User = "staging", "bob"
	for _, actor := range []apitoken.Actor{grace, bob} {
		other, _, err := g.As(actor).Generate(t.Context(), askWithKey("deploy 7"))
		require.NoError(t, err, "another environment, or another user")
		assert.NotEqual(t, in.ID, other.ID)
	}
	other, _, err := g.As(ada).Generate(t.Context(), askWithKey("deploy 8"))
	require.NoError(t, err, "another key")
	assert.NotEqual(t, in.ID, other.ID)
}

func TestGenerateDoesNotReturnATokenThatIsNotWhatWasAskedFor(t *testing.T) {
	var catalog apitoken.Catalog
	read, write := catalog.Define("devices:read", "See devices"), catalog.Define("devices:write", "Change devices")
	catalog.Resource("device", "Device")
	g := newRig(t, keepsSecrets(t), func(c *apitoken.Config) { c.Permissions = &catalog })
	actor := apitoken.Actor{User: "ada", Environment: "production", Grants: catalog.All(), ActsFor: []string{"team"}}
	ask := apitoken.GenerateParams{Name: "nightly", Permissions: []apitoken.Permission{write, read}, Expiry: apitoken.Never(), IdempotencyKey: "k"}
	in, _, err := g.As(actor).Generate(t.Context(), ask)
	require.NoError(t, err)
	edits := map[string]func(*apitoken.GenerateParams){
		"Owner":       func(p *apitoken.GenerateParams) { p.Owner = "team" },
		"Name":        func(p *apitoken.GenerateParams) { p.Name = "other" },
		"Description": func(p *apitoken.GenerateParams) { p.Description = "more" },
		"Permissions": func(p *apitoken.GenerateParams) { p.Permissions = p.Permissions[1:] },
		"Expiry":      func(p *apitoken.GenerateParams) { p.Expiry = apitoken.In(time.Hour) },
		"NotBefore":   func(p *apitoken.GenerateParams) { p.NotBefore = time.Now().Add(time.Hour) },
		"Networks":    func(p *apitoken.GenerateParams) { p.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		"Limit":       func(p *apitoken.GenerateParams) { p.Limit = apitoken.Limit{Requests: 1, Per: time.Second} },
		"Only":        func(p *apitoken.GenerateParams) { p.Only = []string{"device:7"} },
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[apitoken.GenerateParams]()) {
		if field.Name == "IdempotencyKey" {
			continue
		}
		edit := edits[field.Name]
		require.NotNil(t, edit, "generated has to compare %s", field.Name)
		asked := ask
		edit(&asked)
		again, shown, err := g.As(actor).Generate(t.Context(), asked)
		if assert.ErrorIs(t, err, apitoken.ErrExists, field.Name) {
			assert.Equal(t, in.ID, again.ID, field.Name)
		}
		assert.Empty(t, shown.Reveal(), field.Name)
	}
}

func TestAKeyIsRepeatedWithTheSameExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, keepsSecrets(t))
		at := time.Now().Add(time.Hour)
		for key, same := range map[string][2]apitoken.Expiry{
			"in": {apitoken.In(time.Hour), apitoken.In(2 * time.Hour)},
			"at": {apitoken.At(at), apitoken.At(at.Add(time.Second))},
			"no": {apitoken.In(time.Hour), apitoken.Never()},
		} {
			asked := askWithKey(key)
			asked.Expiry = same[0]
			in, _, err := g.As(ada).Generate(t.Context(), asked)
			require.NoError(t, err)
			time.Sleep(time.Minute)
			again, _, err := g.As(ada).Generate(t.Context(), asked)
			require.NoError(t, err, key)
			assert.Equal(t, in.ExpiresAt, again.ExpiresAt)
			asked.Expiry = same[1]
			_, _, err = g.As(ada).Generate(t.Context(), asked)
			assert.ErrorIs(t, err, apitoken.ErrExists, key)
		}
		g.Close()
	})
}

func TestGenerateAgainSaysWhichTokenExistsWhereSecretsAreNotKept(t *testing.T) {
	g := newRig(t)
	in, _, err := g.As(ada).Generate(t.Context(), askWithKey("k"))
	require.NoError(t, err)
	again, shown, err := g.As(ada).Generate(t.Context(), askWithKey("k"))
	require.ErrorIs(t, err, apitoken.ErrExists)
	assert.Equal(t, in.ID, again.ID)
	assert.Empty(t, shown.Reveal())
}

func TestAnActorWhoCameByTokenIsShownNoSecretThatWasGeneratedBefore(t *testing.T) {
	g := newRig(t, keepsSecrets(t))
	_, secret := g.generate(t, func(p *apitoken.GenerateParams) { p.Permissions = []apitoken.Permission{wireRead, wireWrite} })
	actor := ada
	var err error
	actor.Token, err = g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.AnyToken())
	require.NoError(t, err)
	in, _, err := g.As(actor).Generate(t.Context(), askWithKey("k"))
	require.NoError(t, err)
	again, shown, err := g.As(actor).Generate(t.Context(), askWithKey("k"))
	require.ErrorIs(t, err, apitoken.ErrExists)
	assert.Equal(t, in.ID, again.ID)
	assert.Empty(t, shown.Reveal())

	// Whoever found a token must not prepare what its owner takes for their own.
	own, _, err := g.As(ada).Generate(t.Context(), askWithKey("k"))
	require.NoError(t, err)
	assert.NotEqual(t, in.ID, own.ID)
}

func TestTheKeyOfADeletedTokenMakesNoOtherUntilItIsPurged(t *testing.T) {
	g := newRig(t, keepsSecrets(t))
	in, _, err := g.As(ada).Generate(t.Context(), askWithKey("k"))
	require.NoError(t, err)
	require.NoError(t, g.As(ada).Delete(t.Context(), in.ID))
	_, shown, err := g.As(ada).Generate(t.Context(), askWithKey("k"))
	assert.ErrorAs(t, err, new(*apitoken.ForbiddenError))
	assert.Empty(t, shown.Reveal())
}

func TestOneKeyMakesOneTokenHoweverManyGenerateAtOnce(t *testing.T) {
	g := newRig(t, keepsSecrets(t))
	var all sync.WaitGroup
	ids, secrets := make([]string, 8), make([]string, 8)
	for i := range ids {
		all.Go(func() {
			in, secret, err := g.As(ada).Generate(context.Background(), askWithKey("k"))
			if assert.NoError(t, err) {
				ids[i], secrets[i] = in.ID, secret.Reveal()
			}
		})
	}
	all.Wait()
	for i := range ids {
		assert.Equal(t, ids[0], ids[i])
		assert.Equal(t, secrets[0], secrets[i])
	}
}

func TestAnIdempotencyKeyHasBoundsAndDoesNotGoWithAnImport(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 32, MaxLen: 32} })
	_, _, err := g.As(ada).Generate(t.Context(), askWithKey(strings.Repeat("x", 256)))
	wrong := new(apitoken.FieldError)
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, "idempotency_key", wrong.Field)
	_, err = g.As(ada).Import(t.Context(), apitoken.ImportParams{GenerateParams: askWithKey("k"), Secret: apitoken.NewSecret(strings.Repeat("x", 32))})
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, "idempotency_key", wrong.Field)
}

func TestAnUpdateOfActiveAloneIsTheSameActionAsActivateAndDeactivate(t *testing.T) {
	g := newRig(t)
	in, _ := g.generate(t)
	m := g.As(ada)
	set := func(u apitoken.UpdateParams) func() (*apitoken.TokenInfo, error) {
		return func() (*apitoken.TokenInfo, error) { return m.Update(t.Context(), in.ID, u) }
	}
	for _, c := range []struct {
		do   func() (*apitoken.TokenInfo, error)
		want apitoken.Action
	}{
		{set(apitoken.UpdateParams{Active: new(false)}), "deactivate"},
		{set(apitoken.UpdateParams{Active: new(true)}), "activate"},
		{func() (*apitoken.TokenInfo, error) { return m.Deactivate(t.Context(), in.ID) }, "deactivate"},
		{func() (*apitoken.TokenInfo, error) { return m.Activate(t.Context(), in.ID) }, "activate"},
		{set(apitoken.UpdateParams{Active: new(false), IfVersion: in.Version + 4}), "deactivate"},
		{set(apitoken.UpdateParams{Active: new(true), Name: new("other")}), "update"},
	} {
		now, err := c.do()
		require.NoError(t, err)
		ev := g.event(t)
		assert.Equal(t, c.want, ev.Action)
		assert.Equal(t, c.want, now.History[0].Action)
		assert.Equal(t, now.History[0].Fields, ev.Fields)
	}
}
