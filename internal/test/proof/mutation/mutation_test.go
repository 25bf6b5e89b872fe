package main

import (
	"context"
	"errors"
	"go/format"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const sample = `package p

import "errors"

var ErrGone, ErrLate = errors.New("gone"), errors.New("late")

type store struct{ rows map[string]int }

func (s *store) get(id string, now, end int) (int, error) {
	n, ok := s.rows[id]
	switch {
	case !ok:
		return 0, ErrGone
	case end != 0 && now >= end:
		return 0, ErrLate
	case n < 0, n > 9 && now > 0:
		return 0, nil
	}
	if err := check(id); err != nil && (n == 1 || n == 2) {
		return 0, err
	}
	for n > 5 {
		n--
	}
	return max(n, now, end), nil
}

func check(id string) error {
	if id == "" {
		return errors.New("empty")
	}
	f := func() error { return ErrGone }
	_ = f
	note(id)
	return nil
}

func note(string) {}
`

func sampleLibrary(t *testing.T) *library {
	t.Helper()
	p := &pkg{set: token.NewFileSet()}
	if err := p.add("p.go", []byte(sample)); err != nil {
		t.Fatal(err)
	}
	return &library{pkgs: map[string]*pkg{".": p}}
}

func TestEditsDoWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		in        string
		edit      edit
		old, made string
	}{
		{"store.get", never(when("ok")), "case !ok:", "case ((!ok) && false):"},
		{"store.get", always(then("ErrGone")), "case !ok:", "case ((!ok) || true):"},
		{"store.get", negate(then("ErrLate")), "case end != 0 && now >= end:", "case !(end != 0 && now >= end):"},
		{"store.get", never(when("n < 0")), "case n < 0, n > 9 && now > 0:", "case (((n < 0) || (n > 9 && now > 0)) && false):"},
		{"store.get", never(when("check")), "err != nil && (n == 1 || n == 2)", "((err != nil && (n == 1 || n == 2)) && false)"},
		{"store.get", never(when("n > 5")), "for n > 5 {", "for ((n > 5) && false) {"},
		{"store.get", op(expr("now", "end >= now"), "<"), "", ""},
		{"store.get", op(expr("now>=end"), "<"), "now >= end", "now < end"},
		{"store.get", without(operand("end != 0")), "end != 0 && now >= end", "now >= end"},
		{"store.get", without(operand("n == 1", "n == 2")), "err != nil && (n == 1 || n == 2)", "err != nil"},
		{"store.get", without(expr("n < 0")), "case n < 0, n > 9", "case n > 9"},
		{"store.get", without(within(call("max"), expr("end"))), "max(n, now, end)", "max(n, now)"},
		{"store.get", without(within(call("max"), expr("n"))), "max(n, now, end)", "max(now, end)"},
		{"store.get", drop(clause("ErrGone")), "\tcase !ok:\n\t\treturn 0, ErrGone\n", ""},
		{"store.get", drop(stmt("check")), "if err := check(id); err != nil && (n == 1 || n == 2) {\n\t\treturn 0, err\n\t}", "{\n\t}"},
		{"store.get", become(ret("ErrLate"), "return n, nil"), "return 0, ErrLate", "return n, nil"},
		{"store.get", become(nth(2, expr("0")), "$ + 1"), "end != 0", "end != 0+1"},
		{"store.get", swap(within(call("max"), expr("n")), within(call("max"), expr("end"))), "max(n, now, end)", "max(end, now, n)"},
		{"check", become(within(stmt("f", "ErrGone"), ret()), "return nil"), "return ErrGone", "return nil"},
		{"check", before(stmt("note"), `id = "x"`), "\tnote(id)", "\tid = \"x\"\n\tnote(id)"},
		{"check", begin(`id += "x"`), "error {\n\tif id", "error {\n\tid += \"x\"\n\tif id"},
		{"check", drop(call("note")), "", ""}, // no statement
		{"check", both(drop(stmt("note")), become(ret("nil"), "return ErrGone")), "note(id)\n\treturn nil", "{\n\t}\n\treturn ErrGone"},
	} {
		l := sampleLibrary(t)
		b, elsewhere, err := l.where(c.in, c.edit)
		if c.old == "" && c.made == "" {
			if err == nil {
				t.Errorf("%s: it applies", c.edit.said)
			}
			continue
		}
		if err != nil || elsewhere != "" {
			t.Errorf("%s: %v, found in %q", c.edit.said, err, elsewhere)
			continue
		}
		made, err := format.Source([]byte(sample[:b.from] + b.text + sample[b.to:]))
		if err != nil {
			t.Errorf("%s: %v", c.edit.said, err)
			continue
		}
		want, err := format.Source([]byte(strings.Replace(sample, c.old, c.made, 1)))
		if err != nil || string(want) == sample {
			t.Fatalf("%s: %v", c.edit.said, err)
		}
		// (gofmt keeps empty lines that were there.)
		if plain(string(made)) != plain(string(want)) {
			t.Errorf("%s makes\n%s", c.edit.said, made)
		}
	}
}

