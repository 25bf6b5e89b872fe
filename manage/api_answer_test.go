package manage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
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
			`"permissions":["devices:read"],"unknown_permissions":[],"active":true,"status":"active",`+
			`"display_id":"acme_ID…","revealable":true,"created_at":"2000-01-01T00:00:00Z","created_by":"ada",`+
			`"changed_at":"2000-01-01T00:00:00Z","deactivated_at":null,"deactivated_by":null,`+
			`"expires_at":"2000-01-31T00:00:00Z","not_before":null,"last_used_at":null,"last_used_from":null,"last_used_source":null,`+
			`"allowed_networks":[],"rotation":null,`+
			`"history":[{"at":"2000-01-01T00:00:00Z","by":"ada","action":"generate","fields":[]}],"version":"VERSION"},`+
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
			`"permissions":["devices:read"],"unknown_permissions":[],"active":false,"status":"inactive",`+
			`"display_id":"acme_ID…","revealable":true,"created_at":"2000-01-01T00:00:00Z","created_by":"ada",`+
			`"changed_at":"2000-01-01T02:01:00Z","deactivated_at":"2000-01-01T02:01:00Z","deactivated_by":"ada",`+
			`"expires_at":"2000-01-31T00:00:00Z","not_before":null,"last_used_at":"2000-01-01T02:00:00Z","last_used_from":"192.0.2.1","last_used_source":"header",`+
			`"allowed_networks":[],"rotation":{"old_valid_until":"2000-01-03T01:00:00Z","old_last_used_at":"2000-01-01T02:00:00Z"},`+
			`"history":[{"at":"2000-01-01T02:01:00Z","by":"ada","action":"update","fields":["name","active"]},`+
			`{"at":"2000-01-01T01:00:00Z","by":"ada","action":"rotate","fields":["secret"]},`+
			`{"at":"2000-01-01T00:00:00Z","by":"ada","action":"generate","fields":[]}],"version":"VERSION"}`, show(a.body))
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

func TestAPageLeadsToTheNextAndNowhereElse(t *testing.T) {
	w := newAPIWorld(t)
	var want []string
	for i := range 7 {
		info, _ := w.generate("ada", func(g *apitoken.GenerateParams) { g.Name = fmt.Sprintf("t%d", i) })
		want = append(want, info.ID)
	}
	w.generate("eve")
	var got, cursors []string
	for next := ""; ; {
		path := "tokens?limit=3&sort=name"
		if next != "" {
			path += "&cursor=" + url.QueryEscape(next)
		}
		a := w.do("GET", path, "", apiAs("ada"))
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, 7, apiInt(a.at("count")))
		assert.Equal(t, false, a.at("count_more"))
		for _, token := range a.at("tokens").([]any) {
			got = append(got, token.(map[string]any)["id"].(string))
		}
		if a.at("next") == nil {
			break
		}
		next = a.text("next")
		cursors = append(cursors, next)
	}
	assert.Equal(t, want, got)
	require.Len(t, cursors, 2)

	refused := func(query, cursor string, edit func(*http.Request)) {
		t.Helper()
		a := w.do("GET", "tokens?"+query+"&cursor="+url.QueryEscape(cursor), "", edit)
		assert.Equal(t, http.StatusBadRequest, a.status, a.body)
		assert.Equal(t, "cursor", a.text("field"))
	}
	cursor := cursors[0]
	for i := range cursor { // every change of a character
		for _, c := range "A_" {
			forged := cursor[:i] + string(c) + cursor[i+1:]
			if forged != cursor {
				refused("limit=3&sort=name", forged, apiAs("ada"))
			}
		}
	}
	for _, forged := range []string{cursor[:len(cursor)-1], cursor + "A", cursor + "=", cursor + "\u00a0", strings.Repeat("A", 5000)} {
		refused("limit=3&sort=name", forged, apiAs("ada"))
	}
	for _, query := range []string{"sort=created", "sort=name&order=desc", "sort=name&q=t", "sort=name&status=active", "sort=name&permission=devices:read"} {
		refused("limit=3&"+query, cursor, apiAs("ada"))
	}
	refused("limit=3&sort=name", cursor, apiAs("grace"))
	refused("limit=3&sort=name&owner=@all", cursor, apiAs("admin"))
	refused("limit=3&sort=name&owner=@all", cursor, apiAs("eve"))
	refused("limit=3&sort=name&owner=ada", cursor, apiAs("eve"))
}

