package apitokenfiber_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokenfiber "github.com/apitoken-go/apitoken/adapters/fiber"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

func TestALimitedTokenGetsNothingElseFromAServiceOfFiber(t *testing.T) {
	for name, routes := range map[string]int{"decoded path": 100, "raw path": 30} {
		t.Run(name, func(t *testing.T) {
			unescape := name == "decoded path"
			s := resourcetest.New(t, 1, routes, resourcetest.Framework{
				Param: func(name string) string { return ":" + name }, Rest: func(string) string { return "*" },
				Value: apitokenfiber.Params, Raw: !unescape,
				RestValue: func(name string) func(*http.Request) string {
					if name == "id" {
						name = "*"
					}
					return apitokenfiber.Params(name)
				},
			})
			app := fiber.New(fiber.Config{UnescapePath: unescape})
			for _, r := range s.Routes {
				var group fiber.Router = app
				last := len(r.Guards) - 1
				for i, guard := range r.Guards[:last] {
					group = group.Group(r.Prefixes[i], apitokenfiber.Guard(s.Auth, guard))
				}
				group.Get(r.Prefixes[last], apitokenfiber.Guard(s.Auth, r.Guards[last]), func(c fiber.Ctx) error {
					tok, _ := apitoken.FromContext(c.Context())
					id := c.Params("id")
					if r.IsRest() {
						id = c.Params("*")
					}
					status, body := r.Answer(tok, id)
					return c.Status(status).SendString(body)
				})
			}
			s.Check(t, func(c resourcetest.Call) (int, string) {
				resp, err := app.Test(c.Request(), fiber.TestConfig{Timeout: 2 * time.Minute})
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				return resp.StatusCode, string(body)
			})
		})
	}
}

// fiber uses its context again for another request.
func TestAParameterIsUnknownAfterTheGuard(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device := catalog.Resource("device", "Device")
	auth := apitokentest.New(t, &catalog)
	app := fiber.New()
	called := false
	app.Get("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(read).On(device, apitokenfiber.Params("id"))), func(c fiber.Ctx) error {
		called = true
		tok, _ := apitoken.FromContext(c.Context())
		_, err := auth.Recheck(c.Context(), tok, apitoken.All(read).On(device, apitokenfiber.Params("id")))
		assert.Error(t, err)
		_, err = auth.Recheck(c.Context(), tok, apitoken.All(read).On(device, apitoken.ID(c.Params("id"))))
		assert.NoError(t, err)
		return nil
	})
	resp, err := app.Test(apitokentest.Request("GET", "/devices/1", apitokentest.Token(t, auth, read)), fiber.TestConfig{Timeout: 2 * time.Minute})
	require.NoError(t, err)
	assert.Equal(t, 200, resp.StatusCode)
	assert.True(t, called)
	assert.Empty(t, apitokenfiber.Params("id")(apitokentest.Request("GET", "/devices/1", "")), "of a request that fiber does not know")
}
