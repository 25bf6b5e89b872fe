package apitokenfiber_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokenfiber "github.com/apitoken-go/apitoken/adapters/fiber"
	"github.com/apitoken-go/apitoken/internal/test/limittest"
)

func TestARequestCountsOnceBehindTwoGuardsAndOneOverTheLimitIsToldWhenToTryAgain(t *testing.T) {
	limittest.Check(t, &catalog, readDevices, func(auth *apitoken.Authority) limittest.Service {
		called := 0
		count := func(fiber.Ctx) error { called++; return nil }
		app := fiber.New()
		app.Use(func(c fiber.Ctx) error {
			for name, values := range limittest.Gateway() {
				c.Set(name, values[0])
			}
			return c.Next()
		})
		app.Get("/devices", apitokenfiber.Guard(auth, apitoken.AnyToken()), apitokenfiber.Guard(auth, apitoken.All(readDevices)), count)
		app.Get("/other", apitokenfiber.GuardOr(auth, apitoken.All(readDevices), count), count)
		call := func(target string) limittest.Call {
			return func(token string, query bool) (int, http.Header, string) {
				resp, err := app.Test(limittest.Request(target, token, query), fiber.TestConfig{Timeout: 2 * time.Minute})
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				return resp.StatusCode, resp.Header, string(body)
			}
		}
		return limittest.Service{Call: call("/devices"), Or: call("/other"), Called: &called}
	})
}
