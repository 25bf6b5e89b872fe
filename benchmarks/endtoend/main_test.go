//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the program of the tests be a server, as the command is.
func TestMain(m *testing.M) {
	for _, arg := range os.Args {
		if arg == "-serve" {
			main()
			return
		}
	}
	os.Exit(m.Run())
}

// TestEveryContestRunsOnce keeps them from rotting.
func TestEveryContestRunsOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("needs wrk (Debian: wrk)")
	}
	*rounds, *seconds, *tokens = 1, 1, 50
	stdout := os.Stdout
	r, w, err := os.Pipe()
	require.NoError(t, err)
	os.Stdout = w
	err = measure()
	os.Stdout = stdout
	require.NoError(t, err)
	require.NoError(t, w.Close())
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	for _, c := range contests {
		assert.Equal(t, 1, strings.Count(string(out), c.name()+"\t"), c.name())
	}
	assert.Contains(t, string(out), "BenchmarkEndToEnd/why=accept/impl=again\t")
}
