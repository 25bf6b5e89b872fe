package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// The list of seeds follows the code: each of them is there to be broken.
func TestEverySeedIsInTheCodeOnce(t *testing.T) {
	breaks, err := seededBreaks(filepath.Join("..", "..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, b := range breaks {
		if said[b.what] {
			t.Errorf("two seeds say %q", b.what)
		}
		said[b.what] = true
	}
	t.Logf("%d seeds", len(breaks))
}

// A seed that does not compile would show nothing.
func TestEverySeedCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles all packages with breaks: left out with -short")
	}
	root, err := filepath.Abs(filepath.Join("..", "..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	breaks, err := seededBreaks(root)
	if err != nil {
		t.Fatal(err)
	}
	tester := &tester{root: root, dir: t.TempDir()}
	for dir := range directories(breaks) {
		if err := tester.build(t.Context(), dir, breaks); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range breaks {
		if b.verdict == invalid {
			t.Errorf("%s: %s", b, b.by)
		}
	}
}

func TestThePageNamesSeedsThatDoNotCompile(t *testing.T) {
	seed := &brk{file: "token.go", line: 7, what: "the checksum is not checked", seeded: true, result: result{invalid, "undefined: x"}}
	mechanical := &brk{file: "token.go", line: 8, what: "negate ok", result: result{invalid, "undefined: y"}}
	r := summarize([]*brk{seed, mechanical}, 1, 0)
	if len(r.unbuilt) != 1 || !strings.Contains(r.page(""), "- token.go:7: the checksum is not checked: undefined: x\n") {
		t.Errorf("%v", r.page(""))
	}
}

func TestTheMutatorFindsItsPlaces(t *testing.T) {
	const source = `package p

func f(a, b int) (n int) {
	if a < b && a != 0 {
		n = a
	}
	defer g()
	n++
	return n
}
`
	var said []string
	breaks, err := mutations("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaks {
		said = append(said, b.String())
	}
	const want = `p.go:4: leave out if a < b && a != 0 { n = a }
p.go:7: leave out defer g()
p.go:8: leave out n++
p.go:4: negate a < b && a != 0
p.go:4: && becomes || in a < b && a != 0
p.go:4: < becomes <= in a < b
p.go:4: != becomes == in a != 0
p.go:4: 0 becomes 1 in if a < b && a != 0 {
p.go:5: leave out n = a`
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("the mutator makes\n%s\nnot\n%s", got, want)
	}
	for _, b := range breaks {
		if source[b.from:b.to] == b.text {
			t.Errorf("%s changes nothing", b)
		}
	}
}

func TestMechanicalBreaksAreSpreadOverTheFiles(t *testing.T) {
	const n = 100
	breaks, possible, err := mechanicalBreaks(filepath.Join("..", "..", "..", ".."), n, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(breaks) != n || possible < 5*n {
		t.Errorf("%d breaks of %d", len(breaks), possible)
	}
	files := map[string]int{}
	for _, b := range breaks {
		files[b.file]++
	}
	if len(files) != len(mutated) {
		t.Errorf("breaks by file: %v", files)
	}
}

func TestTheCauseIsTheFirstTestThatFailed(t *testing.T) {
	for out, want := range map[string]string{
		"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\n        x\nFAIL\n": "TestA/b",
		"panic: test timed out after 2m0s\n":                                        "hangs",
		"panic: assignment to nil\n\ngoroutine 1":                                   "panic: assignment to nil",
	} {
		if got := cause([]byte(out), errors.New("exit status 2")); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
