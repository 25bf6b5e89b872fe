package apitokenhuma_test

import (
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
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
	s := newService(auth)
	group := huma.NewGroup(s.api, "/v1")
	group.UseMiddleware(s.guard.Middleware(apitoken.AnyToken()))
	huma.Register(group, s.guard.Operation(get("/devices/{id}"), apitoken.All(readDevices)), s.device)
	token := apitokentest.Token(t, auth, readDevices)
	for i, target := range []string{"/v1/devices/1", "/v1/devices/1?apiToken=" + token} {
		r := apitokentest.Request("GET", target, "")
		if i == 0 {
			r = apitokentest.Request("GET", target, token)
		}
		w := s.send(r)
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, []string{`"token";q=2;w=172800`}, w.Header().Values("RateLimit-Policy"))
		assert.Regexp(t, `^"token";r=`+[]string{"1", "0"}[i]+`;t=\d+$`, w.Header().Get("RateLimit"))
	}
	w := s.send(apitokentest.Request("GET", "/v1/devices/1", token))
	assert.Equal(t, 429, w.Code)
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
	assert.Equal(t, []string{`"token";q=2;w=172800`}, w.Header().Values("RateLimit-Policy"))
	assert.Regexp(t, `^"token";r=0;t=\d+$`, w.Header().Get("RateLimit"))
	assert.Empty(t, w.Header().Get("WWW-Authenticate"))
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	assert.Contains(t, w.Body.String(), "#rate-limited")
	assert.Equal(t, 2, s.called)
}
