package manage_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func freshMemory() apitoken.Store { return memory.New() }

func TestATokenIsShownWithAllOfItsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAPIWorld(t)
		a := w.do("POST", "tokens", `{"name":"ci","permissions":["devices:read"],"expires_in":"30d"}`, apiAs("ada"))
		require.Equal(t, http.StatusCreated, a.status)
		id, version := a.text("token", "id"), fmt.Sprint(a.at("token", "version"))
		show := func(body string) string {
			return strings.NewReplacer(id, "ID", `:`+version, `:"VERSION"`, version, "VERSION").Replace(strings.TrimSpace(body))
		}
		assert.JSONEq(t, `{"token":{"id":"ID","environment":"demo","owner":"ada","name":"ci","description":"",`+
			`"permissions":["devices:read"],"unknown_permissions":[],"effective_permissions":["devices:read"],"owner_access":"ok","active":true,"status":"active",`+
			`"display_id":"acme_ID…","revealable":true,"created_at":"2000-01-01T00:00:00Z","created_by":"ada","created_with":null,`+
			`"changed_at":"2000-01-01T00:00:00Z","deactivated_at":null,"deactivated_by":null,"deactivated_as":null,"deleted_at":null,"deleted_by":null,`+
			`"expires_at":"2000-01-31T00:00:00Z","not_before":null,"last_used_at":null,"last_used_from":null,"last_used_source":null,`+
			`"allowed_networks":[],"limit":null,"only":[],"rotation":null,`+
			`"history":[{"at":"2000-01-01T00:00:00Z","by":"ada","as":"owner","action":"generate","fields":[],"via":null,"address":null}],"version":"VERSION"},`+
			`"secret":"`+show(a.text("secret"))+`"}`, show(a.body))
		assert.Equal(t, `"VERSION"`, show(a.header.Get("ETag")))
		secret := a.text("secret")

		time.Sleep(time.Hour)
		a = w.do("POST", "tokens/"+id+"/rotate", `{"overlap":"2d"}`, apiAs("ada"))
		require.Equal(t, http.StatusOK, a.status)
		time.Sleep(time.Hour)
		require.True(t, w.works(secret))
		time.Sleep(time.Minute) // for the use to be recorded
		a = w.do("PATCH", "tokens/"+id, `{"active":false,"name":"CI"}`, apiAs("ada"))
		require.Equal(t, http.StatusOK, a.status)
		a = w.do("GET", "tokens/"+id, "", apiAs("ada"))
		version = fmt.Sprint(a.at("version"))
		assert.JSONEq(t, `{"id":"ID","environment":"demo","owner":"ada","name":"CI","description":"",`+
			`"permissions":["devices:read"],"unknown_permissions":[],"effective_permissions":["devices:read"],"owner_access":"ok","active":false,"status":"inactive",`+
			`"display_id":"acme_ID…","revealable":true,"created_at":"2000-01-01T00:00:00Z","created_by":"ada","created_with":null,`+
			`"changed_at":"2000-01-01T02:01:00Z","deactivated_at":"2000-01-01T02:01:00Z","deactivated_by":"ada","deactivated_as":"owner","deleted_at":null,"deleted_by":null,`+
			`"expires_at":"2000-01-31T00:00:00Z","not_before":null,"last_used_at":"2000-01-01T02:00:00Z","last_used_from":"192.0.2.1","last_used_source":"Authorization: apiToken",`+
			`"allowed_networks":[],"limit":null,"only":[],"rotation":{"old_valid_until":"2000-01-03T01:00:00Z","old_last_used_at":"2000-01-01T02:00:00Z"},`+
			`"history":[{"at":"2000-01-01T02:01:00Z","by":"ada","as":"owner","action":"update","fields":["name","active"],"via":null,"address":null},`+
			`{"at":"2000-01-01T01:00:00Z","by":"ada","as":"owner","action":"rotate","fields":["secret"],"via":null,"address":null},`+
			`{"at":"2000-01-01T00:00:00Z","by":"ada","as":"owner","action":"generate","fields":[],"via":null,"address":null}],"version":"VERSION"}`, show(a.body))
	})
}

