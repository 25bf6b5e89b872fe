package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newWorkspace writes a workspace with a module for each name, "" being the
// root, and the files given as "module/file" with their text.
func newWorkspace(t *testing.T, files map[string]string) (*workspace, *results, *strings.Builder) {
	dir := t.TempDir()
	write := func(file, text string) {
		file = filepath.Join(dir, filepath.FromSlash(file))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o777))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
	}
	write("go.mod", "module example.com/m\n\ngo 1.26\n")
	work := "go 1.26\n\nuse .\n"
	for file, text := range files {
		write(file, text)
		if nested, ok := strings.CutSuffix(file, "/go.mod"); ok {
			work += "use ./" + nested + "\n"
		}
	}
	write("go.work", work)
	w, err := openWorkspace(dir)
	require.NoError(t, err)
	out := new(strings.Builder)
	return w, newResults(out, w.root.Path), out
}

func anyModule(*workspace, module) bool { return true }

// compilesMuch skips a test for which the go command makes several programs.
func compilesMuch(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles several programs")
	}
}

func TestWhatGoTestReportsIsCountedAndFailuresAreShown(t *testing.T) {
	compilesMuch(t)
	const head = "package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar (\n\t_ = os.Exit\n\t_ testing.TB\n)\n\n"
	tests := []struct {
		name, code string
		strict     bool
		ok         bool
		closing    string
		shows      []string
	}{
		{name: "a test that passes", code: "func TestA(t *testing.T) { t.Log(\"quiet\") }",
			ok: true, closing: "1 passed, 0 failed, 0 skipped", shows: []string{"root: 1 tests"}},
		{name: "a test that fails is shown in full", code: "func TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { t.Log(\"one\"); t.Error(\"two\") }",
			closing: "1 passed, 1 failed, 0 skipped", shows: []string{"one", "two", "failed:\n  root TestB\n"}},
		{name: "a subtest that fails", code: "func TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"why\") }) }",
			closing: "0 passed, 2 failed, 0 skipped", shows: []string{"why", "root TestA/sub"}},
		{name: "a panic", code: "func TestA(t *testing.T) { panic(\"why\") }",
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"panic: why"}},
		{name: "a test that ends the process", code: "func TestA(t *testing.T) { t.Log(\"where\"); os.Exit(3) }",
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"FAIL"}},
		{name: "code that does not compile", code: "func TestA(t *testing.T) { undefined() }",
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"undefined: undefined"}},
		{name: "code that does not parse", code: "func",
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"expected"}},
		{name: "a skip that says what it needs", code: "func TestA(t *testing.T) { t.Log(\"first\"); t.Skip(\"needs a moon (Debian: moon)\") }",
			ok: true, closing: "0 passed, 0 failed, 1 skipped", shows: []string{"skipped:\n  needs a moon (Debian: moon): 1\n      root TestA\n"}},
		{name: "a skip where everything is required", code: "func TestA(t *testing.T) { t.Skip(\"needs a moon\") }", strict: true,
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"needs a moon"}},
		{name: "a case that does not apply", code: "func TestA(t *testing.T) { t.Skip(\"the store has no moon\") }", strict: true,
			ok: true, closing: "0 passed, 0 failed, 1 skipped", shows: []string{"skipped:\n  the store has no moon: 1\n"}},
		{name: "a skip that says nothing", code: "func TestA(t *testing.T) { t.SkipNow() }",
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"without a message"}},
		{name: "no tests", code: "",
			closing: "0 passed, 1 failed, 0 skipped", shows: []string{"the tests of root"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, r, out := newWorkspace(t, map[string]string{"m_test.go": head + tt.code})
			r.gotest("go test", w.command(w.root.Dir, "go", append(goTest, "work")...))
			r.requireTests(w.modules)
			assert.Equal(t, tt.ok, r.close(tt.strict), out)
			assert.True(t, strings.HasSuffix(out.String(), "\n"+tt.closing+"\n"), out)
			for _, text := range tt.shows {
				assert.Contains(t, out.String(), text)
			}
			assert.NotContains(t, out.String(), "quiet")
		})
	}
}

