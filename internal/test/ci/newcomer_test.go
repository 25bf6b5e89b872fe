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
