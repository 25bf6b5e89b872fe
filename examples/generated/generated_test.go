// Package generated tests that a client which is generated from the OpenAPI
// document of the management API compiles and works.
package generated

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/oapi-codegen/runtime" // generated code imports it
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestAClientOfOapiCodegen(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a generator and what it makes")
	}
	dir := t.TempDir()
	run := func(env []string, program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), env...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%s%s", out, &stderr)
		return string(out)
	}
	// The tools have a go.mod of their own, with which go.work cannot be used.
	alone := []string{"GOWORK=off"}
	code := run(alone, "go", "tool", "-modfile=../../tools/go.mod", "oapi-codegen",
		"-generate", "types,client", "-package", "main", "../../manage/internal/api/openapi.json")
	client := filepath.Join(dir, "client.go")
	require.NoError(t, os.WriteFile(client, []byte(code), 0o666))

	// An overlay has the go command see a package where there is none, in this
	// module, whose go.mod has what it imports.
	here, err := os.Getwd()
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, "program", "client.go"):  client,
		filepath.Join(here, "program", "program.go"): filepath.Join(here, "testdata", "program.go"),
	}})
	require.NoError(t, err)
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(file, overlay, 0o666))
	run(alone, "go", "build", "-overlay="+file, "-o", program, "./program")

	var catalog apitoken.Catalog
	readDevices := catalog.Define("devices:read", "See devices")
	catalog.Resource("device", "Device")
	key, err := apitoken.NewKey("k", []byte("a key of 32 bytes for this test!"))
	require.NoError(t, err)
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(), IntegrityKeys: []apitoken.Key{key}})
	require.NoError(t, err)
	defer auth.Close()
	api, err := manage.NewAPI(manage.Config{
		Authority: auth,
		Identify:  func(*http.Request) (apitoken.Actor, error) { return apitoken.Actor{}, manage.ErrNotSignedIn },
		IdentifyToken: func(_ *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
			return apitoken.Actor{User: tok.Owner(), Environment: tok.Environment(), Grants: tok.Permissions()}, nil
		},
	})
	require.NoError(t, err)
	server := httptest.NewServer(http.StripPrefix("/tokens-api", api))
	defer server.Close()
	said := run([]string{"API_URL=" + server.URL + "/tokens-api", "API_TOKEN=" + apitokentest.Token(t, auth, readDevices)}, program)
	assert.Equal(t, `self: tester [devices:read]
generated: made by a client true true
limited: [device:7 device:8] 100/1m/20
derived: 200 true
more: 400 only
listed: 1 true
updated: false inactive [device:8] 50/1m/20
stale: 412 Version not current
deleted: 204
kept: 200 deleted
again: 404 Not found
refused: 401 API token required
`, said)
}