func TestCountsStopAtAThousand(t *testing.T) {
	w := newAPIWorld(t)
	for range 1001 {
		w.generate("ada")
	}
	a := w.do("GET", "tokens?limit=1", "", apiAs("ada"))
	assert.Equal(t, 1000, apiInt(a.at("count")))
	assert.Equal(t, true, a.at("count_more"))
}

func TestATokenEndsItself(t *testing.T) {
	w := newAPIWorld(t, func(_ *apitoken.Config, c *manage.Config) { c.IdentifyToken = nil })
	info, secret := w.generate("ada")
	with := apiWith(secret.Reveal())
	a := w.do("GET", "self", "", with)
	require.Equal(t, http.StatusOK, a.status)
	assert.Equal(t, info.ID, a.text("id"))
	assert.Equal(t, fmt.Sprintf(`"%d"`, info.Version), a.header.Get("ETag"))

	for _, path := range []string{"permissions", "tokens", "tokens/" + info.ID} {
		a = w.do("GET", path, "", with)
		assert.Equal(t, http.StatusForbidden, a.status, path)
		assert.Equal(t, "token_not_allowed", a.text("code"))
	}
	assert.Equal(t, http.StatusNoContent, w.do("DELETE", "self", "", with).status)
	assert.Equal(t, http.StatusUnauthorized, w.do("GET", "self", "", with).status)
	assert.Empty(t, w.stored())
}

func TestWithoutLoginTheAnswerSaysHowToComeBack(t *testing.T) {
	w := newAPIWorld(t)
	a := w.do("GET", "tokens", "")
	assert.Equal(t, "not_signed_in", a.text("code"))
	assert.Equal(t, `apiToken realm="api"`, a.header.Get("WWW-Authenticate"))
	a = w.do("GET", "self", "", apiAs("ada"))
	assert.True(t, strings.HasSuffix(a.text("type"), "#no-token"), a.body)
	a = w.do("GET", "tokens", "", apiHeader("Authorization", "Basic eDp5"))
	assert.Equal(t, "not_signed_in", a.text("code"), "another scheme is nothing")
	a = w.do("GET", "tokens", "", apiHeader("Authorization", "Basic eDp5"), apiAs("ada"))
	assert.Equal(t, http.StatusOK, a.status)
}

func TestATokenInTheQueryIsRefusedAlsoWhereItWasTakenOutOfIt(t *testing.T) {
	w := newAPIWorld(t)
	_, secret := w.generate("ada")
	for _, h := range []http.Handler{w.handler, w.auth.HideQueryToken(w.handler)} {
		w.handler = h
		for _, path := range []string{"tokens", "self", "permissions"} {
			a := w.do("GET", path+"?apiToken="+secret.Reveal(), "")
			assert.Equal(t, http.StatusBadRequest, a.status)
			assert.True(t, strings.HasSuffix(a.text("type"), "#invalid-request"), a.body)
			assert.NotContains(t, a.body, secret.Reveal())
		}
	}
}

func TestWhatIsNotGrantedIsNamed(t *testing.T) {
	w := newAPIWorld(t)
	a := w.do("POST", "tokens", `{"name":"x","permissions":["devices:write","devices:read","reports:read"],"never":true}`, apiAs("grace"))
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "forbidden", a.text("code"))
	assert.Equal(t, []any{"devices:write"}, a.at("permissions"))
	assert.Equal(t, "You may not grant what you do not have: devices:write.", a.text("detail"))
	a = w.do("GET", "tokens?owner=@all", "", apiAs("grace"))
	assert.Equal(t, "You may not see the tokens of others.", a.text("detail"))
	assert.Nil(t, a.at("permissions"))
}

