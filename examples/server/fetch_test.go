package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A client of another language: browser/fetch.test.mjs, with what
// browser/package.json names.
func TestOpenAPIFetch(t *testing.T) {
	javascript, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js 20 or newer (Debian: nodejs, npm)")
	}
	if _, err := os.Stat(filepath.Join("browser", "node_modules", "openapi-fetch")); err != nil {
		t.Skip("needs openapi-fetch (npm ci --prefix examples/server/browser)")
	}
	dir := t.TempDir()
	n := start(t, dir, nil)
	tests := exec.CommandContext(t.Context(), javascript, "--test", "--test-reporter=spec", "fetch.test.mjs")
	tests.Dir = "browser"
	tests.Env = append(os.Environ(), "SERVER_URL="+n.url, "API_TOKEN="+generate(t, dir, "admin", readDevices, manageTokens))
	out, err := tests.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