func TestATestThatRanInAnyStageIsNotSkipped(t *testing.T) {
	compilesMuch(t)
	const code = "package m\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {\n\tif testing.Short() {\n\t\tt.Skip(\"needs time\")\n\t}\n}\n"
	w, r, out := newWorkspace(t, map[string]string{"m_test.go": code, "stores/n/go.mod": "module example.com/m/stores/n\n\ngo 1.26\n", "stores/n/n_test.go": code})
	aloneTests("", anyModule).run(w, r)
	assert.Equal(t, 1, r.count(skipped), "of the store, which make test tests whole: %s", out)
	r.gotest("go test", w.command(w.root.Dir, "go", append(goTest, "work")...))
	r.requireTests(w.modules)
	assert.True(t, r.close(true), out)
	assert.Contains(t, out.String(), "\n6 passed, 0 failed, 0 skipped\n", "two tests, and compiling and vetting two modules")
}

func TestTheTestsOfVariantsAreFoundAndOnlyTheyRun(t *testing.T) {
	compilesMuch(t)
	const code = "package n\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\ntype server struct{}\n\nvar testserver server\n\n" +
		"func (server) Variant(t *testing.T) {\n\tif os.Getenv(\"APITOKEN_VARIANTS\") != \"1\" {\n\t\tt.Skip(\"repeats a suite\")\n\t}\n}\n\n" +
		"func TestA(t *testing.T) {\n\tt.Error(\"ran\")\n}\n\nfunc TestB(t *testing.T) {\n\n\ttestserver.Variant(t)\n}\n\n" +
		"func TestC(t *testing.T) {\n\tt.Run(\"one\", func(t *testing.T) {\n\t\ttestserver.Variant(t)\n\t})\n}\n\n" +
		"func (server) LongVariant(t *testing.T) {\n\tif os.Getenv(\"APITOKEN_VARIANTS\") != \"all\" {\n\t\tt.Error(\"ran\")\n\t}\n}\n\n" +
		"func TestD(t *testing.T) {\n\ttestserver.LongVariant(t)\n}\n"
	w, r, out := newWorkspace(t, map[string]string{"m.go": "package m\n", "n/go.mod": "module example.com/m/n\n\ngo 1.26\n", "n/n_test.go": code})
	variants.run(w, r)
	assert.True(t, r.close(true), out)
	assert.Equal(t, 3, r.count(passed), "TestB, TestC and its subtest: %s", out)
	longVariants.run(w, r)
	assert.True(t, r.close(true), out)
	assert.Equal(t, 4, r.count(passed), "and TestD: %s", out)
}

func TestThatThereAreNoTestsOfVariantsIsAFailure(t *testing.T) {
	w, r, _ := newWorkspace(t, map[string]string{"m.go": "package m\n"})
	variants.run(w, r)
	assert.False(t, r.close(false))
}

func TestWhatATestNeedsIsNotForgottenWhereItIsSkippedForBeingLong(t *testing.T) {
	compilesMuch(t)
	const code = "package n\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {\n\tif testing.Short() {\n\t\tt.Skip(\"takes minutes\")\n\t}\n\tt.Skip(\"needs a moon\")\n}\n"
	w, r, out := newWorkspace(t, map[string]string{"m.go": "package m\n", "stores/n/go.mod": "module example.com/m/stores/n\n\ngo 1.26\n", "stores/n/n_test.go": code})
	r.gotest("go test", w.command(w.root.Dir, "go", append(goTest, "work")...))
	aloneTests("", anyModule).run(w, r)
	assert.False(t, r.close(true))
	assert.Contains(t, out.String(), "needs a moon: 1\n      stores/n TestA\n")
	assert.NotContains(t, out.String(), "takes minutes")
}

func TestATestThatFailsInEveryStageIsOneFailure(t *testing.T) {
	compilesMuch(t)
	w, r, out := newWorkspace(t, map[string]string{"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Fail() }\n"})
	for range 2 {
		r.gotest("go test", w.command(w.root.Dir, "go", append(goTest, "work")...))
	}
	assert.False(t, r.close(false))
	assert.Contains(t, out.String(), "\n0 passed, 1 failed, 0 skipped\n")
}

func TestAModuleWithoutTestsIsAFailure(t *testing.T) {
	compilesMuch(t)
	w, r, out := newWorkspace(t, map[string]string{
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n",
		"n/go.mod":  "module example.com/m/n\n\ngo 1.26\n",
		"n/n.go":    "package n\n",
	})
	r.gotest("go test", w.command(w.root.Dir, "go", append(goTest, "work")...))
	r.requireTests(w.modules)
	assert.False(t, r.close(false))
	assert.Contains(t, out.String(), "failed:\n  the tests of n\n")
}