var spaces = regexp.MustCompile(`\s+`)

func plain(source string) string { return spaces.ReplaceAllString(source, " ") }

// What does not apply is reported with the reason, and what applies in exactly one
// other function is found there. Neither is a failure.
func TestSeedsThatDoNotApplyAreReportedAndDoNotFail(t *testing.T) {
	list := []seed{
		{"it applies", "store.get", never(then("ErrLate"))},
		{"it was renamed", "store.find", never(then("ErrLate"))},
		{"it was split", "check", never(then("ErrLate"))},
		{"with one that tells its new name", "store.find", begin("now++")},
		{"the function is gone", "store.found", never(then("ErrNobody"))},
		{"the node is gone", "store.get", never(then("ErrNobody"))},
		{"it is ambiguous", "store.get", become(ret("0"), "return 1, nil")},
		{"what begins is not looked for elsewhere", "checked", begin("return nil")},
	}
	r := new(report)
	r.breaks, r.gone, r.moved = seededBreaks(sampleLibrary(t), list)
	for _, b := range r.breaks {
		b.verdict = noticed
	}
	r.breaks[3].result = result{verdict: invalid, by: "undefined: x"}
	r.summarize()
	if len(r.breaks) != 4 || len(r.gone) != 4 || len(r.moved) != 3 || len(r.unbuilt) != 1 {
		t.Errorf("%d apply, gone: %v, moved: %v, they do not compile: %v", len(r.breaks), r.gone, r.moved, r.unbuilt)
	}
	for _, part := range []string{
		"the function is gone: there is no function store.found", "the node is gone: store.get has no condition of ErrNobody",
		"it is ambiguous: store.get has 4 of return with 0", "it was renamed: found in store.get, not in store.find", "undefined: x", "4 no longer apply",
	} {
		if text := r.text(); !strings.Contains(text, part) {
			t.Errorf("the text does not say %q:\n%s", part, text)
		}
		if page := r.page(""); !strings.Contains(page, part) {
			t.Errorf("the page does not say %q:\n%s", part, page)
		}
	}
	if err := r.failure(); err != nil {
		t.Error(err)
	}
	r = &report{breaks: []*brk{{file: "p.go", result: result{verdict: survived}}}}
	if r.summarize(); r.failure() == nil {
		t.Error("a survivor without an argument is no failure")
	}
}

func TestArgumentsAreAboutWhatTheMutatorMakes(t *testing.T) {
	l := sampleLibrary(t)
	all := mutations(l.pkgs["."])
	gone := argue(l, all, []argument{
		{"store.get", op(expr("now >= end"), "=="), "there is no such break"},
		{"store.get", become(expr("5"), "6"), "one more"},
		{"check", drop(stmt("note")), "left out"},
		{"checked", drop(stmt("nothing")), "gone"},
	})
	var said []string
	for _, b := range all {
		if b.why != "" {
			said = append(said, b.what)
		}
	}
	if !slices.Equal(said, []string{"5 becomes 6 in for n > 5 {", "leave out note(id)"}) || len(gone) != 2 {
		t.Errorf("argued: %q; about nothing: %v", said, gone)
	}
}

