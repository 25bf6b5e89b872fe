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

// That every state is accessible, that the page can be used without JavaScript or with the
// keyboard alone, and that it shows hostile names as text.
func TestEveryStateOfTheWebPageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	inABrowser(t, "states")
}

// The web page is tested in a real browser by browser/page.test.mjs. SERVER_PASSWORD
// tells it how the users of the server sign in, and PART is what of it to test.
func inABrowser(t *testing.T, part string) {
	t.Helper()
	t.Parallel() // the browser waits for the server, and the server for the browser
	chromium := needsBrowser(t)
	n := start(t, t.TempDir(), []string{"DEMO_PASSWORD=browser test"}, "-store", "memory:")
	runInBrowser(t, "page.test.mjs", "SERVER_URL="+n.url, "SERVER_PASSWORD=browser test", "CHROMIUM="+chromium, "PART="+part)
}

// needsBrowser returns the path of the browser. It skips the test where something that
// browser/package.json names is missing.
func needsBrowser(t *testing.T) (chromium string) {
	t.Helper()
	// A skip, or a failure where everything has to be there.
	lacking := t.Skip
	if os.Getenv("APITOKEN_REQUIRE_SERVERS") == "1" {
		lacking = t.Fatal
	}
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
	if _, err := exec.LookPath("node"); err != nil {
		lacking("needs Node.js 20 or newer (Debian: nodejs, npm)")
	}
	if _, err := os.Stat(filepath.Join("browser", "node_modules", "playwright-core")); err != nil {
		lacking("needs playwright-core and axe-core (npm ci --prefix examples/server/browser)")
	}
	return chromium
}

// runInBrowser runs a file of tests. SERVER_URL tells it where the server is, CHROMIUM is
// the path of the browser.
func runInBrowser(t *testing.T, file string, env ...string) {
	t.Helper()
	tests := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", file)
	tests.Dir = "browser"
	tests.Env = append(os.Environ(), env...)
	out, err := tests.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?m)^. pass [1-9]`, string(out))
}
