package manage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestTokensOfATeamAreManagedOverTheAPI(t *testing.T) {
	w := newAPIWorld(t)
	member := w.users["ada"]
	member.ActsFor = []string{"team:ops"}
	w.users["ada"] = member
	for owner, want := range map[string]int{"team:ops": 201, "ada": 201, "team:dev": 403, "grace": 403} {
		a := w.do("POST", "tokens", fmt.Sprintf(`{"name":"ci","owner":%q,"permissions":["devices:read"],"never":true}`, owner), apiAs("ada"))
		require.Equal(t, want, a.status, owner)
		if want == 201 {
			assert.Equal(t, owner, a.text("token", "owner"))
			assert.Equal(t, "ada", a.text("token", "created_by"))
		}
	}
	a := w.do("GET", "tokens?owner=team:ops", "", apiAs("ada"))
	require.Equal(t, 200, a.status)
	require.Len(t, a.at("tokens"), 1)
	assert.Equal(t, 403, w.do("GET", "tokens?owner=team:dev", "", apiAs("ada")).status)
	assert.Equal(t, 403, w.do("GET", "tokens?owner=team:ops", "", apiAs("grace")).status)
}

func TestAllTokensOfAnOwnerAreRevokedOverTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAPIWorld(t)
		first, secret := w.generate("ada")
		second, _ := w.generate("ada")
		made := w.do("POST", "tokens", `{"name":"child","permissions":["devices:read"],"never":true}`, apiWith(secret.Reveal()))
		require.Equal(t, 201, made.status)
		revoke := func(user, body string, status int) *apiAnswer {
			a := w.do("POST", "tokens/revoke-all", body, apiAs(user))
			require.Equal(t, status, a.status, "%s", a.body)
			return a
		}
		with := fmt.Sprintf(`{"made_with":%q`, first.ID)
		assert.Len(t, revoke("ada", with+`,"preview":true}`, 200).at("tokens"), 2)
		revoke("grace", with+`}`, 404)
		revoke("grace", `{"owner":"ada"}`, 403)
		require.True(t, w.works(secret.Reveal()))
		a := revoke("ada", with+`}`, 200)
		assert.Len(t, a.at("tokens"), 2)
		assert.Contains(t, a.body, made.text("token", "id"))
		assert.False(t, w.works(secret.Reveal()))

		w.store.fail = func(method string) error {
			if method == "Replace" {
				return errors.New("dial tcp 10.9.8.7:5432: refused")
			}
			return nil
		}
		a = revoke("ada", `{"owner":"ada"}`, 503)
		assert.Equal(t, []any{second.ID}, a.at("failed"))
		assert.Equal(t, []any{}, a.at("done"))
		assert.NotContains(t, a.body, "10.9.8.7")
		w.store.fail = nil
		assert.Len(t, revoke("ada", `{"owner":"ada"}`, 200).at("tokens"), 1)
		assert.Empty(t, revoke("ada", `{"owner":"ada"}`, 200).at("tokens"))
		w.auth.Close()
	})
}

func TestTheAccessOfOwnersIsShown(t *testing.T) {
	var err error
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return c.Permissions.All(), err }
	})
	in, _ := w.generate("ada")
	for _, c := range []struct {
		err       error
		access    string
		effective any
	}{
		{nil, "ok", []any{"devices:read"}},
		{apitoken.ErrNoOwner, "none", []any{}},
		{errors.New("ldap down"), "unknown", nil},
	} {
		err = c.err
		a := w.do("GET", "tokens/"+in.ID, "", apiAs("ada"))
		require.Equal(t, http.StatusOK, a.status)
		assert.Equal(t, c.access, a.at("owner_access"))
		assert.Equal(t, c.effective, a.at("effective_permissions"))
		assert.Equal(t, "active", a.at("status"))
		require.Equal(t, http.StatusOK, w.do("GET", "tokens", "", apiAs("ada")).status, "the list answers in every case")
	}
	a := w.do("PATCH", "tokens/"+in.ID, `{"active":false}`, apiAs("ada"))
	assert.Nil(t, a.at("owner_access"), "which a change does not ask for")
}