func TestAFileGetsTheImportsOfASeed(t *testing.T) {
	tree, err := parser.ParseFile(token.NewFileSet(), "p.go", sample, 0)
	if err != nil {
		t.Fatal(err)
	}
	breaks := []*brk{{text: `x.strings.y(errors.New("a"))`}, {text: `strings.Cut(id, "time."); slices.Sort(strings.Fields(id))`}, {text: "bytes.Equal(a, b)"}}
	if got := missingImports(tree, breaks, []int{1, 2}); !slices.Equal(got, []string{"strings", "slices"}) {
		t.Error(got)
	}
}

func TestNoTwoSeedsSayTheSame(t *testing.T) {
	said := map[string]bool{}
	for _, s := range seeds {
		if said[s.breaks] {
			t.Errorf("two seeds say %q", s.breaks)
		}
		said[s.breaks] = true
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
	p := &pkg{set: token.NewFileSet()}
	if err := p.add("p.go", []byte(source)); err != nil {
		t.Fatal(err)
	}
	var said []string
	breaks := mutations(p)
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
	var all []*brk
	for _, file := range []string{"a.go", "b.go", "c.go"} {
		for range map[string]int{"a.go": 2, "b.go": 100, "c.go": 50}[file] {
			all = append(all, &brk{file: file})
		}
	}
	files := map[string]int{}
	for _, b := range spread(all, 30, 3) {
		files[b.file]++
	}
	if files["a.go"] != 2 || files["b.go"] != 14 || files["c.go"] != 14 {
		t.Errorf("breaks by file: %v", files)
	}
	if n := len(spread(all, -1, 0)); n != len(all) {
		t.Errorf("%d of all %d", n, len(all))
	}
}

// A suite is a runner of tests that fail as their functions say.
type suite struct {
	tests map[string]func(number int) bool // whether it fails
	names []string
	runs  int
}

func (s *suite) run(_ context.Context, number int, sel selection) outcome {
	s.runs++
	o := outcome{passed: true}
	for range max(1, sel.times) {
		for _, name := range s.names {
			if sel.only != "" && !regexp.MustCompile(sel.only).MatchString(name) || sel.except != "" && regexp.MustCompile(sel.except).MatchString(name) {
				continue
			}
			if s.tests[name](number) {
				o.passed, o.by = false, name
				if !slices.Contains(o.failed, name) {
					o.failed = append(o.failed, name)
				}
				if sel.failFast {
					return o
				}
			}
		}
	}
	return o
}

func newSuite(tests map[string]func(int) bool) *suite {
	s := &suite{tests: tests}
	for name := range tests {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return s
}

func withBreak(number int) bool { return number > 0 }

func passes(int) bool { return false }

// each fails every n-th time.
func each(n int) func(int) bool {
	calls := 0
	return func(int) bool {
		calls++
		return calls%n == 0
	}
}

func TestATestThatFailsNowAndThenDoesNotNotice(t *testing.T) {
	first := func() func(int) bool { // fails the first time only
		done := false
		return func(int) bool { was := done; done = true; return !was }
	}
	all := []selection{{}}
	r := examine(t.Context(), newSuite(map[string]func(int) bool{"TestA": first(), "TestB": withBreak}).run, 1, all, nil)
	if r.verdict != noticed || r.by != "TestB" {
		t.Errorf("%v by %q", r.verdict, r.by)
	}
	r = examine(t.Context(), newSuite(map[string]func(int) bool{"TestA": first(), "TestB": passes}).run, 1, all, nil)
	if r.verdict != survived || !strings.Contains(r.by, "TestA") {
		t.Errorf("%v by %q", r.verdict, r.by)
	}
	r = examine(t.Context(), newSuite(map[string]func(int) bool{"TestA": withBreak}).run, 1, all, []string{"TestA"})
	if r.verdict != survived {
		t.Errorf("a distrusted test has noticed: %v by %q", r.verdict, r.by)
	}
	r = examine(t.Context(), newSuite(map[string]func(int) bool{"TestA": passes, "TestSlow": withBreak}).run, 1, []selection{{except: "Slow"}, {only: "Slow"}}, nil)
	if r.verdict != noticed || r.by != "TestSlow" {
		t.Errorf("%v by %q", r.verdict, r.by)
	}
}

func TestACrashThatNamesNoTestIsRepeatedWhole(t *testing.T) {
	runs := 0
	crashes := func(times int) runner {
		runs = 0
		return func(context.Context, int, selection) outcome {
			runs++
			return outcome{passed: runs > times, by: "panic: x"}
		}
	}
	if r := examine(t.Context(), crashes(100), 1, []selection{{}}, nil); r.verdict != noticed || runs != 1+repeats {
		t.Errorf("%v in %d runs", r.verdict, runs)
	}
	if r := examine(t.Context(), crashes(1), 1, []selection{{}}, nil); r.verdict != survived {
		t.Errorf("%v", r.verdict)
	}
}

func TestATestThatFailsWithoutABreakDoesNotCountAsAKiller(t *testing.T) {
	all := []selection{{}}
	s := newSuite(map[string]func(int) bool{"TestA": each(2), "TestB": passes, "TestC": each(3)})
	names, err := failing(t.Context(), s.run, all, 3)
	if err != nil || !slices.Equal(names, []string{"TestA", "TestC"}) {
		t.Errorf("%v %v", names, err)
	}

	// It passes at first, and seems to notice both breaks; then it fails without one.
	late := 0
	unsteady := func(number int) bool {
		late++
		return number > 0 || late > 10
	}
	s = newSuite(map[string]func(int) bool{
		"TestA": unsteady, "TestB": func(number int) bool { return number == 2 },
	})
	one, two := &brk{}, &brk{}
	for number, b := range map[int]*brk{1: one, 2: two} {
		b.result = examine(t.Context(), s.run, number, all, nil)
		if b.by != "TestA" {
			t.Fatalf("break %d: %v by %q", number, b.verdict, b.by)
		}
	}
	names, err = recheck(t.Context(), s.run, all, map[int]*brk{1: one, 2: two}, nil)
	if err != nil || !slices.Equal(names, []string{"TestA"}) {
		t.Errorf("%v %v", names, err)
	}
	if one.verdict != survived || two.verdict != noticed || two.by != "TestB" {
		t.Errorf("%v by %q, %v by %q", one.verdict, one.by, two.verdict, two.by)
	}

	_, err = failing(t.Context(), func(context.Context, int, selection) outcome { return outcome{by: "panic: x"} }, all, 1)
	if err == nil {
		t.Error("a crash without a break is no error")
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

func TestTheTestsThatFailedAreNamed(t *testing.T) {
	for out, want := range map[string][]string{
		"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\n--- FAIL: TestB (0.1s)\n":                                     {"TestA", "TestB"},
		"panic: test timed out after 2m0s\n\trunning tests:\n\t\tTestA/b_c (2m0s)\n\t\tTestD (1s)\n\ngoroutine 1 [running]:\n": {"TestA", "TestD"},
		"panic: x\n": nil,
	} {
		if got := failedTests([]byte(out)); !slices.Equal(got, want) {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestAPackageWithoutTestsIsTestedByTheOneThatItIsAPartOf(t *testing.T) {
	tester := &tester{root: filepath.Join("..", "..", "..", "..")}
	for dir, want := range map[string][]string{
		"internal/feed": {"."}, "internal/derived": {"internal/derived", "."}, "internal/sqlkit": {"internal/sqlkit", "stores/sqlite"},
		"stores/sqlite": {"stores/sqlite"}, ".": {"."},
	} {
		if got, err := tester.suites(dir); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s is tested by %q, not by %q: %v", dir, got, want, err)
		}
	}
}
