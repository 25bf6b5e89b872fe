package manage_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func apiIntegrityKey(t *testing.T) apitoken.Key {
	key, err := apitoken.NewKey("a", bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	return key
}

func TestATokenDerivesOneThatMayOnlyLookAtItsParent(t *testing.T) {
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) { c.IntegrityKeys = []apitoken.Key{apiIntegrityKey(t)} })
	info, secret := w.generate("ada")
	parent := apiWith(secret.Reveal())
	a := w.do("POST", "self/derived", `{"expires_in":"5m","permissions":["devices:read"],"label":"browser"}`, parent)
	require.Equal(t, http.StatusCreated, a.status, a.body)
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	derived := apiWith(a.text("secret"))

	a = w.do("GET", "self", "", derived)
	assert.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, info.ID, a.text("id"))
	before := w.stored()
	for _, row := range apiRows {
		if row.path == "self" && row.method == "GET" || row.path == "openapi.json" {
			continue
		}
		a = w.do(row.method, row.path, row.body, derived)
		assert.Equal(t, http.StatusForbidden, a.status, "%s %s: %s", row.method, row.path, a.body)
		assert.Equal(t, "token_not_allowed", a.text("code"))
	}
	assert.Equal(t, before, w.stored())

	a = w.do("POST", "self/derived", `{"expires_in":"25h","permissions":["reports:read","no:such"],"route":"\u0007"}`, parent)
	assert.Equal(t, http.StatusBadRequest, a.status)
	var fields []string
	for _, e := range a.at("errors").([]any) {
		fields = append(fields, e.(map[string]any)["field"].(string))
	}
	assert.Equal(t, []string{"permissions", "expires_in", "route"}, fields, "every mistake")
	for _, body := range []string{`{}`, `{"expires_in":"5m","permissions":[]}`, `{"expires_in":"5m","owner":"bob"}`} {
		assert.Equal(t, http.StatusBadRequest, w.do("POST", "self/derived", body, parent).status, body)
	}
	a = w.do("POST", "self/derived", `{"expires_in":"5m"}`, parent)
	require.Equal(t, http.StatusCreated, a.status, a.body)
	_, err := w.auth.As(w.users["ada"]).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	assert.Equal(t, http.StatusUnauthorized, w.do("GET", "self", "", derived).status)
}

func TestWithoutIntegrityKeysNoTokenIsDerived(t *testing.T) {
	w := newAPIWorld(t)
	_, secret := w.generate("ada")
	a := w.do("POST", "self/derived", `{"expires_in":"5m"}`, apiWith(secret.Reveal()))
	assert.Equal(t, http.StatusForbidden, a.status, a.body)
	assert.Contains(t, a.text("detail"), "IntegrityKeys")
}
