package manage_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

// ids returns the IDs of the tokens of a report, page by page.
func (w *apiWorld) ids(path, user string) []string {
	w.t.Helper()
	ids := []string{}
	for next := any(""); next != nil; {
		page := path
		if next != "" {
			page += "&cursor=" + url.QueryEscape(next.(string))
		}
		a := w.do("GET", page, "", apiAs(user))
		require.Equal(w.t, 200, a.status, a.body)
		for _, token := range a.at("tokens").([]any) {
			if inner, ok := token.(map[string]any)["token"]; ok {
				token = inner
			}
			ids = append(ids, token.(map[string]any)["id"].(string))
		}
		next = a.at("next")
	}
	return ids
}

func TestTheAPIExplainsByRouteAndByPermissions(t *testing.T) {
	w := newAPIWorld(t)
	in, _ := w.generate("ada")
	for query, accepted := range map[string]bool{
		"": true, "?route=GET%20/devices": true, "?route=POST%20/devices": false,
		"?permissions=devices:read": true, "?permissions=devices:read,devices:write": false, "?permissions=devices:read%20devices:write&match=any": true,
	} {
		a := w.do("GET", "tokens/"+in.ID+"/explain"+query, "", apiAs("ada"))
		require.Equal(t, 200, a.status, a.body)
		assert.Equal(t, accepted, a.at("accepted"), query)
		assert.Equal(t, !accepted, slices.Contains(a.at("reasons").([]any), any("missing_permission")), query)
		assert.Equal(t, []any{"devices:read"}, a.at("effective_permissions"), query)
		if !accepted {
			assert.Equal(t, []any{"devices:write"}, a.at("missing_from_token"), query)
		}
	}
	for query, field := range map[string]string{
		"?route=GET%20/no": "route", "?route=GET%20/healthz": "route", "?route=GET%20/devices&match=any": "route", "?match=some": "match",
		"?permissions=no:such": "permissions", "?permissions=,": "permissions", "?match=any": "permissions", "?match=all": "permissions", "?from=here": "from",
	} {
		a := w.do("GET", "tokens/"+in.ID+"/explain"+query, "", apiAs("ada"))
		assert.Equal(t, 400, a.status, query)
		assert.Equal(t, field, a.at("field"), query)
	}
}

func TestTheAPISaysWhatATokenReachesAndWhatRoutesThereAre(t *testing.T) {
	w := newAPIWorld(t)
	in, _ := w.generate("ada")
	a := w.do("GET", "tokens/"+in.ID+"/reach", "", apiAs("admin"))
	require.Equal(t, 200, a.status, a.body)
	said := map[string]any{}
	for _, route := range a.at("routes").([]any) {
		r := route.(map[string]any)
		said[r["method"].(string)+" "+r["pattern"].(string)] = r["accepted"]
	}
	assert.Equal(t, map[string]any{"GET /devices": true, "POST /devices": false, "GET /healthz": true}, said)
	a = w.do("GET", "routes", "", apiAs("ada"))
	assert.Len(t, a.at("routes"), 3)
	none := newAPIWorld(t, func(_ *apitoken.Config, c *manage.Config) { c.Routes = nil })
	assert.Empty(t, none.do("GET", "routes", "", apiAs("ada")).at("routes"))
}

func TestTheServiceIsToldWhyItIsNotKnownWhatAnOwnerMayDo(t *testing.T) {
	down := errors.New("ldap is down")
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return nil, down }
	})
	in, _ := w.generate("ada")
	a := w.do("GET", "tokens/"+in.ID+"/explain", "", apiAs("ada"))
	require.Equal(t, 200, a.status, a.body)
	assert.Equal(t, []any{"unavailable"}, a.at("reasons"))
	assert.NotContains(t, a.body, "ldap")
	require.Len(t, w.failed, 1)
	assert.ErrorIs(t, w.failed[0], down)
	w.failed = nil
	a = w.do("GET", "reports/who-can?permissions=devices:read", "", apiAs("ada"))
	assert.Equal(t, 503, a.status, "a list that is not whole is none")
}

func TestTheReportsOfTheAPIGoOnPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAPIWorld(t)
		var want []string
		for i := range 101 {
			in, _ := w.generate([]string{"ada", "grace"}[i%2], func(g *apitoken.GenerateParams) {
				if i == 7 {
					g.Permissions = []apitoken.Permission{w.reports, w.read}[:1+i%2]
				}
			})
			want = append(want, in.ID)
			time.Sleep(time.Second)
		}
		_, err := w.auth.As(w.users["ada"]).Deactivate(t.Context(), want[50])
		require.NoError(t, err)
		can := slices.Delete(slices.Clone(want), 50, 51)
		assert.Equal(t, can, w.ids("reports/who-can?permissions=devices:read", "admin"))
		assert.Equal(t, can, w.ids("reports/who-can?route=GET%20/devices", "admin"))
		assert.Len(t, w.ids("reports/who-can?permissions=devices:read,reports:read&match=any", "ada"), 50, "one's own")
		assert.Equal(t, can, w.ids("reports/catalog?without=devices:read", "admin"))
		assert.Equal(t, []string{want[7]}, w.ids("reports/catalog?without=reports:read,devices:write", "admin"))
		assert.Empty(t, w.ids("reports/policy?max_lifetime=24h", "admin"))
		time.Sleep(24 * time.Hour)
		assert.Equal(t, can, w.ids("reports/policy?max_lifetime=1d", "admin"))
		assert.Equal(t, can, w.ids("reports/policy?max_idle=24h", "admin"))
		for path, field := range map[string]string{"policy?max_idle=x": "max_idle", "policy?max_lifetime=-1h": "max_lifetime", "catalog": "without"} {
			a := w.do("GET", "reports/"+path, "", apiAs("admin"))
			assert.Equal(t, 400, a.status, path)
			assert.Equal(t, field, a.at("field"), path)
		}
		w.auth.Close()
	})
}

