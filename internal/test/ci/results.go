package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// results collects what became of every test. A test that runs in several
// stages counts once: it failed if it failed anywhere, else it passed if it
// passed anywhere, else it was skipped.
type results struct {
	out  *progress
	root string // path of the root module, left out of names

	mu       sync.Mutex // commands may run at once; held also while an event is printed
	outcomes map[testID]outcome
	reasons  map[testID]string // what a skipped test said
}

// A testID names a test, with Test empty a package, and without a package a
// check of another kind.
type testID struct{ Package, Test string }

type outcome int

const (
	skipped outcome = iota + 1
	passed
	failed
)

func newResults(out io.Writer, root string) *results {
	return &results{out: newProgress(out), root: root, outcomes: map[testID]outcome{}, reasons: map[testID]string{}}
}

func (r *results) record(id testID, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(id, o)
}

// note is called with the lock held.
func (r *results) note(id testID, o outcome) {
	r.outcomes[id] = max(r.outcomes[id], o)
}

// step names a check other than a test, does it, and records and prints what it
// came to.
func (r *results) step(name string, do func() error) {
	fmt.Fprintf(r.out, "run             %s\n", name)
	r.out.begin(name)
	err := do()
	took := r.out.end(name)
	if err == nil {
		fmt.Fprintf(r.out, "ok    %6.1f s  %s\n", took.Seconds(), name)
		r.record(testID{Test: name}, passed)
		return
	}
	r.check(name, err)
}

// check records what a check other than a test came to, and prints it.
func (r *results) check(name string, err error) {
	if err != nil {
		fmt.Fprintf(r.out, "FAIL  %s: %v\n", name, err)
		r.record(testID{Test: name}, failed)
		return
	}
	fmt.Fprintf(r.out, "ok    %s\n", name)
	r.record(testID{Test: name}, passed)
}

// skip records that a check other than a test was left out, and what it needs.
func (r *results) skip(check, needs string) {
	r.record(testID{Test: check}, skipped)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reasons[testID{Test: check}] = needs
}

// left returns what of some tests has not passed, as patterns for -run, and the packages
// of it: a test that has not run, or only the parts of it that were skipped.
func (r *results) left(tests []testID) (patterns, packages []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := map[testID][]string{} // by test, the parts that have not passed
	for id, o := range r.outcomes {
		if test, _, part := strings.Cut(id.Test, "/"); part && o != passed {
			whole := testID{id.Package, test}
			parts[whole] = append(parts[whole], id.Test)
		}
	}
	for _, test := range tests {
		of := parts[test]
		if r.outcomes[test] != passed {
			of = []string{test.Test}
		}
		for _, part := range of {
			patterns = append(patterns, "^"+strings.ReplaceAll(regexp.QuoteMeta(part), "/", "$/^")+"$")
			packages = append(packages, test.Package)
		}
	}
	slices.Sort(patterns)
	slices.Sort(packages)
	return slices.Compact(patterns), slices.Compact(packages)
}

// An event is a line of "go test -json", see "go doc test2json" and "go help buildjson".
type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
	Elapsed                                                float64
}

// A pkg is a package whose tests are running.
type pkg struct {
	output         map[string][]string // by test; "" is the package's own
	failures       []string            // output of tests that failed
	tests, skipped int
	failed         bool // a test failed
}

// gotest runs a "go test -json" command, records what each test came to, and
// prints a line for each package and all output of failures.
func (r *results) gotest(name string, cmd *exec.Cmd) {
	fmt.Fprintf(r.out, "run             %s\n", name)
	r.out.begin(name)
	defer func() { fmt.Fprintf(r.out, "done  %6.1f s  %s\n", r.out.end(name).Seconds(), name) }()
	cmd.Env = append(cmd.Env, inMemory()...)
	cmd.Stderr = r.out
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.check(name, err)
		return
	}
	failures, err := r.read(stdout)
	if err != nil {
		r.check("reading what go test -json prints", err)
	}
	if err := cmd.Wait(); err != nil && failures == 0 {
		r.check(name+" in "+cmd.Dir, err)
	}
}

// read returns how many tests and packages have failed.
func (r *results) read(stdout io.Reader) (failures int, err error) {
	packages := map[string]*pkg{}
	for d := json.NewDecoder(stdout); ; {
		var e event
		if err := d.Decode(&e); err == io.EOF {
			return failures, nil
		} else if err != nil {
			io.Copy(io.Discard, stdout) // or the command would not end
			return failures, err
		}
		p := packages[e.Package]
		if p == nil {
			p = &pkg{output: map[string][]string{}}
			packages[e.Package] = p
		}
		if e.Action == "fail" {
			failures++
		}
		r.event(p, e)
		r.follow(e)
	}
}

