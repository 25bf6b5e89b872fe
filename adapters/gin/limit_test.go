package apitokengin_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokengin "github.com/apitoken-go/apitoken/adapters/gin"
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
	e, called := engine(auth, apitokengin.Guard(auth, apitoken.AnyToken()))
	e.GET("/other", apitokengin.GuardOr(auth, apitoken.AnyToken(), func(c *gin.Context) { c.AbortWithStatus(http.StatusTeapot) }),
		func(c *gin.Context) { *called++ })
	token := apitokentest.Token(t, auth, readDevices)
	for i, target := range []string{"/devices/1", "/devices/1?apiToken=" + token} {
		r := apitokentest.Request("GET", target, "")
		if i == 0 {
			r = apitokentest.Request("GET", target, token)
		}
		w := send(e, r)
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, []string{`"token";q=2;w=172800`}, w.Header().Values("RateLimit-Policy"))
		assert.Regexp(t, `^"token";r=`+[]string{"1", "0"}[i]+`;t=\d+$`, w.Header().Get("RateLimit"))
	}
	for _, target := range []string{"/devices/1", "/other"} {
		w := send(e, apitokentest.Request("GET", target, token))
		assert.Equal(t, 429, w.Code)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.Equal(t, []string{`"token";q=2;w=172800`}, w.Header().Values("RateLimit-Policy"))
		assert.Regexp(t, `^"token";r=0;t=\d+$`, w.Header().Get("RateLimit"))
		assert.Empty(t, w.Header().Get("WWW-Authenticate"))
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		assert.Contains(t, w.Body.String(), "#rate-limited")
	}
	assert.Equal(t, 2, *called)
}
