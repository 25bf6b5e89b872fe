package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// together is for the tests of stores, which wait for most of their time, so that many of
// a package run at once, and more packages than there are processors.
var together = atOnceOf(runtime.GOMAXPROCS(0) + 1)

// atOnceOf bounds how many packages are compiled or tested at once.
func atOnceOf(packages int) []string { return []string{fmt.Sprintf("-p=%d", packages), "-parallel=8"} }

// goTest begins every command that runs tests. They are vetted elsewhere, once.
var goTest = []string{"test", "-json", "-count=1", "-vet=off", "-timeout=30m"} // on a slow machine

// race makes the race detector watch. The SQLite that is translated to Go is 16
// times slower if every memory access in it is watched, and not where our races
// are. Not more than that is left out: a package that is not watched may bring the
// program its copy of a generic function of sync, and then encoding/json seems to
// race. What is watched has its conversions of pointers checked too, which the
// translated C library around it does all the time: a tenth of the time of its tests.
var race = []string{"-race", "-gcflags=modernc.org/...=-d=checkptr=0", "-gcflags=modernc.org/sqlite/lib=-race=false"}

// The root module and the stores are where goroutines share memory.
func (w *workspace) shares(m module) bool {
	return m == w.root || strings.HasPrefix(m.Path, w.root.Path+"/stores/")
}

// shows reports whether a module only shows or measures what the others do.
func (w *workspace) shows(m module) bool {
	return m.Path == w.root.Path+"/examples" || m.Path == w.root.Path+"/benchmarks"
}

// later reports whether only make check tests a package: one without goroutines whose
// code other tests run too, as to link each takes make test longer than its tests; the
// tests of what is for tests only; the programs around benchmarks; and the proofs, which
// it runs whole and watched.
func (w *workspace) later(pkg string) bool {
	name := w.name(pkg)
	return slices.Contains([]string{"internal/httpbridge", "internal/sqlkit", "openapi", "stores/storetest"}, name) ||
		strings.HasPrefix(name, "manage/internal/") ||
		strings.HasPrefix(name, "internal/test/") && name != "internal/test/proof/mutation" ||
		strings.HasPrefix(name, "benchmarks/") ||
		strings.HasPrefix(name, "examples/") && name != "examples/databases" && name != "examples/server"
}

// inner reports whether a package is of the root module and has goroutines that share
// memory, or is used by one: the root package and its parts. What stands around it, such
// as the web page, does one thing after the other.
func (w *workspace) inner(pkg string) bool {
	name := w.name(pkg)
	return name == "root" || strings.HasPrefix(name, "internal/") && !strings.HasPrefix(name, "internal/test/") || name == "stores/memory"
}

// around reports whether a package is of the root module and not inner.
func (w *workspace) around(pkg string) bool {
	return moduleOf(pkg, w.modules) == w.root.Path && !w.inner(pkg)
}

// allTests tests the stores whole, and with -short the others: what that leaves out
// waits for long, is data in which there are no races to find, or compiles much, and
// make check runs it. While tests of stores wait, the others have the processors; the
// lanes end at about the same time.
var allTests = stage{"tests of all modules; the race detector watches the root package, its parts and the stores", func(w *workspace, r *results) {
	race := raceFlags(w, r)
	all, err := w.packages()
	if err != nil {
		r.check("go list", err)
		return
	}
	processors := runtime.GOMAXPROCS(0)
	var lanes sync.WaitGroup
	test := func(name string, packages int, list []string, flags ...string) {
		if len(list) > 0 {
			lanes.Go(func() {
				r.gotest(name, w.command(w.root.Dir, "go", slices.Concat(goTest, atOnceOf(packages), flags, list)...))
			})
		}
	}
	var inner, stores, others []string
	for _, pkg := range all {
		switch {
		case w.later(pkg):
		case w.inner(pkg):
			inner = append(inner, pkg)
		case strings.HasPrefix(w.name(pkg), "stores/"):
			stores = append(stores, pkg)
		default:
			others = append(others, pkg)
		}
	}
	test("go test -race, the stores", processors+1, stores, race...)
	test("go test -race -short, the root package and its parts", processors, inner, append(race, "-short")...)
	test("go test -short, the others", processors, others, "-short")
	lanes.Wait()
}}

// longest are the packages whose tests take the longest; "" is the root.
var longest = []string{"", "/stores/postgres", "/stores/mysql", "/examples/server", "/manage"}

