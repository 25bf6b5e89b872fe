package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// vet is for make lint; make check vets each module alone instead.
var vet = stage{"go vet", func(w *workspace, r *results) {
	r.step("go vet", func() error { return quiet(w.command(w.root.Dir, "go", "vet", "work")) })
}}

var lint = stage{"lint", func(w *workspace, r *results) {
	r.step("gofmt", func() error { return gofmt(w) })
	r.step("staticcheck", func() error { return staticcheck(w) })
	r.step("go vet, for 32 bits", func() error {
		cmd := w.command(w.root.Dir, "go", "vet", ".", "./manage/...")
		cmd.Env = append(cmd.Env, "GOARCH=386", "CGO_ENABLED=0")
		return quiet(cmd)
	})
	for _, m := range append(w.modules, w.tools()) {
		// Tidy by its own go.mod alone: the workspace would hide what is missing.
		r.step("go mod tidy in "+w.name(m.Path), func() error { return quiet(w.alone(m.Dir, "go", "mod", "tidy", "-diff")) })
	}
}}

// tools is the module with the tools, which is not in go.work, so that their
// dependencies do not choose the versions that everything else is tested with.
func (w *workspace) tools() module {
	return module{w.root.Path + "/tools", filepath.Join(w.root.Dir, "tools")}
}

func gofmt(w *workspace) error {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return withStderr(err)
	}
	tool := filepath.Join(strings.TrimSpace(string(goroot)), "bin", "gofmt")
	return quiet(w.command(w.root.Dir, tool, "-l", "."))
}

func staticcheck(w *workspace) error {
	// "go tool -n" builds the tool and says where it is. Run by "go tool"
	// itself it would not see the workspace, as -modfile and go.work exclude
	// each other.
	tool, err := w.alone(w.root.Dir, "go", "tool", "-modfile="+filepath.Join(w.tools().Dir, "go.mod"), "-n", "staticcheck").Output()
	if err != nil {
		return withStderr(err)
	}
	return quiet(w.command(w.root.Dir, strings.TrimSpace(string(tool)), "work"))
}

// quiet runs a command that has nothing to say if all is well. On standard
// error, a go command that succeeds may tell of downloads.
func quiet(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, stderr.Bytes(), out)
	}
	if len(out) > 0 {
		return errors.New("\n" + string(out))
	}
	return nil
}
