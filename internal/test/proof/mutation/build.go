package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// suites are the packages whose tests run for breaks in a directory, until one notices:
// its own, if it has tests, and for the parts of another package that package's.
func (t *tester) suites(dir string) ([]string, error) {
	whole := ""
	switch {
	case dir == "internal/sqlkit":
		whole = "stores/sqlite"
	case strings.HasPrefix(dir, "internal/"):
		whole = "."
	}
	own, err := filepath.Glob(filepath.Join(t.root, dir, "*_test.go"))
	switch {
	case err != nil:
		return nil, err
	case whole == "":
		return []string{dir}, nil
	case own == nil: // go test -c makes no program
		return []string{whole}, nil
	}
	return []string{dir, whole}, nil
}

// overlay writes the sources of a package with all its breaks in them. It returns where
// they are, by the files that they replace in an overlay: nothing in the tree is changed.
// Breaks that do not compile are taken out again.
func (t *tester) overlay(ctx context.Context, dir string, breaks []*brk) (map[string]string, error) {
	if err := os.MkdirAll(filepath.Join(t.dir, dir), 0o777); err != nil {
		return nil, err
	}
	for range 20 {
		files, err := weave(t.root, dir, breaks)
		if err != nil {
			return nil, err
		}
		texts := map[string]string{}
		for file, w := range files {
			texts[file] = w.text
			texts[path.Join(dir, switchFile)] = fmt.Sprintf(switchSource, w.pkg)
		}
		replace := map[string]string{}
		for file, text := range texts {
			name := filepath.Join(t.dir, file)
			if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
				return nil, err
			}
			replace[filepath.Join(t.root, file)] = name
		}
		out, err := t.goOverlay(ctx, dir, replace, "build", "-gcflags=-e")
		if err == nil {
			return replace, nil
		}
		found := false
		for _, m := range compileError.FindAllSubmatch(out, -1) {
			line, _ := strconv.Atoi(string(m[2]))
			if w := files[path.Join(dir, filepath.Base(string(m[1])))]; w != nil {
				if n := w.breakAt(line); n > 0 && breaks[n-1].verdict == "" {
					breaks[n-1].result = result{verdict: invalid, by: string(m[3])}
					found = true
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
	}
	return nil, errors.New("there is no end of breaks that do not compile")
}

// build makes the test programs of all suites.
func (t *tester) build(ctx context.Context, breaks []*brk) error {
	t.tests = map[string][]string{}
	replace := map[string]map[string]string{} // by suite
	for dir := range directories(breaks) {
		files, err := t.overlay(ctx, dir, breaks)
		if err != nil {
			return err
		}
		if t.tests[dir], err = t.suites(dir); err != nil {
			return err
		}
		for _, suite := range t.tests[dir] {
			if replace[suite] == nil {
				replace[suite] = map[string]string{}
			}
			maps.Copy(replace[suite], files)
		}
	}
	for suite, files := range replace {
		if out, err := t.goOverlay(ctx, suite, files, "test", "-c", "-o", t.binary(suite), "-vet=off"); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	return nil
}

// binary is the program with the tests of a package.
func (t *tester) binary(suite string) string { return filepath.Join(t.dir, suite, "package.test") }

// goOverlay runs a go command about the package in a directory, with an overlay.
func (t *tester) goOverlay(ctx context.Context, dir string, replace map[string]string, args ...string) ([]byte, error) {
	name := filepath.Join(t.dir, dir, "overlay.json")
	list, _ := json.Marshal(map[string]any{"Replace": replace})
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, list, 0o666)); err != nil {
		return nil, err
	}
	return t.gocommand(ctx, dir, append(args, "-overlay="+name, ".")...)
}

var compileError = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: (.*)$`)

func (t *tester) gocommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = filepath.Join(t.root, dir), append(os.Environ(), "GOWORK=off")
	return cmd.CombinedOutput()
}