func TestAGoCommandThatFailsWithoutSayingWhichTestIsAFailure(t *testing.T) {
	w, r, _ := newWorkspace(t, map[string]string{"m.go": "package m\n"})
	r.gotest("go test", w.command(w.root.Dir, "go", "test", "-json", "-race=perhaps"))
	assert.False(t, r.close(false))
}

func TestEveryFuzzTargetOfEveryModuleIsFoundAndFuzzed(t *testing.T) {
	compilesMuch(t)
	t.Setenv("FUZZTIME", "10x")
	const code = "package m\n\nimport \"testing\"\n\nfunc FuzzA(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }\n\n"
	w, r, out := newWorkspace(t, map[string]string{
		"m_test.go":   code + "func FuzzB(f *testing.F) { f.Fuzz(func(t *testing.T, s []byte) {}) }\n",
		"n/go.mod":    "module example.com/m/n\n\ngo 1.26\n",
		"n/n_test.go": code + "func FuzzC(f *testing.F) { f.Fuzz(func(t *testing.T, s []byte) { t.Fatal(\"found\") }) }\n",
	})
	fuzz("30s", "30s").run(w, r)
	assert.False(t, r.close(false))
	assert.Contains(t, out.String(), "failed:\n  n FuzzC\n\n3 passed, 1 failed, 0 skipped\n")
	assert.Contains(t, out.String(), "Failing input written to")
}

func TestAFuzzRunThatDidNotBeginIsAFailure(t *testing.T) {
	compilesMuch(t)
	t.Setenv("FUZZTIME", "1ns")
	w, r, out := newWorkspace(t, map[string]string{"m_test.go": "package m\n\nimport \"testing\"\n\nfunc FuzzA(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }\n"})
	fuzz("30s", "30s").run(w, r)
	assert.False(t, r.close(false), out)
	assert.Contains(t, out.String(), "nothing was fuzzed in FUZZTIME=1ns")
}

func TestTheFuzzerMissingItsOwnDeadlineIsNoFailure(t *testing.T) {
	const late = "fuzz: elapsed: 3s, execs: 40 (0/sec)\n--- FAIL: FuzzA (3.20s)\n    context deadline exceeded\nFAIL\n"
	assert.True(t, lateStop([]byte(late)))
	assert.False(t, lateStop([]byte(late+"Failing input written to testdata/fuzz/FuzzA/1\n")))
	assert.False(t, lateStop([]byte("--- FAIL: FuzzA (3.20s)\n    m_test.go:5: found\n")))
}

func TestCoverageIsJudgedByStatementsAndTheDecisionPathByEachOfThem(t *testing.T) {
	var decided strings.Builder
	for _, file := range decisionPath {
		decided.WriteString("example.com/m/" + file + ":1.1,2.2 10 1\n")
	}
	of200 := func(covered int) string { // with those of the decision path
		return fmt.Sprintf("%sm/token.go:1.1,2.2 %d 1\nm/token.go:3.1,4.2 %d 0\n", &decided, covered-10*len(decisionPath), 200-covered)
	}
	tests := []struct{ name, profile, wrong string }{
		{"all", decided.String(), ""},
		{"exactly the goal", of200(190), ""},
		{"less than the goal", of200(188), "94.0 % of the statements"},
		{"a statement of the decision path", decided.String() + "m/lookup.go:40.1,41.2 1 0\nm/lookup.go:9.1,10.2 1 0\nm/lookup.go:10.2,11.2 1 0\n",
			"lookup.go, of the decision path: no test reaches lines 9-11, 40-41"},
		{"a file of the decision path is gone", strings.Replace(decided.String(), "lookup.go", "find.go", 1), "lookup.go, of the decision path"},
		{"nothing", "", "empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := judgeCoverage(new(strings.Builder), strings.NewReader("mode: set\n"+tt.profile))
			if tt.wrong == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.wrong)
			}
		})
	}
}

func TestChecksThatFindSomethingFail(t *testing.T) {
	w, r, out := newWorkspace(t, map[string]string{"m.go": "package m\nfunc  F() {}\n"})
	r.check("gofmt", gofmt(w))
	r.check("other", errors.New("why"))
	assert.False(t, r.close(false))
	assert.Contains(t, out.String(), "m.go")
	assert.Contains(t, out.String(), "0 passed, 2 failed, 0 skipped\n")
}