// follow tells the progress what is running.
func (r *results) follow(e event) {
	name := shorten(r.root, e.Package)
	switch {
	case e.Action == "start":
		r.out.begin(name)
	case e.Action == "run" || e.Action == "cont":
		r.out.at(name, e.Test)
	case e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
		r.out.end(name)
	}
}

func (r *results) event(p *pkg, e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := testID{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case e.Test != "":
		switch e.Action {
		case "fail":
			r.note(id, failed)
			p.failures = append(p.failures, p.output[e.Test]...)
			p.failed = true
		case "pass":
			r.note(id, passed)
		case "skip":
			r.note(id, skipped)
			if !needs(r.reasons[id]) { // -short has another reason for the same test
				r.reasons[id] = reason(p.output[e.Test])
			}
			p.skipped++
		default:
			return
		}
		p.tests++
		delete(p.output, e.Test)
	case e.Action == "pass":
		left := ""
		if p.skipped > 0 {
			left = fmt.Sprintf(", %d skipped", p.skipped)
		}
		fmt.Fprintf(r.out, "ok    %6.1f s  %s: %d tests%s\n", e.Elapsed, shorten(r.root, e.Package), p.tests, left)
	case e.Action == "fail":
		// Tests that did not end, as after a panic or a timeout, left output
		// behind, and so did the package itself.
		for _, test := range slices.Sorted(maps.Keys(p.output)) {
			p.failures = append(p.failures, p.output[test]...)
		}
		for _, line := range p.failures {
			if !strings.HasPrefix(line, "=== ") {
				fmt.Fprint(r.out, line)
			}
		}
		fmt.Fprintf(r.out, "FAIL  %6.1f s  %s\n", e.Elapsed, shorten(r.root, e.Package))
		if !p.failed { // it did not build, or ended otherwise
			r.note(id, failed)
		}
	}
}

var logged = regexp.MustCompile(`^\s+[^\s:]+\.go:\d+: (.*)`)

// reason finds the message of t.Skip, the last that a skipped test logs.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		if m := logged.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return ""
}

// requireTests fails for modules of which there is nothing, not even a failure:
// nobody would miss their tests.
func (r *results) requireTests(modules []module) {
	for _, m := range modules {
		if !r.ran(m, modules) {
			r.check("the tests of "+shorten(r.root, m.Path), errors.New("there are none"))
		}
	}
}

// ran reports whether there is anything of the tests of a module.
func (r *results) ran(m module, modules []module) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.outcomes {
		if moduleOf(id.Package, modules) == m.Path {
			return true
		}
	}
	return false
}

// moduleOf finds the module of a package: the longest path that begins the package's.
func moduleOf(pkg string, modules []module) (path string) {
	for _, m := range modules {
		if (pkg == m.Path || strings.HasPrefix(pkg, m.Path+"/")) && len(m.Path) > len(path) {
			path = m.Path
		}
	}
	return path
}

func (r *results) count(o outcome) (n int) {
	for _, got := range r.outcomes {
		if got == o {
			n++
		}
	}
	return n
}

// close prints what was left out, what failed and, alone on the last line, the
// counts. It reports whether all is well.
//
// A skip whose message begins with "needs " is for want of something on this
// machine; if strict, it fails. One with another message does not apply, as a
// case of a suite to a store without that ability, and is only counted. One
// that says nothing fails.
func (r *results) close(strict bool) bool {
	left := map[string][]string{}
	for id, o := range r.outcomes {
		if o != skipped {
			continue
		}
		why := r.reasons[id]
		if why == "" || strict && needs(why) {
			r.outcomes[id] = failed
		}
		why = cmp.Or(why, silent)
		left[why] = append(left[why], r.name(id))
	}
	if len(left) > 0 {
		fmt.Fprint(r.out, "\nskipped:\n")
	}
	for _, why := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(r.out, "  %s: %d\n", why, len(left[why]))
		if needs(why) || why == silent {
			fmt.Fprintf(r.out, "      %s\n", strings.Join(slices.Sorted(slices.Values(left[why])), "\n      "))
		}
	}

	var failures []string
	for id, o := range r.outcomes {
		if o == failed {
			failures = append(failures, r.name(id))
		}
	}
	if failures != nil {
		fmt.Fprintf(r.out, "\nfailed:\n  %s\n", strings.Join(slices.Sorted(slices.Values(failures)), "\n  "))
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.count(passed), r.count(failed), r.count(skipped))
	return failures == nil
}

// silent stands for the message of a skip that has none.
const silent = "without a message"

func needs(why string) bool { return strings.HasPrefix(why, "needs ") }

func (r *results) name(id testID) string {
	if id.Package == "" {
		return id.Test
	}
	return strings.TrimSpace(shorten(r.root, id.Package) + " " + id.Test)
}
