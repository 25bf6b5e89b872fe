package main

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestTheStartPageLeadsToWhatItNames(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{Prefix: "demo", Permissions: &catalog, Store: memory.New()})
	require.NoError(t, err)
	defer auth.Close()
	h, err := newHandler(auth, newSignIn(nil, noFront(t)), nil)
	require.NoError(t, err)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://devices.example"+path, nil))
		return w
	}
	page := get("/")
	assert.Contains(t, page.Body.String(), "curl -H 'Authorization: apiToken TOKEN' http://devices.example/api/devices")
	assert.Contains(t, page.Header().Get("Content-Security-Policy"), "style-src 'sha256-")
	links := regexp.MustCompile(`href="([^"]+)">([A-Z]+ )?`).FindAllStringSubmatch(page.Body.String(), -1)
	require.Len(t, links, 3)
	for _, link := range links {
		code := get(link[1]).Code
		assert.Equal(t, map[bool]int{true: 401, false: 200}[link[1] == "/api/devices"], code, link[1])
	}
	var document map[string]any
	require.NoError(t, json.Unmarshal(get("/manage/api/openapi.json").Body.Bytes(), &document))
	assert.Equal(t, "/manage/api", document["servers"].([]any)[0].(map[string]any)["url"])
}
