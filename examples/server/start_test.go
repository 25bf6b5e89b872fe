package main

import (
	"database/sql"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestABadStartIsOneLineAndCode1AndMakesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"an unknown flag", []string{"-bogus"}, "flag provided but not defined: -bogus"},
		{"a flag without its value", []string{"-store"}, "flag needs an argument: -store"},
		{"an argument", []string{"serve"}, `unexpected argument "serve"`},
		{"an unknown kind of store", []string{"-store", "mysql:x"}, "must be sqlite:PATH, memory:, postgres://"},
		{"a path without a kind", []string{"-store", "apitoken.db"}, "must be sqlite:PATH, memory:"},
		{"memory without a colon", []string{"-store", "memory"}, "must be sqlite:PATH, memory:"},
		{"a URL of PostgreSQL that cannot be read", []string{"-store", "postgres://u:%zz@h"}, "postgres: the URL is not valid"},
		{"a URL of Redis that cannot be read", []string{"-store", "redis://u:%zz@h"}, "valkey: the URL is not"},
		{"a URL without its flag", []string{"redis://u:secret@h"}, "a URL (not shown"},
		{"no store", []string{"-store", ""}, "must be sqlite:PATH, memory:"},
		{"no path", []string{"-store", "sqlite:"}, "needs the path"},
		{"a path in memory", []string{"-store", "memory:x"}, "must be sqlite:PATH, memory:"},
		{"a directory that is not there", []string{"-store", "sqlite:not/there.db"}, "there.db"},
		{"no address", []string{"-addr", ""}, "-addr is empty"},
		{"a proxy that is none", []string{"-proxy", "10.0.0.1,nginx"}, `-proxy: "nginx" is neither an address nor a network`},
		{"an origin that is none", []string{"-origin", "acme.example"}, "-origin: invalid origin"},
		{"no port", []string{"-addr", "127.0.0.1"}, "missing port"},
		{"no number as port", []string{"-addr", "127.0.0.1:no-such-port"}, "no-such-port"},
		{"a line break", []string{"serve\nme"}, `"serve\nme"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			assert.Contains(t, refuseToStart(t, dir, nil, c.args...), c.says)
			assert.Empty(t, files(t, dir))
		})
	}
}

func TestALaterStartSaysHowToGetAToken(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil).stop()
	again := start(t, dir, nil)
	assert.Empty(t, again.reader, "no more tokens are made")
	m := regexp.MustCompile(`(?m)go run \./examples/server (token .*)$`).FindStringSubmatch(again.greeting)
	require.NotNil(t, m, again.greeting)
	token, err := command(dir, nil, strings.Fields(m[1])...).Output()
	require.NoError(t, err)
	assert.Equal(t, 200, again.do("GET", "/api/devices", "", "Authorization: apiToken "+strings.TrimSpace(string(token))).StatusCode)
}

func TestABusyPortMakesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dir := t.TempDir()
	assert.Contains(t, refuseToStart(t, dir, nil, "-addr", l.Addr().String()), l.Addr().String())
	assert.Empty(t, files(t, dir))
}

func TestAFileThatIsNoDatabaseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "apitoken.db")
	text := strings.Repeat("my diary, not a database\n", 1000)
	write(t, path, text, 0o644)
	assert.Contains(t, refuseToStart(t, dir, nil), "apitoken.db")
	assert.Equal(t, text, read(t, path))
	assert.Equal(t, []string{"apitoken.db"}, files(t, dir))

	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	assert.Contains(t, refuseToStart(t, dir, nil, "-store", "sqlite:folder"), "folder")
}

func TestADatabaseOfALaterVersionIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil).stop()
	path := filepath.Join(dir, "apitoken.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE apitoken_schema SET version = 1000`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	before := read(t, path)
	assert.Contains(t, refuseToStart(t, dir, nil), "version 1000")
	assert.Equal(t, before, read(t, path))
}

func TestADamagedDatabaseIsOneLine(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil).stop()
	path := filepath.Join(dir, "apitoken.db")
	text := read(t, path)
	write(t, path, text[:100]+strings.Repeat("x", len(text)-100), 0o600)
	assert.Contains(t, refuseToStart(t, dir, nil), "apitoken.db")
}

func TestTheDemoFileIsForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil, "-store", "memory:")
	path := filepath.Join(dir, "apitoken-demo.json")
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		assert.Equal(t, os.FileMode(0o600), info.Mode())
	}
	assert.NotContains(t, read(t, path), n.password)
	assert.Equal(t, []string{"apitoken-demo.json"}, files(t, dir), "nothing is left of making it")

	if runtime.GOOS != "windows" {
		require.NoError(t, os.Chmod(path, 0o640))
		assert.Contains(t, refuseToStart(t, dir, nil, "-store", "memory:"), "chmod 600")
	}
}

func TestWithoutTheDemoFileADatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil)
	first.stop()
	path := filepath.Join(dir, "apitoken-demo.json")
	text := read(t, path)
	require.NoError(t, os.Remove(path))
	database := read(t, filepath.Join(dir, "apitoken.db"))
	assert.Contains(t, refuseToStart(t, dir, nil), "apitoken-demo.json, which belongs to the database, is missing")
	assert.Equal(t, []string{"apitoken.db"}, files(t, dir))
	assert.Equal(t, database, read(t, filepath.Join(dir, "apitoken.db")))

	write(t, path, text, 0o600)
	second := start(t, dir, nil)
	assert.Equal(t, 200, second.do("GET", "/api/devices?apiToken="+first.reader, "").StatusCode)
}

func TestADamagedDemoFileIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil, "-store", "memory:").stop()
	path := filepath.Join(dir, "apitoken-demo.json")
	good := read(t, path)
	edit := func(change func(map[string]any)) string {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(good), &m))
		change(m)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return string(text)
	}
	ada := func(m map[string]any) map[string]any { return m["passwords"].(map[string]any)["ada"].(map[string]any) }

	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"half", good[:len(good)/2]},
		{"more than one object", good + "{}"},
		{"null", "null"},
		{"an empty object", "{}"},
		{"a list", "[]"},
		{"no row key", edit(func(m map[string]any) { delete(m, "row_key") })},
		{"a short encryption key", edit(func(m map[string]any) { m["encryption_key"] = "c2hvcnQ=" })},
		{"a key that is not base64", edit(func(m map[string]any) { m["row_key"] = "!" })},
		{"a user without password", edit(func(m map[string]any) { delete(m["passwords"].(map[string]any), "eve") })},
		{"an empty hash", edit(func(m map[string]any) { ada(m)["hash"] = "" })},
		{"no salt", edit(func(m map[string]any) { delete(ada(m), "salt") })},
		{"no passes", edit(func(m map[string]any) { ada(m)["passes"] = 0 })},
		{"no threads", edit(func(m map[string]any) { ada(m)["threads"] = 0 })},
		{"much memory", edit(func(m map[string]any) { ada(m)["kib"] = 1 << 30 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, path, c.text, 0o600)
			assert.Contains(t, refuseToStart(t, dir, nil), "apitoken-demo.json is damaged: ")
			assert.Equal(t, c.text, read(t, path))
			assert.Equal(t, []string{"apitoken-demo.json"}, files(t, dir), "no database is made")
		})
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	assert.Contains(t, refuseToStart(t, dir, nil), "is not a regular file")
}

func TestADemoFileThatCannotBeMadeIsOneLine(t *testing.T) {
	dir := t.TempDir()
	assert.Contains(t, refuseToStart(t, dir, []string{"APITOKEN_DEMO_FILE=not/there.json"}, "-store", "memory:"), "there.json")
}

func TestNodesThatStartAtOnceShareOneDemoFile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	for range 3 {
		path := filepath.Join(t.TempDir(), "shared.json")
		nodes := make([]*node, 3)
		for i := range nodes {
			nodes[i] = launch(t, t.TempDir(), []string{"APITOKEN_DEMO_FILE=" + path}, "-store", "memory:")
		}
		password := ""
		for _, n := range nodes {
			n.await()
			if n.password != "" {
				assert.Empty(t, password, "one of them has made the passwords")
				password = n.password
			}
		}
		require.NotEmpty(t, password)
		for _, n := range nodes {
			assert.Equal(t, 303, n.login("ada", password).StatusCode)
		}
		assert.Equal(t, []string{"shared.json"}, files(t, filepath.Dir(path)))
	}
}

func TestNodesThatStartAtOnceShareOneDatabase(t *testing.T) {
	dir := t.TempDir()
	nodes := make([]*node, 3)
	for i := range nodes {
		nodes[i] = launch(t, dir, nil)
	}
	for _, n := range nodes {
		n.await()
	}
	for _, from := range nodes {
		for _, to := range nodes {
			if from.reader != "" {
				assert.Equal(t, 200, to.do("GET", "/api/devices?apiToken="+from.reader, "").StatusCode)
				assert.Equal(t, 401, to.do("GET", "/api/devices?apiToken="+from.disabled, "").StatusCode)
			}
		}
	}
}
