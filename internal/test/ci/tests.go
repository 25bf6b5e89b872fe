package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// The tests of stores wait for most of their time, so that many of a package run at
// once, and more packages than there are processors. With twice as many, each is so
// slow that tests with a deadline are late.
var together = []string{fmt.Sprintf("-p=%d", runtime.GOMAXPROCS(0)+1), "-parallel=8"}

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

// onlyTests reports whether a package of the root module is for tests only. The
// race detector would watch the tests of tests there, which takes a minute.
func (w *workspace) onlyTests(pkg string) bool {
	return strings.HasPrefix(pkg, w.root.Path+"/internal/test/") || pkg == w.root.Path+"/stores/storetest"
}

// The proofs have three lengths: a target each with the long form, a form of
// seconds, and with -short still less. What -short leaves out waits for half a
// minute, or compiles the whole of the library again for each place that is broken.
func (w *workspace) proves(m module) bool { return m.Path == w.root.Path+"/internal/test/proof" }

var watchedTests = stage{"tests of the root module and the stores, with the race detector", func(w *workspace, r *results) {
	watched := w.packages(r, w.shares, func(pkg string) bool { return !w.onlyTests(pkg) })
	r.gotest("go test -race", w.command(w.root.Dir, "go", slices.Concat(goTest, together, raceFlags(w, r), watched)...))
}}

var otherTests = stage{"tests of the other modules, and of what only tests use", func(w *workspace, r *results) {
	others := w.packages(r, func(m module) bool { return !w.shares(m) && !w.proves(m) }, everyPackage)
	others = append(others, w.packages(r, func(m module) bool { return m == w.root }, w.onlyTests)...)
	if len(others) > 0 {
		r.gotest("go test", w.command(w.root.Dir, "go", slices.Concat(goTest, together, others)...))
	}
	if proofs := w.packages(r, w.proves, everyPackage); len(proofs) > 0 {
		r.gotest("go test -short, the proofs", w.command(w.root.Dir, "go", slices.Concat(goTest, together, []string{"-short"}, proofs)...))
	}
}}

func everyPackage(string) bool { return true }

// packages lists packages of some modules, the longest tests first: those of the
// stores, of which PostgreSQL's are the longest.
func (w *workspace) packages(r *results, of func(module) bool, in func(pkg string) bool) (list []string) {
	modules := slices.SortedStableFunc(slices.Values(w.modules), func(x, y module) int {
		return cmp.Compare(w.rank(x), w.rank(y))
	})
	for _, m := range modules {
		if !of(m) {
			continue
		}
		out, err := w.command(m.Dir, "go", "list", "./...").Output()
		if err != nil {
			r.check("go list in "+w.name(m.Path), withStderr(err))
		}
		for pkg := range strings.FieldsSeq(string(out)) {
			if in(pkg) {
				list = append(list, pkg)
			}
		}
	}
	return list
}

func (w *workspace) rank(m module) int {
	switch {
	case strings.HasSuffix(m.Path, "/stores/postgres"):
		return 0
	case m != w.root:
		return 1
	}
	return 2
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

// aloneTests sees each module as its users do, without the others of go.work. The
// race detector watches here what it does not watch in make test, and the other way
// round.
var aloneTests = stage{"each module alone", func(w *workspace, r *results) {
	flags := raceFlags(w, r)
	for _, m := range w.modules {
		r.step("go build in "+w.name(m.Path), func() error {
			return quiet(w.alone(m.Dir, "go", "build", "-buildvcs=false", "-o", os.DevNull, "./..."))
		})
		r.step("go vet in "+w.name(m.Path), func() error { return quiet(w.alone(m.Dir, "go", "vet", "./...")) })
		args := slices.Concat(goTest, together)
		if !w.shares(m) {
			args = append(args, flags...)
		}
		if !w.proves(m) { // whose forms of seconds are run here
			args = append(args, "-short")
		}
		r.gotest("go test in "+w.name(m.Path), w.alone(m.Dir, "go", append(args, "./...")...))
	}
}}
