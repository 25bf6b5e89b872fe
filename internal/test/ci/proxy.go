package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// version is the tag to come, of which a proxy is made.
const version = "v0.1.0"

// unreleased are modules that get no tag: nobody imports them.
var unreleased = []string{"benchmarks", "examples", "examples/databases", "internal/test/proof", "tools"}

// A tree is what is in the working directory, as a tag would have it: files that
// git ignores are left out.
type tree struct {
	root    module
	files   []string // slash-separated, from the root
	modules []string // directories with a go.mod, "." among them
}

func openTree(w *workspace) (*tree, error) {
	out, err := exec.Command("git", "-C", w.root.Dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", withStderr(err))
	}
	t := &tree{root: w.root}
	for _, file := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(filepath.Join(w.root.Dir, file))
		if os.IsNotExist(err) {
			continue // deleted, not committed
		}
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			continue // a module has no links
		}
		t.files = append(t.files, file)
		if path.Base(file) == "go.mod" {
			t.modules = append(t.modules, path.Dir(file))
		}
	}
	return t, nil
}

// released lists the directories of the modules that get a tag, the root first.
func (t *tree) released() []string {
	dirs := slices.DeleteFunc(slices.Clone(t.modules), func(dir string) bool { return slices.Contains(unreleased, dir) })
	slices.Sort(dirs) // "." precedes letters
	return dirs
}

// modulePath returns the path of the module in a directory.
func (t *tree) modulePath(dir string) string { return path.Join(t.root.Path, dir) }

// module returns the module that a file belongs to: the innermost.
func (t *tree) module(file string) string {
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if slices.Contains(t.modules, dir) || dir == "." {
			return dir
		}
	}
}

// writeProxy writes the modules that get a tag in the layout of a module proxy:
// what the go command and its public proxies make of the tags (see "go help
// goproxy", and golang.org/x/mod/zip for the zip files).
func (t *tree) writeProxy(dir string) error {
	for _, module := range t.released() {
		to := filepath.Join(dir, filepath.FromSlash(t.modulePath(module)), "@v") // no capitals, which would be escaped
		if err := os.MkdirAll(to, 0o777); err != nil {
			return err
		}
		mod, err := os.ReadFile(filepath.Join(t.root.Dir, module, "go.mod"))
		if err != nil {
			return err
		}
		archive, err := t.zip(module)
		if err != nil {
			return err
		}
		info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC().Truncate(time.Second)})
		if err != nil {
			return err
		}
		for name, content := range map[string][]byte{"list": []byte(version + "\n"), version + ".info": info, version + ".mod": mod, version + ".zip": archive} {
			if err := os.WriteFile(filepath.Join(to, name), content, 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tree) zip(module string) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(file, name string) error {
		w, err := z.Create(t.modulePath(module) + "@" + version + "/" + name)
		if err != nil {
			return err
		}
		f, err := os.Open(filepath.Join(t.root.Dir, file))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
	licensed := false
	for _, file := range t.files {
		if t.module(file) != module {
			continue
		}
		name := strings.TrimPrefix(file, module+"/")
		licensed = licensed || name == "LICENSE"
		if err := add(file, name); err != nil {
			return nil, err
		}
	}
	if !licensed { // a nested module has that of the repository
		if err := add("LICENSE", "LICENSE"); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}
