package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestThePageOpensAStreamAndADownloadWithTokensOfOneRouteEach(t *testing.T) {
	auth, err := newAuthority()
	require.NoError(t, err)
	defer auth.Close()
	server := httptest.NewServer(newHandler(auth))
	defer server.Close()
	ada := auth.As(apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: catalog.All()})
	in, parent, err := ada.Generate(t.Context(), apitoken.GenerateParams{Name: "n", Permissions: catalog.All(), Expiry: apitoken.Never()})
	require.NoError(t, err)
	send := func(method, path, token string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		require.NoError(t, err)
		if token != "" {
			r.Header.Set("Authorization", "apiToken "+token)
		}
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	derive := func(route string) string {
		res := send("POST", "/links/"+route, parent.Reveal())
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode, "%s", text)
		return string(text)
	}
	events, download := derive("events"), derive("devices.csv")

	shown, err := io.ReadAll(send("GET", "/", "").Body)
	require.NoError(t, err)
	assert.Contains(t, string(shown), `new EventSource("/events?apiToken="`)
	assert.Equal(t, 200, send("GET", "/devices.csv?apiToken="+download, "").StatusCode)
	assert.Equal(t, 403, send("GET", "/devices.csv?apiToken="+events, "").StatusCode, "it is for another route")
	assert.Equal(t, 400, send("GET", "/devices.csv?apiToken="+parent.Reveal(), "").StatusCode, "it is valid for too long")
	assert.Equal(t, 403, send("POST", "/links/events", events).StatusCode, "no token is derived from a derived one")

	stream := bufio.NewReader(send("GET", "/events?apiToken="+events, "").Body)
	line, err := stream.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "data: device 1 of ada\n", line)
	_, err = ada.Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	rest, err := io.ReadAll(stream)
	require.NoError(t, err, "the stream ends")
	assert.Less(t, strings.Count(string(rest), "data:"), 120)
	assert.Equal(t, 401, send("GET", "/events?apiToken="+events, "").StatusCode)
}
