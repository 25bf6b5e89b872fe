package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A workspace is go.work and the modules that it lists.
type workspace struct {
	file    string // go.work
	root    module
	modules []module // the root is among them
}

type module struct{ Path, Dir string }

func openWorkspace(dir string) (*workspace, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	w := &workspace{file: filepath.Join(dir, "go.work")}
	out, err := w.command(dir, "go", "list", "-m", "-json").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the modules of %s: %w", w.file, withStderr(err))
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m module
		if err := d.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if m.Dir == dir {
			w.root = m
		}
		w.modules = append(w.modules, m)
	}
	if w.root.Path == "" {
		return nil, fmt.Errorf("%s does not list its own directory", w.file)
	}
	return w, nil
}

// command prepares a command that sees all modules of the workspace.
func (w *workspace) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK="+w.file)
	return cmd
}

// alone prepares a command that sees a module as its users do: with its own
// go.mod and no workspace.
func (w *workspace) alone(dir, name string, args ...string) *exec.Cmd {
	cmd := w.command(dir, name, args...)
	cmd.Env = append(cmd.Env, "GOWORK=off")
	return cmd
}

// dir is the directory of a package.
func (w *workspace) dir(pkg string) string {
	path := moduleOf(pkg, w.modules)
	for _, m := range w.modules {
		if m.Path == path {
			return filepath.Join(m.Dir, filepath.FromSlash(strings.TrimPrefix(pkg, path)))
		}
	}
	return w.root.Dir
}

func (w *workspace) goEnv(name string) (string, error) {
	out, err := w.command(w.root.Dir, "go", "env", name).Output()
	return strings.TrimSpace(string(out)), withStderr(err)
}

// name is the path of a module or a package, as it is called in output.
func (w *workspace) name(path string) string { return shorten(w.root.Path, path) }

func shorten(root, path string) string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"), "root")
}

func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}
