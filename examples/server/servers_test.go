//go:build unix

package main

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestNodesShareTheTokensInADatabaseServer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	for _, c := range []struct {
		name  string
		store func(t *testing.T) string
		warns string
	}{
		{"PostgreSQL", func(t *testing.T) string { return testserver.PostgresDatabase(t) }, ""},
		{"Redis", func(t *testing.T) string { return "redis://" + testserver.Redis(t).Addr() }, ""},
		{"Valkey, its name for a Redis", func(t *testing.T) string { return "valkey://" + testserver.Redis(t).Addr() }, ""},
		{"a Redis that forgets", func(t *testing.T) string {
			return "redis://" + testserver.Redis(t, "--appendonly", "no").Addr()
		}, "append-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := c.store(t)
			dir := t.TempDir()
			a := start(t, dir, nil, "-store", store)
			require.NotEmpty(t, a.reader, "the first start makes demo tokens")
			b := start(t, dir, nil, "-store", store)
			assert.Empty(t, b.reader, "and the second none")
			assert.Equal(t, []string{"apitoken-demo.json"}, files(t, dir), "the tokens are in the server")

			bearing := "Authorization: apiToken " + a.reader
			for _, n := range []*node{a, b} {
				assert.Equal(t, 200, n.do("GET", "/api/devices", "", bearing).StatusCode)
				assert.Equal(t, 401, n.do("GET", "/api/devices?apiToken="+a.disabled, "").StatusCode)
			}
			// What one node ends, the other refuses, too.
			require.Less(t, b.do("DELETE", "/manage/api/self", "", bearing).StatusCode, 300)
			assert.Equal(t, 401, b.do("GET", "/api/devices", "", bearing).StatusCode, "at once where it was asked")
			assert.Eventually(t, func() bool { return a.do("GET", "/api/devices", "", bearing).StatusCode == 401 },
				2*time.Minute, 10*time.Millisecond)

			assert.Contains(t, refuseToStart(t, dir, []string{"DEMO_PASSWORD=x", "APITOKEN_DEMO_FILE=none"}, "-store", store), "Config.IntegrityKeys",
				"the records are authenticated under the keys of the demo file")
			a.stop()
			b.stop()
			said := a.stderr.String() + b.stderr.String()
			if c.warns != "" {
				assert.Contains(t, said, c.warns)
			} else {
				assert.NotContains(t, said, "doubts")
			}
		})
	}
}

func TestAPasswordInTheURLOfAStoreIsNotShown(t *testing.T) {
	const password = "open-sesame"
	redis := testserver.Redis(t, "--requirepass", "another").Addr()
	database, err := url.Parse(testserver.PostgresDatabase(t))
	require.NoError(t, err)
	nowhere := "127.0.0.1:1"
	for _, c := range []struct{ name, store, says string }{
		{"nobody listens, PostgreSQL", "postgres://u:" + password + "@" + nowhere + "/d", "postgres: "},
		{"nobody listens, Redis", "redis://u:" + password + "@" + nowhere, "valkey: "},
		{"it is wrong", "redis://:" + password + "@" + redis, "WRONGPASS"},
		{"no such database", "postgres://apitoken:" + password + "@" + database.Host + "/nothing?sslmode=disable", `"nothing" does not exist`},
		{"a port that is none", "postgres://u:" + password + "@h:port/d", "postgres: the URL is not valid"},
		{"an escape that is none", "redis://u:" + password + "%zz@h", "valkey: the URL is not"},
		{"a kind that is none", "mysql://u:" + password + "@h", "-store must be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			said := refuseToStart(t, dir, nil, "-store", c.store)
			assert.Contains(t, said, c.says)
			assert.NotContains(t, said, password)
			assert.Empty(t, files(t, dir))
		})
	}
	for _, args := range [][]string{{"postgres://u:" + password + "@h"}, {"-stroe=postgres://u:" + password + "@h"}} {
		assert.NotContains(t, refuseToStart(t, t.TempDir(), nil, args...), password)
	}

	// And without the fault: the server accepts every password.
	database.User = url.UserPassword("apitoken", password)
	n := start(t, t.TempDir(), nil, "-store", database.String())
	n.do("GET", "/api/devices?apiToken="+n.disabled, "")
	assert.NotContains(t, n.output()+n.stderr.String(), password)
}