func TestARotationGoesOnAndEndsEitherWay(t *testing.T) {
	for _, kept := range []bool{true, false} {
		w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
			if !kept {
				c.EncryptionKeys = nil
			}
		})
		info, old := w.generate("ada")
		path := "tokens/" + info.ID
		key := apiHeader("Idempotency-Key", "try 1")
		a := w.do("POST", path+"/rotate", `{"overlap":"1h"}`, apiAs("ada"), key)
		require.Equal(t, http.StatusOK, a.status, a.body)
		secret := a.text("secret")
		assert.True(t, w.works(secret) && w.works(old.Reveal()))
		assert.NotNil(t, a.at("token", "rotation"))
		assert.NotEmpty(t, a.header.Get("ETag"))

		repeated := w.do("POST", path+"/rotate", `{"overlap":"1h"}`, apiAs("ada"), key)
		revealed := w.do("POST", path+"/reveal", "", apiAs("ada"))
		if kept {
			assert.Equal(t, http.StatusOK, repeated.status)
			assert.Equal(t, secret, repeated.text("secret"))
			assert.Equal(t, secret, revealed.text("secret"))
		} else {
			assert.Equal(t, http.StatusConflict, repeated.status)
			assert.Equal(t, "already_rotated", repeated.text("code"))
			assert.Equal(t, http.StatusNotFound, revealed.status)
			assert.Equal(t, "not_revealable", revealed.text("code"))
			assert.Equal(t, http.StatusForbidden, w.do("POST", path+"/reveal", "", apiAs("admin")).status, "judged before that")
		}
		a = w.do("POST", path+"/rotate", `{"overlap":"1h"}`, apiAs("ada"), apiHeader("Idempotency-Key", "try 2"))
		assert.Equal(t, http.StatusConflict, a.status)
		assert.Equal(t, "rotating", a.text("code"))

		a = w.do("POST", path+"/end-overlap", `{"keep":"old"}`, apiAs("ada"))
		assert.Equal(t, http.StatusOK, a.status)
		assert.Nil(t, a.at("rotation"))
		assert.True(t, !w.works(secret) && w.works(old.Reveal()))
		a = w.do("POST", path+"/end-overlap", `{"keep":"new"}`, apiAs("ada"))
		assert.Equal(t, http.StatusConflict, a.status)
		assert.Equal(t, "not_rotating", a.text("code"))
	}
}

func TestABulkChangeNamesWhereItStopped(t *testing.T) {
	w := newAPIWorld(t)
	var ids []string
	for range 4 {
		info, _ := w.generate("ada")
		ids = append(ids, info.ID)
	}
	his, _ := w.generate("grace")
	bulk := func(action string, ids ...string) *apiAnswer {
		return w.do("POST", "tokens/bulk", fmt.Sprintf(`{"action":%q,"ids":["%s"]}`, action, strings.Join(ids, `","`)), apiAs("ada"))
	}
	a := bulk("deactivate", ids[0], his.ID, ids[1])
	assert.Equal(t, http.StatusNotFound, a.status)
	assert.Equal(t, his.ID, a.text("id"))
	assert.Equal(t, []any{}, a.at("done"))
	assert.Equal(t, []any{ids[0], his.ID, ids[1]}, a.at("failed"))

	deletes := 0
	w.store.fail = func(method string) error {
		if method == "Delete" {
			if deletes++; deletes > 2 {
				return errors.New("dial tcp 10.9.8.7:5432: refused")
			}
		}
		return nil
	}
	a = bulk("delete", ids...)
	assert.Equal(t, http.StatusServiceUnavailable, a.status)
	assert.Equal(t, "1", a.header.Get("Retry-After"))
	assert.Equal(t, ids[2], a.text("id"))
	assert.Equal(t, []any{ids[0], ids[1]}, a.at("done"))
	assert.Equal(t, []any{ids[2], ids[3]}, a.at("failed"))
	assert.NotContains(t, a.body, "10.9.8.7")
	require.Len(t, w.failed, 1)
	assert.ErrorContains(t, w.failed[0], "10.9.8.7")

	w.store.fail = nil
	a = bulk("delete", ids...)
	assert.Equal(t, http.StatusOK, a.status)
	assert.Len(t, a.at("done"), 4)
	assert.Len(t, w.stored(), 1)
}

func TestAChangeThatSomeoneElseOvertookIsRefused(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	w.store.fail = func(method string) error {
		if method == "Replace" {
			return apitoken.ErrConflict
		}
		return nil
	}
	a := w.do("PATCH", "tokens/"+info.ID, `{"name":"x"}`, apiAs("ada"))
	assert.Equal(t, http.StatusConflict, a.status)
	assert.Equal(t, "conflict", a.text("code"))
	a = w.do("PATCH", "tokens/"+info.ID, `{"name":"x"}`, apiAs("ada"), apiHeader("If-Match", fmt.Sprintf(`"%d"`, info.Version)))
	assert.Equal(t, http.StatusPreconditionFailed, a.status)
	w.store.fail = func(method string) error {
		if method == "Create" {
			return apitoken.ErrExists
		}
		return nil
	}
	a = w.do("POST", "tokens", `{"name":"x","permissions":["devices:read"],"never":true}`, apiAs("ada"))
	assert.Equal(t, "exists", a.text("code"))
	assert.Empty(t, a.header.Get("Location"))
}

