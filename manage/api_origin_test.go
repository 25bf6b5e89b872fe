package manage_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/manage"
)

func TestARequestThatAnotherSiteMakesIsRefused(t *testing.T) {
	testserver.Unwatched(t)
	c := newAPICase(t, nil)
	for _, row := range apiRows {
		for _, test := range []struct {
			name    string
			edit    func(*http.Request)
			refused bool
		}{
			{"from another site", apiHeader("Sec-Fetch-Site", "cross-site"), true},
			{"from the same site but another origin", apiHeader("Sec-Fetch-Site", "same-site"), true},
			{"with the origin of another host", apiHeader("Origin", "https://example.org"), true},
			{"with the origin null", apiHeader("Origin", "null"), true},
			{"from the same origin", apiHeader("Sec-Fetch-Site", "same-origin"), false},
			{"by the user", apiHeader("Sec-Fetch-Site", "none"), false},
		} {
			both := func(r *http.Request) { apiAs("ada")(r); apiWith(c.weak)(r) }
			for _, who := range []func(*http.Request){apiAs("ada"), both, func(*http.Request) {}, apiHeader("Authorization", "Basic YWRhOg==")} {
				if row.method != "GET" && !test.refused {
					continue // the matrix has them without these header fields
				}
				fill := strings.NewReplacer("{id}", c.target.ID).Replace
				a := c.do(row.method, fill(row.path), fill(row.body), who, test.edit)
				if row.method == "GET" {
					assert.NotEqual(t, "cross_origin", a.text("code"))
					continue
				}
				assert.Equal(t, http.StatusForbidden, a.status, "%s %s %s", row.method, row.path, test.name)
				assert.Equal(t, "cross_origin", a.text("code"))
			}
		}
	}
	for _, site := range []string{"same-origin", "none"} {
		a := c.do("PATCH", "tokens/"+c.target.ID, `{}`, apiAs("ada"), apiHeader("Sec-Fetch-Site", site))
		assert.Equal(t, http.StatusOK, a.status)
	}
}

// A browser adds no API token to the requests of a page of another site. The page can
// add one if CORS lets it.
func TestAPageOfAnotherOriginCanUseATokenWhereNobodyIsSignedIn(t *testing.T) {
	for _, from := range []func(*http.Request){
		apiHeader("Sec-Fetch-Site", "cross-site"), apiHeader("Sec-Fetch-Site", "same-site"), apiHeader("Origin", "https://example.org"), apiHeader("Origin", "null"),
	} {
		c := newAPICase(t, nil)
		stranger := apiHeader("Cookie", "theme=dark")
		a := c.do("POST", "tokens", `{"name":"x","permissions":["devices:read"],"never":true}`, apiWith(c.weak), from, stranger)
		assert.Equal(t, http.StatusCreated, a.status, a.body)
		a = c.do("PATCH", "tokens/"+c.target.ID, `{"active":false}`, apiWith("acme_wrong"), from)
		assert.Equal(t, http.StatusUnauthorized, a.status, a.body)
		a = c.do("PATCH", "tokens/"+c.target.ID, `{"active":false}`, apiAs("ada"), apiWith("acme_wrong"), from)
		assert.Equal(t, "cross_origin", a.text("code"), "the API refuses the request before it looks at the token")
		a = c.do("DELETE", "self", "", apiWith(c.weak), from)
		assert.Equal(t, http.StatusNoContent, a.status, a.body)
		in, err := c.ada().Get(t.Context(), c.target.ID)
		require.NoError(t, err)
		assert.Equal(t, c.target.Version, in.Version)
	}
}

func TestTrustedOriginsMayUseASession(t *testing.T) {
	w := newAPIWorld(t, func(_ *apitoken.Config, c *manage.Config) {
		c.TrustedOrigins = []string{"https://acme.example", "https://acme.example:8443"}
	})
	for _, c := range []struct {
		origin, site string
		status       int
	}{
		{"https://acme.example", "", 201}, {"https://acme.example:8443", "", 201}, {"https://acme.example", "cross-site", 201},
		{"http://acme.example", "", 403}, {"https://acme.example.evil.example", "", 403}, {"null", "", 403}, {"", "cross-site", 403},
	} {
		edit := func(r *http.Request) {
			r.Host = "10.0.0.1:8080" // like a proxy that does not pass the Host on
			apiAs("ada")(r)
			for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
		}
		assert.Equal(t, c.status, w.do("POST", "tokens", `{"name":"x","permissions":["devices:read"],"never":true}`, edit).status, "%v", c)
	}
}

func TestASessionIsNoRefusalOfAToken(t *testing.T) {
	observed := 0
	w := newAPIWorld(t, func(core *apitoken.Config, _ *manage.Config) {
		core.Observe = func(_ context.Context, ev apitoken.Event) {
			if ev.Reason == apitoken.ErrNoToken {
				observed++
			}
		}
	})
	for _, path := range []string{"permissions", "tokens", "tokens?q=x"} {
		assert.Equal(t, http.StatusOK, w.do("GET", path, "", apiAs("ada")).status)
		assert.Equal(t, http.StatusOK, w.do("GET", path, "", apiAs("ada"), apiHeader("Authorization", "Basic YWRhOg==")).status)
	}
	assert.Zero(t, observed)
	assert.Zero(t, w.auth.Stats().Refused[apitoken.ErrNoToken])
	assert.Equal(t, http.StatusUnauthorized, w.do("GET", "tokens", "").status)
	assert.Equal(t, 1, observed)
	assert.EqualValues(t, 1, w.auth.Stats().Refused[apitoken.ErrNoToken])
}

func TestAnActorThatLacksAFieldIsNamed(t *testing.T) {
	ada := apitoken.Actor{User: "ada"}
	for _, c := range []struct {
		edit  func(*manage.Config)
		token bool
		says  string
	}{
		{func(c *manage.Config) { c.Identify = func(*http.Request) (apitoken.Actor, error) { return ada, nil } }, false,
			"Config.Identify returned an actor without Environment."},
		{func(c *manage.Config) {
			c.Identify = func(*http.Request) (apitoken.Actor, error) { return apitoken.Actor{}, nil }
		}, false, "Config.Identify returned an actor without User and Environment."},
		{func(c *manage.Config) {
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) { return ada, nil }
		}, true, "Config.IdentifyToken returned an actor without Environment."},
		{func(c *manage.Config) {
			c.IdentifyToken = func(*http.Request, apitoken.Token) (apitoken.Actor, error) {
				return apitoken.Actor{User: "ada", Environment: "other"}, nil
			}
		}, true, "Config.IdentifyToken returned an actor whose Environment is not that of the token."},
	} {
		w := newAPIWorld(t, func(_ *apitoken.Config, config *manage.Config) { c.edit(config) })
		_, secret := w.generate("ada")
		who := func(*http.Request) {}
		if c.token {
			who = apiWith(secret.Reveal())
		}
		a := w.do("GET", "tokens", "", who)
		assert.Equal(t, http.StatusForbidden, a.status)
		assert.Equal(t, c.says, a.text("detail"))
	}
}
