package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// newcomer builds the program of the README in an empty directory, with modules
// as they will be released, and resolves all other modules that get a tag. (A test
// follows the README and the pages for a start, with the modules of the tree.)
var newcomer = stage{"newcomer", func(w *workspace, r *results) {
	if _, err := exec.LookPath("git"); err != nil {
		r.skip("newcomer", "needs git (Debian: git)")
		return
	}
	r.step("building the README's program as released", func() error { return w.newcomer(r.out) })
}}

func (w *workspace) newcomer(out io.Writer) error {
	dir, err := os.MkdirTemp("", "apitoken-newcomer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, err := openTree(w)
	if err != nil {
		return err
	}
	proxy := filepath.Join(dir, "proxy")
	if err := t.writeProxy(proxy); err != nil {
		return err
	}
	n := &user{dir: filepath.Join(dir, "devices")}
	if n.env, err = environment(dir, proxy, t.root.Path); err != nil {
		return err
	}
	program, err := os.ReadFile(filepath.Join(w.root.Dir, minimal))
	if err != nil {
		return err
	}
	if err := os.Mkdir(n.dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.dir, "main.go"), program, 0o666); err != nil {
		return err
	}
	start := time.Now()
	for _, args := range [][]string{{"mod", "init", "example.com/devices"}, {"mod", "tidy"}, {"build", "-o", "devices.exe", "."}} {
		if _, err := n.run(args...); err != nil {
			return err
		}
		fmt.Fprintf(out, "%6.1f s  go %s\n", time.Since(start).Seconds(), strings.Join(args, " "))
	}
	return n.resolve(t, out)
}

// environment is that of a user of the released modules. They come from our
// proxy, others from the downloads of this machine and then from
// its usual source of modules. The module cache is empty, as an earlier run has left
// other modules of the same version there; with COLD=1 so is the build cache.
func environment(dir, proxy, root string) ([]string, error) {
	out, err := exec.Command("go", "env", "GOPROXY", "GOMODCACHE").Output()
	if err != nil {
		return nil, withStderr(err)
	}
	before := strings.Fields(string(out))
	url := func(path string) string { return "file://" + filepath.ToSlash(path) }
	env := append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GONOSUMDB="+root+","+root+"/*",
		"GOMODCACHE="+filepath.Join(dir, "modules"),
		"GOPROXY="+strings.Join([]string{url(proxy), url(filepath.Join(before[1], "cache", "download")), before[0]}, ","))
	if os.Getenv("COLD") == "1" {
		env = append(env, "GOCACHE="+filepath.Join(dir, "build"))
	}
	return env, nil
}

// minimal is the program of the README.
const minimal = "testdata/minimal/main.go"

// A user is somebody who has none of the project but its released modules.
type user struct {
	dir string
	env []string
}

func (n *user) run(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = n.dir, n.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// resolve finds everything that the other modules import by what is released,
// without their replace directives, which users do not see.
func (n *user) resolve(t *tree, out io.Writer) error {
	for _, module := range t.released() {
		if _, err := n.run("get", t.modulePath(module)+"/...@"+version); err != nil {
			return err
		}
		list, err := n.run("list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}} {{.Replace}}{{end}}", t.modulePath(module)+"/...")
		if err != nil {
			return err
		}
		for line := range strings.Lines(list) {
			words := strings.Fields(line)
			if len(words) == 3 && (words[0] == t.root.Path || strings.HasPrefix(words[0], t.root.Path+"/")) && (words[1] != version || words[2] != "<nil>") {
				return fmt.Errorf("%s takes %s", t.modulePath(module), strings.TrimSpace(line))
			}
		}
	}
	fmt.Fprintf(out, "all %d modules at %s resolve: %s\n", len(t.released()), version, strings.Join(t.released(), " "))
	return nil
}