func TestAStoreThatFailsIsToldOfWithoutItsWords(t *testing.T) {
	for _, row := range apiRows {
		if row.path == "permissions" || row.path == "openapi.json" || row.want[2] > 299 || row.path == "tokens/{id}" && row.body == `{}` {
			continue // does not ask the store, or not of the admin
		}
		for name, failure := range map[string]func() error{
			"an error": func() error { return fmt.Errorf("pq: password of admin@db1.internal: %w", io.ErrUnexpectedEOF) },
			"a panic":  func() error { panic("index out of range in db1.internal") },
		} {
			t.Run(row.method+" "+row.path+" "+row.body+" with "+name, func(t *testing.T) {
				c := newAPICase(t, row.prepare)
				c.store.fail = func(string) error { return failure() }
				fill := strings.NewReplacer("{id}", c.target.ID).Replace
				a := c.do(row.method, fill(row.path), fill(row.body), apiAs("admin"))
				assert.Equal(t, http.StatusServiceUnavailable, a.status)
				assert.Equal(t, "1", a.header.Get("Retry-After"))
				assert.NotContains(t, a.body, "internal")
				require.Len(t, c.failed, 1)
				assert.ErrorContains(t, c.failed[0], "db1.internal")
			})
		}
	}
	c := newAPICase(t, nil)
	rec, err := c.store.Get(t.Context(), c.target.ID)
	require.NoError(t, err)
	rec.ExpiresAt = time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC) // which JSON cannot hold
	rec.Version++
	require.NoError(t, c.store.Replace(t.Context(), rec))
	assert.Equal(t, http.StatusServiceUnavailable, c.do("GET", "tokens/"+rec.ID, "", apiAs("ada")).status)
	require.NoError(t, c.store.Delete(t.Context(), rec.ID))

	c.store.fail = func(string) error { return errors.New("db1.internal") }
	a := c.do("GET", "tokens", "", apiWith(c.weak))
	assert.Equal(t, http.StatusServiceUnavailable, a.status)
	assert.NotContains(t, a.body, "internal")
}

func TestAuditCanForbidInItsOwnWordsAndFailsWithoutThem(t *testing.T) {
	var veto error
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.Audit = func(context.Context, apitoken.Event) error { return veto }
	})
	info, _ := w.generate("ada")
	veto = &apitoken.ForbiddenError{Rule: "not during the freeze"}
	a := w.do("DELETE", "tokens/"+info.ID, "", apiAs("ada"))
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "Not during the freeze.", a.text("detail"))
	veto = new(apitoken.ForbiddenError)
	a = w.do("DELETE", "tokens/"+info.ID, "", apiAs("ada"))
	assert.Equal(t, "This is not allowed.", a.text("detail"))
	for _, err := range []error{
		errors.New("audit.internal"),
		fmt.Errorf("audit.internal: %w", apitoken.ErrNotFound),
		fmt.Errorf("audit.internal: %w", &apitoken.FieldError{Field: "expiry", Problem: "audit.internal"}),
	} {
		veto = err
		for _, change := range []struct{ method, body string }{{"DELETE", ""}, {"PATCH", `{"name":"x","expires_at":"2999-01-01T00:00:00Z"}`}} {
			a = w.do(change.method, "tokens/"+info.ID, change.body, apiAs("ada"))
			assert.Equal(t, http.StatusServiceUnavailable, a.status)
			assert.NotContains(t, a.body, "internal")
		}
	}
}

