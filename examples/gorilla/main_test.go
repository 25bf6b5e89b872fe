package main

import (
	"testing"

	"github.com/gorilla/mux"
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
	require.NoError(t, r.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		pattern, err := route.GetPathTemplate()
		require.NoError(t, err)
		methods, err := route.GetMethods()
		require.NoError(t, err)
		for _, method := range methods {
			routes = append(routes, apitoken.Route{Method: method, Pattern: pattern, OtherLogin: pattern == "/devices"})
		}
		return nil
	}))
	assert.Len(t, routes, 4)
	apitokentest.CheckRoutes(t, r, routes, "GET /healthz")
}
