package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
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
	invalid  verdict = "invalid" // it does not compile, or is left out for another reason, and so is no break
)

// A result is what became of a break.
type result struct {
	verdict
	by string // the first test that failed, or what else showed it
}

// A tester runs the tests of the packages with breaks.
type tester struct {
	root    string
	limit   time.Duration
	leftOut []string // tests of the project's files, not of what the code does
	alsoOut string
	slow    string // tests that run only where the others notice nothing
	dir     string // of its own
}

// tooLong are the tests of stores that take too long to be run for each break.
var tooLong = map[string]string{
	"stores/sqlite": "TestEveryWayToAPageIsRight|TestManager|TestAKilledProcess|TestEveryColumnButThoseOfTouch|TestNoListReads",
}

// testsIn returns the names of the tests in a file.
func testsIn(file string) ([]string, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
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

// build compiles the tests of a package with all its breaks in them, by an
// overlay: nothing in the tree is changed. Breaks that do not compile are taken out
// again.
func (t *tester) build(ctx context.Context, dir string, breaks []*brk) error {
	if err := os.MkdirAll(filepath.Join(t.dir, dir), 0o777); err != nil {
		return err
	}
	overlay := filepath.Join(t.dir, dir, "overlay.json")
	for range 20 {
		files, err := weave(t.root, dir, breaks)
		if err != nil {
			return err
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
				return err
			}
			replace[filepath.Join(t.root, file)] = name
		}
		list, _ := json.Marshal(map[string]any{"Replace": replace})
		if err := os.WriteFile(overlay, list, 0o666); err != nil {
			return err
		}
		out, err := t.gocommand(ctx, dir, "build", "-gcflags=-e", "-overlay="+overlay, ".")
		if err == nil {
			out, err = t.gocommand(ctx, dir, "test", "-c", "-o", t.binary(dir), "-overlay="+overlay, "-vet=off", ".")
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		}
		found := false
		for _, m := range compileError.FindAllSubmatch(out, -1) {
			line, _ := strconv.Atoi(string(m[2]))
			if w := files[path.Join(dir, filepath.Base(string(m[1])))]; w != nil {
				if n := w.breakAt(line); n > 0 && breaks[n-1].verdict == "" {
					breaks[n-1].result = result{invalid, string(m[3])}
					found = true
				}
			}
		}
		if !found {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	return errors.New("there is no end of breaks that do not compile")
}

// binary is the program with the tests of a package.
func (t *tester) binary(dir string) string { return filepath.Join(t.dir, dir, "package.test") }

var compileError = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: (.*)$`)

func (t *tester) gocommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = filepath.Join(t.root, dir), append(os.Environ(), "GOWORK=off")
	return cmd.CombinedOutput()
}

// test runs the tests of a package with the break of a number, 0 for none.
func (t *tester) test(ctx context.Context, dir string, number int) result {
	if dir != "." {
		return t.run(ctx, dir, number, "-test.skip="+tooLong[dir])
	}
	out := strings.Join(t.leftOut, "|")
	if t.alsoOut != "" {
		out += "|" + t.alsoOut
	}
	fast := out
	if t.slow != "" {
		fast += "|" + t.slow
	}
	r := t.run(ctx, dir, number, "-test.skip="+fast)
	if r.verdict == survived && t.slow != "" {
		r = t.run(ctx, dir, number, "-test.run="+t.slow, "-test.skip="+out)
	}
	return r
}

func (t *tester) run(ctx context.Context, dir string, number int, args ...string) result {
	// What hangs before the tests begin does not come to their own time limit.
	ctx, cancel := context.WithTimeout(ctx, t.limit+10*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, t.binary(dir), append(args, "-test.failfast", "-test.short", "-test.timeout="+t.limit.String())...)
	run.Dir = filepath.Join(t.root, dir)
	run.Env = append(os.Environ(), "GOMEMLIMIT=2GiB", fmt.Sprint(variable, "=", number))
	run.WaitDelay = t.limit
	out, err := run.CombinedOutput()
	switch {
	case err == nil:
		return result{survived, ""}
	case ctx.Err() == context.DeadlineExceeded:
		return result{noticed, hangs}
	}
	return result{noticed, cause(out, err)}
}

// flaky runs the tests that noticed something a few more times without any break,
// and says which of them fails, "" for none.
func (t *tester) flaky(ctx context.Context, breaks []*brk) string {
	names := map[string]map[string]bool{} // by directory
	for _, b := range breaks {
		if name, _, _ := strings.Cut(b.by, "/"); b.verdict == noticed && strings.HasPrefix(name, "Test") {
			if names[b.dir()] == nil {
				names[b.dir()] = map[string]bool{}
			}
			names[b.dir()][name] = true
		}
	}
	for dir, names := range names {
		list := strings.Join(slices.Sorted(maps.Keys(names)), "|")
		if r := t.run(ctx, dir, 0, "-test.run=^("+list+")$", "-test.count=5"); r.verdict != survived {
			return r.by
		}
	}
	return ""
}

const hangs = "hangs"

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

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