func TestWhoeverCannotBeToldIsNotLetIn(t *testing.T) {
	nobody := func(*http.Request) (apitoken.Actor, error) { return apitoken.Actor{}, manage.ErrNotSignedIn }
	ada := apitoken.Actor{User: "ada", Environment: "demo"}
	for _, test := range []struct {
		name   string
		edit   func(*manage.Config)
		token  bool
		status int
		code   string
	}{
		{"Identify fails", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { return ada, errors.New("redis.internal") }
		}, false, 503, "unavailable"},
		{"Identify panics", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { panic("redis.internal") }
		}, false, 503, "unavailable"},
		{"Identify panics about a request with a token", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { panic("redis.internal") }
		}, true, 503, "unavailable"},
		{"Identify forgets the error", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { return apitoken.Actor{}, nil }
		}, false, 403, "forbidden"},
		{"Identify forgets the environment", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { return apitoken.Actor{User: "ada"}, nil }
		}, false, 403, "forbidden"},
		{"Identify returns an actor and that nobody is signed in", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { return ada, fmt.Errorf("x: %w", manage.ErrNotSignedIn) }
		}, false, 401, "not_signed_in"},
		{"IdentifyToken refuses", func(c *manage.Config) {
			c.Identify = nobody
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) { return ada, errors.New("redis.internal") }
		}, true, 403, "token_not_allowed"},
		{"IdentifyToken fails", func(c *manage.Config) {
			c.Identify = nobody
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) {
				return ada, fmt.Errorf("redis.internal: %w", apitoken.ErrUnavailable)
			}
		}, true, 503, "unavailable"},
		{"IdentifyToken panics", func(c *manage.Config) {
			c.Identify = nobody
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) { panic("redis.internal") }
		}, true, 503, "unavailable"},
		{"IdentifyToken forgets the actor", func(c *manage.Config) {
			c.Identify = nobody
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) { return apitoken.Actor{}, nil }
		}, true, 403, "token_not_allowed"},
		{"IdentifyToken takes a user of the same name in another environment", func(c *manage.Config) {
			c.Identify = nobody
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) {
				return apitoken.Actor{User: "ada", Environment: "other"}, nil
			}
		}, true, 403, "token_not_allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newAPIWorld(t, func(_ *apitoken.Config, c *manage.Config) { test.edit(c) })
			_, secret := w.generate("ada")
			edit := func(*http.Request) {}
			if test.token {
				edit = apiWith(secret.Reveal())
			}
			for _, path := range []string{"permissions", "tokens"} {
				a := w.do("GET", path, "", edit)
				assert.Equal(t, test.status, a.status, a.body)
				assert.Equal(t, test.code, a.text("code"))
				assert.NotContains(t, a.body, "internal")
			}
			assert.Equal(t, test.status == 503, len(w.failed) == 2)
			assert.Equal(t, http.StatusOK, w.do("GET", "openapi.json", "").status, "which nobody has to be known for")
		})
	}
}

// What IdentifyToken returns in the field Token does not widen what a token can
// grant.
func TestATokenGrantsNoMoreThanItHasWhateverItsActorMay(t *testing.T) {
	w := newAPIWorld(t, func(_ *apitoken.Config, c *manage.Config) {
		c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) {
			catalog := c.Authority.Catalog().All()
			return apitoken.Actor{User: "ada", Environment: "demo", Grants: catalog, ManageOthers: true}, nil
		}
	})
	_, secret := w.generate("ada")
	a := w.do("POST", "tokens", `{"name":"x","permissions":["devices:write"],"never":true}`, apiWith(secret.Reveal()))
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, http.StatusOK, w.do("GET", "tokens?owner=@all", "", apiWith(secret.Reveal())).status, "the service said so")
}

func TestPathsThatAreNotThereAreNotFound(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	api, err := manage.NewAPI(w.config)
	require.NoError(t, err)
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "", 404, ""},
		{"GET", "/tokens/", 404, ""},
		{"GET", "//tokens", 404, ""},
		{"GET", "/tokens//", 404, ""},
		{"GET", "/Tokens", 404, ""},
		{"GET", "/permissions/../tokens", 404, ""},
		{"GET", "/./tokens", 404, ""},
		{"GET", "/tokens/ID/", 404, ""},
		{"GET", "/tokens/ID/history", 404, ""},
		{"POST", "/tokens/ID/rotate/", 404, ""},
		{"GET", "/tokens/ID%2F", 404, ""},
		{"GET", "/tokens%2FID", 404, ""},
		{"GET", "/tokens/..%2Ftokens", 404, ""},
		{"GET", "/tokens/%2e%2e", 404, ""},
		{"GET", "/tokens/ID%00", 404, ""},
		{"GET", "/tokens/ID%20", 404, ""},
		{"GET", "/tokens/bulk", 405, "POST"},
		{"DELETE", "/tokens/bulk", 405, "POST"},
		{"POST", "/tokens/ID%2Frotate", 405, "GET, HEAD, PATCH, DELETE"},
		{"PUT", "/tokens/ID", 405, "GET, HEAD, PATCH, DELETE"},
		{"HEAD", "/tokens/ID/rotate", 405, "POST"},
		{"OPTIONS", "/tokens", 405, "GET, HEAD, POST"},
		{"get", "/tokens", 405, "GET, HEAD, POST"},
		{"POST", "/self", 405, "GET, HEAD, DELETE"},
		{"GET", "/tokens/ID", 200, ""},
		{"GET", "tokens/ID", 200, ""}, // after StripPrefix with a slash at its end
		{"GET", "/%74okens/ID", 200, ""},
		{"GET", fmt.Sprintf("/tokens/%%%X", info.ID[0]) + info.ID[1:], 200, ""},
	} {
		path := strings.ReplaceAll(test.path, "ID", info.ID)
		r := httptest.NewRequest(test.method, "/", nil)
		r.URL = &url.URL{RawPath: path}
		r.URL.Path, _ = url.PathUnescape(path)
		apiAs("ada")(r)
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		assert.Equal(t, test.status, rec.Code, "%s %s: %s", test.method, path, rec.Body)
		assert.Equal(t, test.allow, rec.Header().Get("Allow"), test.path)
		if test.status >= 400 && test.method != "HEAD" {
			assert.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
			assert.Contains(t, rec.Body.String(), map[int]string{404: `"not_found"`, 405: `"method_not_allowed"`}[test.status])
		}
	}
}

