package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// goTest begins every command that runs tests. They are vetted elsewhere, once.
var goTest = []string{"test", "-json", "-count=1", "-vet=off", "-timeout=30m"} // on a slow machine

// race makes the race detector watch. The SQLite that is translated to Go is 16
// times slower if every memory access in it is watched, and not where our races
// are. Not more than that is left out: a package that is not watched may bring the
// program its copy of a generic function of sync, and then encoding/json seems to
// race.
var race = []string{"-race", "-gcflags=modernc.org/sqlite/lib=-race=false"}

// The root module and the stores are where goroutines share memory.
func (w *workspace) shares(m module) bool {
	return m == w.root || strings.HasPrefix(m.Path, w.root.Path+"/stores/")
}

var watchedTests = stage{"tests of the root module and the stores, with the race detector", func(w *workspace, r *results) {
	r.gotest("go test -race", w.command(w.root.Dir, "go", slices.Concat(goTest, raceFlags(w, r), w.packages(w.shares))...))
}}

var otherTests = stage{"tests of the other modules", func(w *workspace, r *results) {
	others := w.packages(func(m module) bool { return !w.shares(m) })
	if len(others) > 0 {
		r.gotest("go test", w.command(w.root.Dir, "go", slices.Concat(goTest, others)...))
	}
}}

// packages are the patterns, from the root, of the packages of some modules.
func (w *workspace) packages(in func(module) bool) (patterns []string) {
	for _, m := range w.modules {
		if in(m) {
			dir, _ := filepath.Rel(w.root.Dir, m.Dir)
			patterns = append(patterns, "./"+filepath.ToSlash(filepath.Join(dir, "...")))
		}
	}
	return patterns
}

// raceFlags returns race if a program can be linked with the race detector, which
// takes cgo, a C compiler and a platform that has it.
func raceFlags(w *workspace, r *results) []string {
	r.out.begin("trying the race detector")
	defer r.out.end("trying the race detector")
	dir, err := os.MkdirTemp("", "check")
	if err == nil {
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "main.go")
		err = os.WriteFile(program, []byte("package main\n\nfunc main() {}\n"), 0o666)
		if err == nil {
			err = w.command(w.root.Dir, "go", "build", "-race", "-o", filepath.Join(dir, "main"), program).Run()
		}
	}
	if err != nil {
		r.skip("the race detector", "needs a C compiler (Debian: gcc libc6-dev)")
		return nil
	}
	return race
}

// aloneTests sees each module as its users do, without the others of go.work.
var aloneTests = stage{"each module alone", func(w *workspace, r *results) {
	for _, m := range w.modules {
		r.step("go build in "+w.name(m.Path), func() error {
			return quiet(w.alone(m.Dir, "go", "build", "-buildvcs=false", "-o", os.DevNull, "./..."))
		})
		r.step("go vet in "+w.name(m.Path), func() error { return quiet(w.alone(m.Dir, "go", "vet", "./...")) })
		r.gotest("go test in "+w.name(m.Path), w.alone(m.Dir, "go", slices.Concat(goTest, []string{"-short", "./..."})...))
	}
}}
