package manage_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

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
	require.Len(t, w.stored(), 1)
	a = w.do("GET", "tokens?status=deleted", "", apiAs("ada"))
	assert.Equal(t, http.StatusOK, a.status)
	assert.Contains(t, a.body, `"deleted_by":"ada"`, "and its history is left")
	assert.Contains(t, a.body, `"action":"delete"`)
	a = w.do("PATCH", "tokens/"+info.ID, `{"active":true}`, apiAs("ada"))
	assert.Equal(t, http.StatusNotFound, a.status)
}

func TestATokenNarrowsRotatesAndDeactivatesItselfAndNothingElse(t *testing.T) {
	w := newAPIWorld(t, func(_ *apitoken.Config, c *manage.Config) { c.IdentifyToken = nil })
	info, secret := w.generate("ada", func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{w.read, w.write} })
	sibling, _ := w.generate("ada")
	old := apiWith(secret.Reveal())
	a := w.do("PATCH", "self", `{"permissions":["devices:read"],"expires_at":"2999-01-01T00:00:00Z"}`, old)
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, []any{"devices:read"}, a.at("permissions"))
	line := a.at("history").([]any)[0].(map[string]any)
	assert.Equal(t, info.ID, line["via"])
	assert.Equal(t, "192.0.2.1", line["address"])
	for _, body := range []string{`{"permissions":["devices:read","devices:write"]}`, `{"never":true}`, `{"name":"other"}`} {
		a = w.do("PATCH", "self", body, old)
		assert.Equal(t, http.StatusForbidden, a.status, body)
		assert.Equal(t, "forbidden", a.text("code"))
	}
	a = w.do("PATCH", "self", `{"active":false}`, old, apiHeader("If-Match", `"1"`))
	assert.Equal(t, http.StatusPreconditionFailed, a.status)

	a = w.do("POST", "self/rotate", `{"overlap":"1h"}`, old, apiHeader("Idempotency-Key", "k"))
	assert.Equal(t, http.StatusBadRequest, a.status, "a secret is not shown again by token")
	a = w.do("POST", "self/rotate", `{"overlap":"1h"}`, old)
	require.Equal(t, http.StatusOK, a.status, a.body)
	newest := apiWith(a.text("secret"))
	for _, r := range []struct{ method, path, body string }{
		{"POST", "self/rotate", `{"overlap":"0s"}`}, {"PATCH", "self", `{"permissions":[]}`},
	} {
		a = w.do(r.method, r.path, r.body, old)
		assert.Equal(t, http.StatusForbidden, a.status, r.path)
		assert.Equal(t, "forbidden", a.text("code"))
	}
	assert.Equal(t, http.StatusOK, w.do("GET", "self", "", old).status)
	for _, path := range []string{"self/reveal", "self/end-overlap", "self/activate"} {
		assert.Equal(t, http.StatusNotFound, w.do("POST", path, "", newest).status, "there is no such operation")
	}
	a = w.do("POST", "tokens/"+sibling.ID+"/rotate", `{"overlap":"0s"}`, newest)
	assert.Equal(t, "token_not_allowed", a.text("code"))

	a = w.do("POST", "self/deactivate", "", old)
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, "inactive", a.text("status"))
	assert.Equal(t, http.StatusUnauthorized, w.do("GET", "self", "", newest).status)
	assert.Equal(t, http.StatusOK, w.do("PATCH", "tokens/"+info.ID, `{"active":true}`, apiAs("ada")).status)
}

// What a token makes ends with it: what the request leaves out it has from the token.
func TestATokenMakesNoTokenThatGoesBeyondIt(t *testing.T) {
	w := newAPIWorld(t)
	info, secret := w.generate("ada", func(g *apitoken.GenerateParams) {
		g.Expiry, g.Networks = apitoken.In(time.Hour), mustNetworks("192.0.2.0/24")
	})
	with := apiWith(secret.Reveal())
	a := w.do("POST", "tokens", `{"name":"child","permissions":["devices:read"]}`, with)
	require.Equal(t, http.StatusCreated, a.status, a.body)
	assert.Equal(t, info.ID, a.text("token", "created_with"))
	assert.Equal(t, info.ExpiresAt.Format(time.RFC3339Nano), a.text("token", "expires_at"))
	assert.Equal(t, []any{"192.0.2.0/24"}, a.at("token", "allowed_networks"))
	for body, field := range map[string]string{
		`"never":true`:                                               "never",
		`"expires_in":"61m"`:                                         "expires_in",
		`"expires_at":"2999-01-01T00:00:00Z"`:                        "expires_at",
		`"expires_in":"1m","allowed_networks":["0.0.0.0/0"]`:         "allowed_networks",
		`"expires_in":"1m","allowed_networks":["192.0.0.0/16"]`:      "allowed_networks",
		`"never":true,"allowed_networks":["::/0"],"not_before":null`: "never",
	} {
		a = w.do("POST", "tokens", `{"name":"child","permissions":["devices:read"],`+body+`}`, with)
		assert.Equal(t, http.StatusBadRequest, a.status, body)
		assert.Equal(t, field, a.text("field"), a.body)
	}
	forever, by := w.generate("ada")
	a = w.do("POST", "tokens", `{"name":"child","permissions":["devices:read"]}`, apiWith(by.Reveal()))
	assert.Equal(t, "expires_in", a.text("field"), "%s never expires, and gives no expiry", forever.ID)
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

func TestARequestOfUnknownIdentityIsRefused(t *testing.T) {
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
		{"Identify did not find the user in a store of its own", func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) {
				return ada, fmt.Errorf("redis.internal: %w", apitoken.ErrNotFound)
			}
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
		{"IdentifyToken fails as it cannot tell whether there is such a user", func(c *manage.Config) {
			c.Identify = nobody
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) {
				return ada, fmt.Errorf("redis.internal: %w: %w", apitoken.ErrNotFound, apitoken.ErrUnavailable)
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

// The field Token of the actor from IdentifyToken does not add to what a token can
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
