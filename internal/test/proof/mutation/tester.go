package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type verdict string

const (
	noticed  verdict = "noticed"
	survived verdict = "SURVIVED"
	invalid  verdict = "invalid" // it does not compile, or cannot be made for another reason, and so is no break
)

// A result is what became of a break.
type result struct {
	verdict
	by    string   // the test that failed, or what else showed it
	tests []string // those that failed each time
	suite string   // the package of these tests
}

// A tester makes test programs with breaks in them, and runs them.
type tester struct {
	root    string
	limit   time.Duration
	leftOut string // tests of the root package to leave out, as a regular expression
	slow    string // its tests that run only where the others notice nothing
	dir     string // of its own

	tests map[string][]string // suites, by the directory of breaks
}

// tooLong are the tests of stores that take too long to be run for each break.
var tooLong = map[string]string{
	"stores/sqlite": "TestEveryWayToAPageIsRight|TestManager|TestAKilledProcess|TestEveryColumnButThoseOfTouch|TestNoListReads",
}

// testsIn returns the names of the tests in a file, none if there is no such file.
func testsIn(file string) ([]string, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, decl := range tree.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
			names = append(names, f.Name.Name)
		}
	}
	return names, nil
}

// A selection says which tests run, by regular expressions, and how.
type selection struct {
	only, except string // "" for all, and for none
	times        int    // each
	failFast     bool
	limit        time.Duration // for all of them; 0: that of the tester
}

// An outcome is what a run has shown.
type outcome struct {
	passed bool
	by     string   // what failed first
	failed []string // tests; none if it cannot be told which
}

// A runner runs tests with the break of a number, 0 for none.
type runner func(ctx context.Context, number int, s selection) outcome

// runner returns the one for the tests of a package.
func (t *tester) runner(dir string) runner {
	return func(ctx context.Context, number int, s selection) outcome {
		limit := t.limit
		if s.limit > 0 {
			limit = s.limit
		}
		args := []string{"-test.short", "-test.timeout=" + limit.String(), "-test.count=" + strconv.Itoa(max(1, s.times))}
		if s.failFast {
			args = append(args, "-test.failfast")
		}
		if s.only != "" {
			args = append(args, "-test.run="+s.only)
		}
		if s.except != "" {
			args = append(args, "-test.skip="+s.except)
		}
		// What hangs before the tests begin does not come to their own time limit.
		whole, cancel := context.WithTimeout(ctx, limit+10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(whole, t.binary(dir), args...)
		cmd.Dir = filepath.Join(t.root, dir)
		cmd.Env = append(os.Environ(), "GOMEMLIMIT=2GiB", fmt.Sprint(variable, "=", number))
		cmd.WaitDelay = t.limit
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			return outcome{passed: true}
		case whole.Err() == context.DeadlineExceeded:
			return outcome{by: hangs}
		}
		return outcome{by: cause(out, err), failed: failedTests(out)}
	}
}

// phases are the selections that the tests of a package are run in.
func (t *tester) phases(dir string) []selection {
	if dir != "." {
		return []selection{{except: tooLong[dir]}}
	}
	if t.slow == "" {
		return []selection{{except: t.leftOut}}
	}
	return []selection{{except: either(t.leftOut, t.slow)}, {only: t.slow, except: t.leftOut}}
}

// How often tests are run again: those that noticed a break, with it, to be
// believed; and tests without a break.
const (
	repeats      = 2
	cleanRuns    = 3
	cleanAtEnd   = 5
	maxUnsteady  = 10               // tests that one break makes fail now and then, before it is given up
	hangingLimit = 30 * time.Second // to show again that a test hangs
	cleanLimit   = 10 * time.Minute // for tests that are to pass
)

