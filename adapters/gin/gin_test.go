package apitokengin_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokengin "github.com/apitoken-go/apitoken/adapters/gin"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

// engine serves a route that needs devices:read behind Guard, and counts how
// often its handler was called.
func engine(auth *apitoken.Authority, before ...gin.HandlerFunc) (e *gin.Engine, called *int) {
	gin.SetMode(gin.TestMode)
	called = new(int)
	e = gin.New()
	e.Use(before...)
	e.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(readDevices)), func(c *gin.Context) {
		*called++
		tok, ok := apitoken.FromContext(c.Request.Context())
		_, same := apitoken.FromContext(c)
		c.String(http.StatusOK, "%s %t %t %s %q", tok.Owner(), ok, same, c.Param("id"), c.Query("apiToken"))
	})
	return e, called
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNoHandlerRunsAfterARefusal(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	e, called := engine(auth)
	for token, status := range map[string]int{"": 401, "x": 401, apitokentest.Token(t, auth, writeDevices): 403, "a b": 400} {
		w := send(e, apitokentest.Request("GET", "/devices/1", token))
		assert.Equal(t, status, w.Code)
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	}
	assert.Zero(t, *called)
}

func TestHandlersFindTheToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	e, called := engine(auth)
	token := apitokentest.Token(t, auth, readDevices)
	assert.Equal(t, `tester true true 1 ""`, send(e, apitokentest.Request("GET", "/devices/1", token)).Body.String())
	e.ContextWithFallback = true
	assert.Equal(t, `tester true true 1 ""`, send(e, apitokentest.Request("GET", "/devices/1?apiToken="+token, "")).Body.String())
	assert.Equal(t, 2, *called)
}

func TestAGroupIsGuardedByUse(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	e := gin.New()
	group := e.Group("/api", apitokengin.Guard(auth, apitoken.All(readDevices)))
	group.GET("/a", func(c *gin.Context) { c.String(http.StatusTeapot, "called") })
	token := apitokentest.Token(t, auth, readDevices)
	assert.Equal(t, 401, send(e, apitokentest.Request("GET", "/api/a", "")).Code)
	assert.Equal(t, http.StatusTeapot, send(e, apitokentest.Request("GET", "/api/a", token)).Code)
}

func TestTheTokenInTheQueryReachesNoLogAndNoCacheOfGin(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	var log bytes.Buffer
	early := func(c *gin.Context) { c.Query("x") } // makes gin keep the parsed query
	e, _ := engine(auth, gin.LoggerWithWriter(&log), early)
	token := apitokentest.Token(t, auth, readDevices)
	w := send(auth.HideQueryToken(e), apitokentest.Request("GET", "/devices/1?apiToken="+token, ""))
	assert.Equal(t, `tester true true 1 ""`, w.Body.String())
	assert.Contains(t, log.String(), "/devices/1")
	assert.NotContains(t, log.String(), token)
}

func TestEventsNameTheRouteAndRequestsOfNoRouteNameNone(t *testing.T) {
	var patterns []string
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(),
		Observe: func(_ context.Context, ev apitoken.Event) { patterns = append(patterns, ev.Pattern) }})
	require.NoError(t, err)
	e, _ := engine(auth)
	e.NoRoute(apitokengin.Guard(auth, apitoken.AnyToken()))
	send(e, apitokentest.Request("GET", "/devices/12345", ""))
	send(e, apitokentest.Request("GET", "/nowhere/12345", ""))
	assert.Equal(t, []string{"GET /devices/:id", ""}, patterns)
}

func TestARequirementThatNoTokenMeetsPanicsAtTheStart(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	assert.Panics(t, func() { apitokengin.Guard(auth, apitoken.Requirement{}) })
}

func TestAnotherLoginDecidesAboutRequestsWithoutAToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	gin.SetMode(gin.TestMode)
	e := gin.New()
	called := 0
	sessions := func(c *gin.Context) {
		if c.GetHeader("X-Session") == "" {
			c.AbortWithStatus(http.StatusTeapot)
			return
		}
		c.Set("user", "ada")
		c.Next()
	}
	e.GET("/devices/:id", apitokengin.GuardOr(auth, apitoken.All(readDevices), sessions), func(c *gin.Context) {
		called++
		tok, found := apitoken.FromContext(c)
		c.String(http.StatusOK, "%s %t %s %s", tok.Owner(), found, c.GetString("user"), c.Param("id"))
	})
	for _, row := range []struct {
		token   string
		session bool
		status  int
		body    string
	}{
		{"", false, http.StatusTeapot, ""},
		{"", true, 200, " false ada 1"},
		{apitokentest.Token(t, auth, readDevices), true, 200, "tester true  1"},
		{apitokentest.Token(t, auth, writeDevices), true, 403, ""},
		{"x", true, 401, ""},
	} {
		before := called
		r := apitokentest.Request("GET", "/devices/1", row.token)
		if row.session {
			r.Header.Set("X-Session", "1")
		}
		w := send(e, r)
		assert.Equal(t, row.status, w.Code, row)
		if row.status != 200 {
			assert.Equal(t, before, called)
			continue
		}
		assert.Equal(t, before+1, called)
		assert.Equal(t, row.body, w.Body.String())
	}
	assert.Panics(t, func() { apitokengin.GuardOr(auth, apitoken.AnyToken(), nil) })
}

// gin runs the next handler after a recovery that does not abort.
func TestAnotherLoginThatPanicsOpensNothing(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	gin.SetMode(gin.TestMode)
	called := 0
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.String(http.StatusInternalServerError, "oh") }))
	e.GET("/", apitokengin.GuardOr(auth, apitoken.AnyToken(), func(*gin.Context) { panic("the sessions are gone") }),
		func(c *gin.Context) { called++ })
	w := send(e, apitokentest.Request("GET", "/", ""))
	assert.Equal(t, 500, w.Code)
	assert.Equal(t, "oh", w.Body.String())
	assert.Zero(t, called)
}