// packages lists the packages of all modules that have tests, those whose tests take the longest first.
func (w *workspace) packages() ([]string, error) {
	const tested = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}`
	out, err := w.command(w.root.Dir, "go", "list", "-f", tested, "work").Output()
	if err != nil {
		return nil, withStderr(err)
	}
	list := strings.Fields(string(out))
	others := func(pkg string) int {
		if slices.Contains(longest, strings.TrimPrefix(pkg, w.root.Path)) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(x, y string) int { return cmp.Compare(others(x), others(y)) })
	return list, nil
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

// The tests that call testserver.Variant or LongVariant, which make test skips: suites of a
// store again, over another form of it.
var (
	variants     = variantTests("the suites over variants of stores, with the race detector", "Variant", "1", raceFlags)
	longVariants = variantTests("the suites over variants that take minutes", "LongVariant", "all", func(*workspace, *results) []string { return nil })
)

// variantTests runs the tests that call a function of testserver, with the value of
// APITOKEN_VARIANTS that it takes.
func variantTests(name, call, value string, race func(*workspace, *results) []string) stage {
	// A line of a function begins with a tab, or is empty.
	calls := regexp.MustCompile(`(?m)^func (Test\w*)\(t \*testing\.T\) \{\n(?:\t.*\n|\n)*?\t+testserver\.` + call + `\(t\)`)
	return stage{name, func(w *workspace, r *results) {
		found, err := findTests(w, calls)
		if err == nil && len(found) == 0 {
			err = errors.New("there are none")
		}
		if err != nil {
			r.check("finding the tests of variants", err)
			return
		}
		names, packages := split(found)
		only := "-run=^(" + strings.Join(names, "|") + ")$"
		cmd := w.command(w.root.Dir, "go", slices.Concat(goTest, together, race(w, r), []string{only}, packages)...)
		cmd.Env = append(cmd.Env, "APITOKEN_VARIANTS="+value)
		r.gotest("go test, "+name, cmd)
	}}
}

// aloneTests sees each module as its users do, without the others of go.work. The
// race detector watches here what it does not watch in make test. It does not watch
// the examples and the benchmarks, which would take it as long as all the others:
// what runs in them is watched in the other modules. Where it does not watch, only
// what has not passed before in the same run is run, down to the parts of a test.
func aloneTests(name string, of func(*workspace, module) bool) stage {
	return stage{name, func(w *workspace, r *results) {
		flags := raceFlags(w, r)
		all, err := findTests(w, anyTest)
		if err != nil {
			r.check("finding the tests", err)
			return
		}
		for _, m := range w.modules {
			if of(w, m) {
				w.testAlone(r, m, flags, all)
			}
		}
	}}
}

// The stores wait for most of their time, so that they are tested beside the others.
func (w *workspace) isStore(m module) bool   { return w.shares(m) && m != w.root }
func (w *workspace) isNoStore(m module) bool { return !w.isStore(m) }

func (w *workspace) testAlone(r *results, m module, race []string, all []testID) {
	r.step("compiling "+w.name(m.Path), func() error { // go build would link every program, which their tests do
		return quiet(w.alone(m.Dir, "go", "list", "-export", "-f", "{{with .Error}}{{.}}{{end}}", "./..."))
	})
	r.step("go vet in "+w.name(m.Path), func() error { return quiet(w.alone(m.Dir, "go", "vet", "./...")) })
	args, packages := slices.Concat(goTest, together), []string{"./..."}
	if !w.shares(m) && !w.shows(m) {
		args = append(args, race...)
	} else if r.ran(m, w.modules) {
		var patterns []string
		patterns, packages = r.left(slices.DeleteFunc(slices.Clone(all), func(t testID) bool { return moduleOf(t.Package, w.modules) != m.Path }))
		args = append(args, "-run="+strings.Join(patterns, "|"))
	}
	if w.isStore(m) { // make test has had the stores watched whole
		args = append(args, "-short", "-skip=Watch")
	}
	if len(packages) > 0 {
		cmd := w.alone(m.Dir, "go", append(args, packages...)...)
		cmd.Env = append(cmd.Env, "APITOKEN_VARIANTS=1") // what of them the race detector has not watched
		r.gotest("go test in "+w.name(m.Path), cmd)
	}
	if m == w.root && race != nil {
		w.watchAround(r, race)
	}
}

// watchAround has the race detector watch what make test tests without it.
func (w *workspace) watchAround(r *results, race []string) {
	packages, err := w.packages()
	packages = slices.DeleteFunc(packages, func(pkg string) bool { return w.later(pkg) || !w.around(pkg) })
	if err != nil {
		r.check("go list", err)
	} else if len(packages) > 0 {
		r.gotest("go test -race -short, around the root package", w.command(w.root.Dir, "go", slices.Concat(goTest, together, race, []string{"-short"}, packages)...))
	}
}

// split returns the names of tests, and their packages, each once.
func split(tests []testID) (names, packages []string) {
	for _, t := range tests {
		names, packages = append(names, t.Test), append(packages, t.Package)
	}
	slices.Sort(names)
	slices.Sort(packages)
	return slices.Compact(names), slices.Compact(packages)
}

var anyTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(\w+ \*testing\.[TF]\)`)

// findTests finds, in the sources of all modules, the functions whose name a pattern
// catches. To ask "go test -list" would link the tests of every package.
func findTests(w *workspace, pattern *regexp.Regexp) (found []testID, err error) {
	const files = `{{range .TestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}`
	out, err := w.command(w.root.Dir, "go", "list", "-f", files, "work").Output()
	if err != nil {
		return nil, withStderr(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, file, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue // go list ends a package with an empty line
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range pattern.FindAllSubmatch(source, -1) {
			found = append(found, testID{pkg, string(m[1])})
		}
	}
	return found, nil
}
