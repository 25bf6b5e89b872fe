package main

import (
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// token runs "server token ..." and returns the exit code.
func token(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := command(dir, nil, append([]string{"token"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		require.IsType(t, (*exec.ExitError)(nil), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestTokensAreManagedAtATerminalWhileTheServerRuns(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	asks := func(text string) int {
		return n.do("GET", "/api/devices", "", "Authorization: apiToken "+text).StatusCode
	}

	code, out, said := token(t, dir, "generate", "-name", "admin", "-all", "-expires", "90d")
	require.Zero(t, code, said)
	secret := strings.TrimSpace(out)
	assert.Contains(t, said, `"admin" for operator in demo: 5 of 5 permissions`)
	assert.NotContains(t, said, secret[22:])
	assert.Equal(t, 200, asks(secret))

	// The server hears of it as of a change by another node.
	code, out, said = token(t, dir, "deactivate", secret[:22])
	assert.Zero(t, code, said)
	assert.Equal(t, "deactivated "+secret[5:22]+"\n", out)
	assert.Eventually(t, func() bool { return asks(secret) == 401 }, 60e9, 100e6)
	_, out, _ = token(t, dir, "explain", secret[5:22], "-permissions", "devices:read")
	assert.Contains(t, out, "The token is deactivated.")

	// A token of an earlier system, of which only the hash is known.
	foreign := strings.Repeat("0123456789abcdef", 3)
	file := filepath.Join(dir, "keys.csv")
	write(t, file, "name,owner,permissions,sha256\nold,ada,devices:read,"+fmt.Sprintf("%x", sha256.Sum256([]byte(foreign)))+"\n", 0o600)
	code, _, said = token(t, dir, "import", "-expires", "never", file)
	assert.Zero(t, code, said)
	assert.Equal(t, 200, asks(foreign))

	code, out, _ = token(t, dir, "list", "-owner", "ada")
	assert.Zero(t, code)
	assert.Equal(t, 4, strings.Count(out, "\n"), "a header, two demo tokens, and that one: %s", out)
}

func TestTheTokenCommandSaysWhatItCannotDo(t *testing.T) {
	dir := t.TempDir()
	assert.Contains(t, refuseToStart(t, dir, nil, "token", "list"), "start the server once")
	assert.Contains(t, refuseToStart(t, dir, nil, "-store", "memory:", "token", "list"), "in memory")
	assert.Empty(t, files(t, dir))
	start(t, dir, nil).stop()
	for args, want := range map[string]int{
		"":                        2,
		"nonsense":                2,
		"list -user nobody":       1,
		"list -user eve":          1,
		"list -environment nope":  1,
		"list -environment other": 0,
		"show 00000000000000000":  3,
		"generate -name x -permissions reports:admin -expires 1d -user ada": 4,
	} {
		code, _, said := token(t, dir, strings.Fields(args)...)
		assert.Equal(t, want, code, "%s: %s", args, said)
		assert.Equal(t, want == 0, said == "", args)
	}
}
