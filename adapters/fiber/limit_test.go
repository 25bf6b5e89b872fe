package apitokenfiber_test

import (
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokenfiber "github.com/apitoken-go/apitoken/adapters/fiber"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestARequestCountsOnceBehindTwoGuardsAndOneOverTheLimitIsToldWhenToTryAgain(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "test", Permissions: &catalog, Store: memory.New(),
		Limits: apitoken.Limits{Token: apitoken.Limit{Requests: 2, Per: 48 * time.Hour, Burst: 2}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	addr := serve(t, auth, fiber.Config{}, apitokenfiber.Guard(auth, apitoken.AnyToken()))
	token := apitokentest.Token(t, auth, readDevices)
	field := "Authorization: apiToken " + token + "\r\n"
	for i, request := range []string{"/devices/1 HTTP/1.1\r\n" + field, "/devices/1?apiToken=" + token + " HTTP/1.1\r\n"} {
		resp, _ := exchange(t, addr, "GET "+request+"Host: x\r\n\r\n")
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, []string{`"token";q=2;w=172800`}, resp.Header.Values("RateLimit-Policy"))
		assert.Regexp(t, `^"token";r=`+[]string{"1", "0"}[i]+`;t=\d+$`, resp.Header.Get("RateLimit"))
	}
	resp, body := exchange(t, addr, "GET /devices/1 HTTP/1.1\r\n"+field+"Host: x\r\n\r\n")
	assert.Equal(t, 429, resp.StatusCode)
	assert.NotEmpty(t, resp.Header.Get("Retry-After"))
	assert.Equal(t, []string{`"token";q=2;w=172800`}, resp.Header.Values("RateLimit-Policy"))
	assert.Regexp(t, `^"token";r=0;t=\d+$`, resp.Header.Get("RateLimit"))
	assert.Empty(t, resp.Header.Get("WWW-Authenticate"))
	assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	assert.Contains(t, body, "#rate-limited")
	assert.NotContains(t, body, "tester")
}
