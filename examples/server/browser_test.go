package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheWebPageInABrowser(t *testing.T) {
	inABrowser(t, "use")
}

// That every state is accessible, and shows hostile names as text.
func TestEveryStateOfTheWebPageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	inABrowser(t, "states")
}

// The web page is tested in a real browser by browser/page.test.mjs, with what
// browser/package.json names. SERVER_URL and SERVER_PASSWORD tell it where the
// server is and how its users sign in, CHROMIUM is the path of the browser, and PART
// is what of it to test.
func inABrowser(t *testing.T, part string) {
	t.Helper()
	// A skip, or a failure where everything has to be there.
	lacking := t.Skip
	if os.Getenv("APITOKEN_REQUIRE_SERVERS") == "1" {
		lacking = t.Fatal
	}
	chromium := ""
	// The first has no window to draw, which takes most of the others' time.
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		lacking("needs Chromium (Debian: chromium-headless-shell, and fonts-noto-color-emoji)")
	}
	javascript, err := exec.LookPath("node")
	if err != nil {
		lacking("needs Node.js 20 or newer (Debian: nodejs, npm)")
	}
	if _, err := os.Stat(filepath.Join("browser", "node_modules", "playwright-core")); err != nil {
		lacking("needs playwright-core and axe-core (npm ci --prefix examples/server/browser)")
	}

	n := start(t, t.TempDir(), []string{"DEMO_PASSWORD=browser test"}, "-store", "memory:")
	tests := exec.CommandContext(t.Context(), javascript, "--test", "--test-reporter=spec", "page.test.mjs")
	tests.Dir = "browser"
	tests.Env = append(os.Environ(), "SERVER_URL="+n.url, "SERVER_PASSWORD=browser test", "CHROMIUM="+chromium, "PART="+part)
	out, err := tests.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?m)^. pass [1-9]`, string(out))
}