// Wherever the API is mounted, also behind a proxy that adds a prefix which the
// service does not know, what it generates is found at the Location; and where
// the document says the server is.
func TestItWorksUnderEveryPrefix(t *testing.T) {
	w := newAPIWorld(t)
	api, err := manage.NewAPI(w.config)
	require.NoError(t, err)
	for _, prefix := range []string{"", "/manage/api", "/a/b%20c/d"} {
		service := http.Handler(api)
		if prefix != "" {
			plain, err := url.PathUnescape(prefix)
			require.NoError(t, err)
			service = http.StripPrefix(plain, api)
		}
		server := httptest.NewServer(service)
		defer server.Close()
		target, err := url.Parse(server.URL)
		require.NoError(t, err)
		proxy := httptest.NewServer(http.StripPrefix("/outer", httputil.NewSingleHostReverseProxy(target)))
		defer proxy.Close()
		for _, base := range []string{server.URL + prefix, proxy.URL + "/outer" + prefix} {
			request := func(method, url, body string) *http.Response {
				r, err := http.NewRequest(method, url, strings.NewReader(body))
				require.NoError(t, err)
				apiAs("ada")(r)
				if body != "" {
					r.Header.Set("Content-Type", "application/json")
				}
				resp, err := server.Client().Do(r)
				require.NoError(t, err)
				t.Cleanup(func() { resp.Body.Close() })
				return resp
			}
			made := request("POST", base+"/tokens", `{"name":"x","permissions":["devices:read"],"never":true}`)
			require.Equal(t, http.StatusCreated, made.StatusCode)
			location, err := made.Location()
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(location.String(), base+"/tokens/"), location)
			assert.Equal(t, http.StatusOK, request("GET", location.String(), "").StatusCode)
		}
		resp, err := http.Get(server.URL + prefix + "/openapi.json")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		want := prefix
		if want == "" {
			want = "/"
		}
		assert.Contains(t, string(body), `"servers":[{"url":"`+want+`"}]`)
	}
}

func TestNewAPIRefusesWhatItCannotWorkWith(t *testing.T) {
	w := newAPIWorld(t)
	identify := w.config.Identify
	for why, c := range map[string]manage.Config{
		"Config.Authority is missing":  {Identify: identify},
		"was not made by apitoken.New": {Authority: new(apitoken.Authority), Identify: identify},
		"Config.Identify is missing":   {Authority: w.auth},
	} {
		h, err := manage.NewAPI(c)
		assert.ErrorContains(t, err, why)
		assert.Nil(t, h)
	}
	_, err := manage.NewAPI(manage.Config{TrustedOrigins: []string{"https://acme.example", "acme.example", "https://acme.example/manage", ""}})
	_, ui := manage.NewUI(manage.Config{TrustedOrigins: []string{"https://acme.example", "acme.example", "https://acme.example/manage", ""}})
	for _, err := range []error{err, ui} {
		for _, part := range []string{"Config.Authority", "Config.Identify", `Config.TrustedOrigins[1]`, `"acme.example"`, `Config.TrustedOrigins[2]`, `Config.TrustedOrigins[3]`} {
			assert.ErrorContains(t, err, part)
		}
		assert.NotContains(t, err.Error(), "TrustedOrigins[0]")
	}
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