func TestATokenOfAnEarlierSystemHasNoDisplayID(t *testing.T) {
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 40}
	})
	info, err := w.auth.As(w.users["ada"]).Import(t.Context(), apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Name: "old", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()},
		Secret:         apitoken.NewSecret("8as7bf9a8s7498svaps8dfabsf"),
	})
	require.NoError(t, err)
	a := w.do("GET", "tokens/"+info.ID, "", apiAs("ada"))
	assert.Nil(t, a.at("display_id"))
	a = w.do("POST", "tokens/"+info.ID+"/rotate", `{"overlap":"0s"}`, apiAs("ada"))
	assert.Equal(t, "acme_"+info.ID+"…", a.text("token", "display_id"))
}

func TestAnAddressOfATokenIsShownAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAPIWorld(t)
		info, secret := w.generate("ada")
		_, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret, Address: netip.MustParseAddr("2001:db8::1")}, apitoken.AnyToken())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		a := w.do("GET", "tokens/"+info.ID, "", apiAs("ada"))
		assert.Equal(t, "2001:db8::1", a.text("last_used_from"))
		assert.Equal(t, "direct", a.text("last_used_source"))
		list := w.do("GET", "tokens", "", apiAs("ada"))
		assert.Equal(t, []any{a.object}, list.at("tokens"), "a list shows what a single answer shows")
	})
}

func TestPermissionsThatTheServiceNoLongerKnowsAreShownAndCanBeKept(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	rec, err := w.store.Get(t.Context(), info.ID)
	require.NoError(t, err)
	rec.Permissions = []string{"devices:read", "gone:x", "gone:y"}
	rec.Version++
	require.NoError(t, w.store.Replace(t.Context(), rec))

	a := w.do("PATCH", "tokens/"+info.ID, `{"permissions":["gone:x","devices:write"]}`, apiAs("ada"))
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, []any{"devices:write"}, a.at("permissions"))
	assert.Equal(t, []any{"gone:x"}, a.at("unknown_permissions"))
	a = w.do("PATCH", "tokens/"+info.ID, `{"permissions":["gone:y"]}`, apiAs("ada"))
	assert.Equal(t, http.StatusBadRequest, a.status, "it is gone for good")
	a = w.do("PATCH", "tokens/"+info.ID, `{"permissions":["gone:x"]}`, apiAs("grace"))
	assert.Equal(t, http.StatusNotFound, a.status, "of what one may not see nothing is told")
}

func TestPermissionsAreListedWithWhatCanBeGranted(t *testing.T) {
	w := newAPIWorld(t)
	_, weak := w.generate("ada")
	grantable := func(edit func(*http.Request)) (names []string) {
		a := w.do("GET", "permissions", "", edit)
		for _, p := range a.at("permissions").([]any) {
			p := p.(map[string]any)
			if p["grantable"] == true {
				names = append(names, p["name"].(string))
			}
		}
		return names
	}
	assert.Equal(t, []string{"devices:read", "devices:write"}, grantable(apiAs("ada")))
	assert.Equal(t, []string{"devices:read", "devices:write", "reports:read"}, grantable(apiAs("admin")))
	assert.Equal(t, []string{"devices:read"}, grantable(apiWith(weak.Reveal())))
	first := w.do("GET", "permissions", "", apiAs("ada")).at("permissions").([]any)[0]
	assert.Equal(t, map[string]any{"name": "devices:read", "description": "See devices", "group": "devices", "grantable": true}, first)
}

func TestAKeptSecretThatCannotBeDecryptedIsToBeRotated(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	rec, err := w.store.Get(t.Context(), info.ID)
	require.NoError(t, err)
	rec.Secrets[0].EncryptionKeyID = "gone"
	rec.Version++
	require.NoError(t, w.store.Replace(t.Context(), rec))
	a := w.do("POST", "tokens/"+info.ID+"/reveal", "", apiAs("ada"))
	assert.Equal(t, http.StatusConflict, a.status)
	assert.Equal(t, "secret_unreadable", a.text("code"))
	assert.Empty(t, a.header["Retry-After"])
	assert.Equal(t, http.StatusOK, w.do("POST", "tokens/"+info.ID+"/rotate", `{"overlap":"0s"}`, apiAs("ada")).status)
	assert.Equal(t, http.StatusOK, w.do("POST", "tokens/"+info.ID+"/reveal", "", apiAs("ada")).status)
}
