package main

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/examples/internal/probe"
)

func TestRequestsAreAnsweredAsEverywhere(t *testing.T) { probe.Run(t, &catalog, newHandler) }

func TestEveryRouteIsProtectedOrDeclaredOpen(t *testing.T) {
	r := newRouter(apitokentest.New(t, &catalog))
	var routes []apitoken.Route
	require.NoError(t, chi.Walk(r, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routes = append(routes, apitoken.Route{Method: method, Pattern: pattern, OtherLogin: pattern == "/devices"})
		return nil
	}))
	assert.Len(t, routes, 4)
	apitokentest.CheckRoutes(t, r, routes, "GET /healthz")
}