func TestTheAPIImportsATokenThatKeepsWorking(t *testing.T) {
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.ForeignTokens = apitoken.ForeignTokens{MinLen: 32, MaxLen: 32}
	})
	const old, gone = "9f86d081884c7d659a2feaa0c55ad015", "9f86d081884c7d659a2feaa0c55ad016"
	sum := sha256.Sum256([]byte(gone))
	a := w.do("POST", "tokens/import", `{"secret":"`+old+`","name":"old key","description":"of before","permissions":["devices:read"],"expires_in":"30d","created_at":"2020-01-01T00:00:00Z"}`, apiAs("ada"))
	require.Equal(t, 201, a.status, a.body)
	assert.Equal(t, a.at("id"), a.header.Get("Location"))
	assert.Equal(t, "2020-01-01T00:00:00Z", a.at("created_at"))
	assert.Equal(t, "of before", a.at("description"))
	assert.NotContains(t, a.body, old)
	assert.True(t, w.works(old))
	a = w.do("POST", "tokens/import", `{"sha256":"`+hex.EncodeToString(sum[:])+`","owner":"grace","name":"old key","permissions":["devices:read"],"never":true,"active":false}`, apiAs("admin"))
	require.Equal(t, 201, a.status, a.body)
	assert.Equal(t, "inactive", a.at("status"))
	assert.Equal(t, "grace", a.at("owner"))
	assert.False(t, w.works(gone))

	body := func(member string) string {
		return `{` + member + `,"name":"x","permissions":["devices:read"],"never":true}`
	}
	assert.Equal(t, "exists", w.do("POST", "tokens/import", body(`"secret":"`+old+`"`), apiAs("ada")).at("code"))
	for member, field := range map[string]string{
		`"secret":"short"`: "secret", `"sha256":"xyz"`: "sha256", `"sha256":"00"`: "sha256", `"description":""`: "sha256",
		`"secret":"` + strings.Repeat("y", 32) + `","expires_in":"1h"`:                   "never",
		`"secret":"` + strings.Repeat("y", 32) + `","created_at":"2999-01-01T00:00:00Z"`: "created_at",
	} {
		a := w.do("POST", "tokens/import", body(member), apiAs("ada"))
		assert.Equal(t, 400, a.status, member)
		assert.Equal(t, field, a.at("field"), a.body)
	}
	a = w.do("POST", "tokens/import", `{"secret":"`+strings.Repeat("y", 32)+`","name":"x","permissions":["devices:read"]}`, apiAs("ada"))
	assert.Equal(t, "expires_in", a.at("field"))
}

func TestARequestToGenerateCanBeRepeatedWithItsIdempotencyKey(t *testing.T) {
	const body = `{"name":"ci","permissions":["devices:read"],"never":true}`
	key := apiHeader("Idempotency-Key", "deploy 7")
	w := newAPIWorld(t)
	first, again := w.do("POST", "tokens", body, apiAs("ada"), key), w.do("POST", "tokens", body, apiAs("ada"), key)
	require.Equal(t, 201, first.status, first.body)
	assert.Equal(t, first.body, again.body)
	assert.Len(t, w.stored(), 1)
	other := w.do("POST", "tokens", strings.Replace(body, "ci", "other", 1), apiAs("ada"), key)
	assert.Equal(t, 409, other.status, "another token with the same key")
	assert.Equal(t, first.at("token", "id"), other.at("id"))
	for _, wrong := range []string{"", strings.Repeat("x", 256)} {
		a := w.do("POST", "tokens", body, apiAs("ada"), func(r *http.Request) { r.Header["Idempotency-Key"] = []string{wrong} })
		assert.Equal(t, 400, a.status)
		assert.Equal(t, "Idempotency-Key", a.at("field"))
	}

	forgetful := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) { c.EncryptionKeys = nil })
	first = forgetful.do("POST", "tokens", body, apiAs("ada"), key)
	require.Equal(t, 201, first.status, first.body)
	a := forgetful.do("POST", "tokens", body, apiAs("ada"), key)
	assert.Equal(t, 409, a.status)
	assert.Equal(t, "exists", a.at("code"))
	assert.Equal(t, first.at("token", "id"), a.at("id"))
	assert.Contains(t, a.at("detail"), first.at("token", "id"))
	bulk := forgetful.do("POST", "tokens/bulk", `{"action":"deactivate","ids":["`+first.at("token", "id").(string)+`"]}`, apiAs("ada"), key)
	assert.Equal(t, 200, bulk.status, bulk.body)
}

func TestToDeactivateIsOneActionWhateverTheRequest(t *testing.T) {
	w := newAPIWorld(t)
	in, secret := w.generate("ada")
	action := func(a *apiAnswer) any {
		require.Equal(t, 200, a.status, a.body)
		return a.at("history").([]any)[0].(map[string]any)["action"]
	}
	assert.Equal(t, "deactivate", action(w.do("PATCH", "tokens/"+in.ID, `{"active":false}`, apiAs("ada"))))
	assert.Equal(t, "activate", action(w.do("PATCH", "tokens/"+in.ID, `{"active":true}`, apiAs("ada"))))
	assert.Equal(t, "deactivate", action(w.do("POST", "self/deactivate", "", apiWith(secret.Reveal()))))
	assert.Equal(t, "update", action(w.do("PATCH", "tokens/"+in.ID, `{"active":true,"name":"again"}`, apiAs("ada"))))
}