// examine runs the tests with a break. A test has noticed it if it fails each time
// that it is repeated; what fails only sometimes has not, and is left out then.
func examine(ctx context.Context, run runner, number int, phases []selection, distrusted []string) result {
	out := slices.Clone(distrusted)
	var unsteady []string
	for _, phase := range phases {
		phase.failFast = true
		except := phase.except
		for {
			phase.except = either(except, exactly(out))
			first := run(ctx, number, phase)
			if first.passed {
				break
			}
			again := phase
			if len(first.failed) > 0 {
				again = selection{only: exactly(first.failed)}
			}
			if first.by == hangs {
				again.limit = hangingLimit
			}
			each := first.failed
			failed := 1
			for range repeats {
				o := run(ctx, number, again)
				if o.passed {
					each = nil
					break
				}
				failed++
				each = slices.DeleteFunc(slices.Clone(each), func(name string) bool { return !slices.Contains(o.failed, name) })
			}
			switch {
			case len(each) > 0:
				by := first.by
				if name, _, _ := strings.Cut(by, "/"); strings.HasPrefix(by, "Test") && !slices.Contains(each, name) {
					by = each[0]
				}
				return result{verdict: noticed, by: by, tests: each}
			case len(first.failed) == 0 && failed > repeats:
				return result{verdict: noticed, by: first.by}
			case len(first.failed) == 0:
				return result{verdict: survived, by: "but once there was: " + first.by}
			}
			out = append(out, first.failed...)
			if unsteady = append(unsteady, first.failed...); len(unsteady) > maxUnsteady {
				return result{verdict: survived, by: "but some fail now and then: " + strings.Join(unsteady, ", ")}
			}
		}
	}
	if unsteady != nil {
		return result{verdict: survived, by: "but some fail now and then: " + strings.Join(unsteady, ", ")}
	}
	return result{verdict: survived}
}

// failing runs the tests of the clean program a few times, and returns those that
// do not always pass. It is an error if it cannot be told which.
func failing(ctx context.Context, run runner, phases []selection, times int) ([]string, error) {
	names := map[string]bool{}
	for range times {
		for _, phase := range phases {
			phase.limit = cleanLimit
			phase.except = either(phase.except, exactly(slices.Sorted(maps.Keys(names))))
			for {
				o := run(ctx, 0, phase)
				if o.passed {
					break
				}
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				if len(o.failed) == 0 {
					return nil, fmt.Errorf("the tests fail without a break: %s", o.by)
				}
				for _, name := range o.failed {
					names[name] = true
				}
				phase.except = either(phase.except, exactly(o.failed)) // the rest may not have run
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// recheck runs the tests that noticed breaks more times without one. Those that
// fail have noticed nothing, and what they seemed to notice is examined again,
// until all that noticed something always pass.
func recheck(ctx context.Context, run runner, phases []selection, numbers map[int]*brk, distrusted []string) ([]string, error) {
	checked := map[string]bool{}
	for {
		names := map[string]bool{}
		for _, b := range numbers {
			for _, name := range b.tests {
				if b.verdict == noticed && !checked[name] {
					names[name], checked[name] = true, true
				}
			}
		}
		if len(names) == 0 {
			return distrusted, nil
		}
		bad, err := failing(ctx, run, []selection{{only: exactly(slices.Sorted(maps.Keys(names))), times: cleanAtEnd}}, 1)
		if err != nil {
			return nil, err
		}
		distrusted = append(distrusted, bad...)
		for number, b := range numbers {
			if b.verdict == noticed && slices.ContainsFunc(b.tests, func(name string) bool { return slices.Contains(bad, name) }) {
				suite := b.suite
				b.result = examine(ctx, run, number, phases, distrusted)
				b.suite = suite
			}
		}
	}
}

// either joins regular expressions for the names of tests; "" is none.
func either(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "|" + b
}

// exactly is a regular expression for tests of these names, "" for none.
func exactly(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

const hangs = "hangs"

var (
	failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	running = regexp.MustCompile(`(?m)^\t\t((?:Test|Fuzz|Example)[^/\s]*)\S* \(`) // when the time was up
)

// failedTests are the outermost tests that failed, or ran when the time was up.
func failedTests(out []byte) []string {
	var names []string
	found := failure.FindAllSubmatch(out, -1)
	if bytes.Contains(out, []byte("test timed out after")) {
		found = append(found, running.FindAllSubmatch(out, -1)...)
	}
	for _, m := range found {
		name, _, _ := strings.Cut(string(m[1]), "/")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// cause says what showed the break: the innermost test that failed first.
func cause(out []byte, err error) string {
	if bytes.Contains(out, []byte("test timed out after")) {
		return hangs
	}
	if all := failure.FindAllSubmatch(out, -1); all != nil {
		// An outer test comes before its parts.
		name := string(all[0][1])
		for _, m := range all[1:] {
			if strings.HasPrefix(string(m[1]), name+"/") {
				name = string(m[1])
			}
		}
		return name
	}
	for _, head := range []string{"panic: ", "fatal error: ", "runtime: "} {
		if i := bytes.Index(out, []byte(head)); i >= 0 {
			return oneLine(firstLine(out[i:]))
		}
	}
	return fmt.Sprint(err, " ", oneLine(firstLine(out)))
}

func firstLine(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}
