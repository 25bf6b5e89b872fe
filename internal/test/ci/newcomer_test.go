package main

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAProxyHasEachModuleWithItsOwnFilesAndTheLicense(t *testing.T) {
	w, _, _ := newWorkspace(t, map[string]string{
		"a.go": "package m\n", "LICENSE": "yes", "ignored.db": "x", ".gitignore": "*.db\n", "docs/new.md": "not added to git yet",
		"stores/x/go.mod": "module example.com/m/stores/x\n", "stores/x/x.go": "package x\n", "stores/x/testdata/deep/f": "",
		"stores/x.go": "package stores\n", "tools/go.mod": "module example.com/m/tools\n",
	})
	require.NoError(t, os.Symlink("a.go", filepath.Join(w.root.Dir, "link.go")))
	git := func(args ...string) {
		out, err := exec.Command("git", append([]string{"-C", w.root.Dir}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	git("init", "-q")
	git("add", "a.go", "stores")
	tree, err := openTree(w)
	require.NoError(t, err)
	proxy := t.TempDir()
	require.NoError(t, tree.writeProxy(proxy))

	for module, want := range map[string][]string{
		"example.com/m":          {".gitignore", "LICENSE", "a.go", "docs/new.md", "go.mod", "go.work", "stores/x.go"},
		"example.com/m/stores/x": {"LICENSE", "go.mod", "testdata/deep/f", "x.go"},
	} {
		at := filepath.Join(proxy, module, "@v")
		z, err := zip.OpenReader(filepath.Join(at, version+".zip"))
		require.NoError(t, err)
		var names []string
		for _, f := range z.File {
			names = append(names, f.Name)
		}
		z.Close()
		for i := range want {
			want[i] = module + "@" + version + "/" + want[i]
		}
		assert.ElementsMatch(t, want, names)
		for _, file := range []string{"list", version + ".mod", version + ".info"} {
			assert.FileExists(t, filepath.Join(at, file))
		}
	}
	assert.NoFileExists(t, filepath.Join(proxy, "example.com/m/tools/@v/list"), "nobody imports it")
}

func TestTheREADMECanBeFollowed(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	n := new(reader)
	require.NoError(t, n.read(string(readme)))
	assert.Equal(t, []string{"go mod init example.com/devices", "go mod tidy"}, n.commands)
	assert.Contains(t, n.program, readmeAddress)
}

func TestAREADMEThatLeavesSomethingOutIsNoticed(t *testing.T) {
	const (
		program  = "```go\npackage main\n```\n"
		commands = "```sh\ngo mod init x\ngo mod tidy # why\n```\n"
		requests = "```sh\ncurl a   # 200\ncurl b # 403: no\n```\n"
	)
	assert.NoError(t, new(reader).read(program+commands+requests))
	for text, want := range map[string]string{
		commands + requests: "no whole program",
		program + requests:  "how to make a module",
		program + commands:  "no answer 200",
		program + commands + "```sh\ncurl a # 200\n```\n": "none 403",
	} {
		assert.ErrorContains(t, new(reader).read(text), want)
	}
}

func TestTheReleasePageTagsTheModulesThatThereAre(t *testing.T) {
	page, err := os.ReadFile("../../../docs/releasing.md")
	require.NoError(t, err)
	w, err := openWorkspace("../../..")
	require.NoError(t, err)
	tree, err := openTree(w)
	require.NoError(t, err)
	_, list, _ := strings.Cut(string(page), `MODULES="`)
	list, _, _ = strings.Cut(list, `"`)
	assert.Equal(t, tree.released()[1:], strings.Fields(list))
	_, list, _ = strings.Cut(string(page), "for m in adapters")
	list, _, _ = strings.Cut("adapters"+list, "; do")
	assert.Equal(t, tree.released()[1:], strings.Fields(strings.ReplaceAll(list, "\\\n", " ")))
}
