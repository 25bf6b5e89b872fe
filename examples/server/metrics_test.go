package main

import (
	"net"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestMetricsAreOpenOnLoopbackOnlyUnlessAFlagSaysSo(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	assert.Equal(t, 200, n.do("GET", "/api/devices?apiToken="+n.reader, "").StatusCode)
	assert.Equal(t, 403, n.do("POST", "/api/devices", "{}", "Authorization: apiToken "+n.reader).StatusCode)
	assert.Equal(t, 401, n.do("GET", "/api/devices", "").StatusCode)
	page := n.do("GET", "/metrics", "")
	assert.Equal(t, 200, page.StatusCode)
	for _, line := range []string{
		`apitoken_decisions_total{outcome="accepted",pattern="GET /api/devices",reason=""} 1`,
		`apitoken_decisions_total{outcome="refused",pattern="POST /api/devices",reason="missing_permission"} 1`,
		`apitoken_decisions_total{outcome="refused",pattern="GET /api/devices",reason="no_token"} 1`,
		`apitoken_decision_seconds_count 3`,
		`apitoken_refusals_total{reason="no_token"} 1`,
	} {
		assert.Contains(t, page.body, line+"\n")
	}
	assert.NotContains(t, page.body, n.reader[:len("demo_")+17], "the ID of a token")
	assert.NotContains(t, page.body, "ada")

	for ip, loopback := range map[string]bool{"127.0.0.1": true, "127.1.2.3": true, "::1": true, "0.0.0.0": false, "::": false, "192.0.2.1": false} {
		addr := &net.TCPAddr{IP: net.ParseIP(ip), Port: 80}
		assert.Equal(t, loopback, served(addr, false), ip)
		assert.True(t, served(addr, true), ip)
	}
	auth, err := apitoken.New(apitoken.Config{Prefix: "demo", Permissions: &catalog, Store: memory.New()})
	require.NoError(t, err)
	h, err := newHandler(auth, newSignIn(nil, noFront(t)), nil)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, 404, w.Code)
}
