package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func nothing() []string { return nil }

func TestWhatIsSilentForLongIsNamedWithItsTestAndItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		r := newResults(&out, "m")
		defer r.out.beat(nothing)()
		stdout, events := io.Pipe()
		done := make(chan error)
		go func() {
			_, err := r.read(stdout)
			done <- err
		}()
		say := func(action, pkg, test string) {
			require.NoError(t, json.NewEncoder(events).Encode(event{Action: action, Package: pkg, Test: test}))
		}
		said := func() string {
			synctest.Wait()
			r.out.mu.Lock()
			defer r.out.mu.Unlock()
			defer out.Reset()
			return out.String()
		}

		say("start", "m/stores/postgres", "")
		say("run", "m/stores/postgres", "TestX")
		time.Sleep(silence - 2*time.Second)
		assert.Empty(t, said(), "it is not yet long")
		time.Sleep(3 * time.Second)
		assert.Equal(t, "still running: stores/postgres 15 s, TestX\n", said())

		say("start", "m", "")
		say("pass", "m/stores/postgres", "TestX")
		say("run", "m/stores/postgres", "TestY/deep")
		time.Sleep(silence)
		assert.Equal(t, "still running: stores/postgres 30 s, TestY/deep; root 14 s\n", said())

		say("pass", "m/stores/postgres", "")
		assert.Contains(t, said(), "stores/postgres: 1 tests\n")
		time.Sleep(silence - 2*time.Second)
		assert.Empty(t, said(), "a line of any program counts")
		time.Sleep(2 * time.Second)
		assert.Equal(t, "still running: root 30 s\n", said())

		say("pass", "m", "")
		events.Close()
		assert.NoError(t, <-done)
		said()
		time.Sleep(time.Hour)
		assert.Empty(t, said(), "nothing is running")
	})
}

func TestSomethingIsPrintedEveryTwentySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgress(&out)
		defer p.beat(func() []string { return []string{"compiling a", "linking b.test"} })()
		p.begin("go test")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		assert.GreaterOrEqual(t, len(lines), 10*60/20)
		assert.Equal(t, "still running: go test 15 s; compiling a; linking b.test", lines[0])
	})
}

func TestAStepIsNamedBeforeItStarts(t *testing.T) {
	w, r, out := newWorkspace(t, map[string]string{})
	r.step("why", func() error {
		assert.Equal(t, "run             why\n", out.String())
		return nil
	})
	assert.Regexp(t, `\nok +0.0 s  why\n$`, out)
	out.Reset()
	r.gotest("go test", w.command(w.root.Dir, "go", "version"))
	assert.True(t, strings.HasPrefix(out.String(), "run             go test\n"), out)
}

func TestStagesAreNamedInTheirOrderAndTimed(t *testing.T) {
	w, r, out := newWorkspace(t, map[string]string{})
	var seen []string
	note := func(name string) stage {
		return stage{name, func(*workspace, *results) { seen = append(seen, out.String()) }}
	}
	runAll([]stage{note("one"), note("two")}, w, r)
	assert.Equal(t, []string{"\n== one\n", "\n== one\n\n== two\n"}, seen)
	assert.Regexp(t, `\ntimes:\n +0 s  one\n +0 s  two\n +0 s  in all\n$`, out)
}

func TestTestsComeBeforeEverythingElse(t *testing.T) {
	names := func(command string) (list []string) {
		for _, s := range commands[command] {
			list = append(list, s.name)
		}
		return list
	}
	assert.Equal(t, []string{allTests.name}, names("test"))
	besides := strings.Join([]string{variants.name, storesAlone.name, cover.name, othersAlone.name}, "; ")
	assert.Equal(t, []string{besides, lint.name, "fuzz", newcomer.name}, names("check"))
}

func TestLanesOfStagesRunAtOnceEachInItsOrder(t *testing.T) {
	w, r, _ := newWorkspace(t, map[string]string{})
	steps := make(chan string, 3) // a stage of the second lane runs between two of the first
	begun, met := make(chan bool), make(chan bool)
	stages := atOnce(
		[]stage{{"one", func(*workspace, *results) { close(begun); <-met; steps <- "one" }}, {"two", func(*workspace, *results) { steps <- "two" }}},
		[]stage{{"beside", func(*workspace, *results) { <-begun; steps <- "beside"; close(met) }}})
	assert.Equal(t, "one; two; beside", stages.name)
	stages.run(w, r)
	assert.Equal(t, []string{"beside", "one", "two"}, []string{<-steps, <-steps, <-steps})
}

func TestEachModuleIsTestedOnceTheStoresAreWholeAndTheyAndTheRootAndItsPartsAreWatched(t *testing.T) {
	w, r, out := newWorkspace(t, map[string]string{
		"m_test.go":                 testOf("m", true, true),
		"internal/p/p_test.go":      testOf("p", true, true),
		"manage/manage_test.go":     testOf("manage", false, true),
		"stores/x/go.mod":           "module example.com/m/stores/x\n\ngo 1.26\n",
		"stores/x/x_test.go":        testOf("x", true, false),
		"adapters/y/go.mod":         "module example.com/m/adapters/y\n\ngo 1.26\n",
		"adapters/y/deep/y_test.go": testOf("y", false, true),
		"openapi/openapi_test.go":   "package openapi\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) { t.Error(\"make check tests it\") }\n",
	})
	runAll(commands["test"], w, r)
	r.requireTests(w.modules)
	if _, skipped := r.reasons[testID{Test: "the race detector"}]; skipped {
		t.Skip("needs a C compiler (Debian: gcc libc6-dev)")
	}
	assert.True(t, r.close(true), out)
	for _, pkg := range []string{"root", "internal/p", "manage", "stores/x", "adapters/y/deep"} {
		assert.Equal(t, 1, strings.Count(out.String(), pkg+": 1 tests\n"), out)
	}
}

func TestWhatIsAroundTheRootPackageIsWatchedInCheck(t *testing.T) {
	compilesMuch(t)
	w, r, out := newWorkspace(t, map[string]string{
		"m.go":                  "package m\n",
		"internal/p/p_test.go":  testOf("p", false, true), // it was watched in make test
		"manage/manage_test.go": testOf("manage", true, true),
	})
	race := raceFlags(w, r)
	if race == nil {
		t.Skip("needs a C compiler (Debian: gcc libc6-dev)")
	}
	w.watchAround(r, race)
	assert.True(t, r.close(true), out)
	assert.Contains(t, out.String(), "manage: 1 tests\n")
	assert.NotContains(t, out.String(), "internal/p")
}

// testOf is a test that fails unless the race detector watches it, or does not, and
// -short is set, or is not.
func testOf(pkg string, race, short bool) string {
	return fmt.Sprintf(`package %s

import (
	"runtime/debug"
	"slices"
	"testing"
)

func TestIt(t *testing.T) {
	info, _ := debug.ReadBuildInfo()
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) != %t {
		t.Error(info)
	}
	if testing.Short() != %t {
		t.Error("-short is", testing.Short())
	}
}
`, pkg, race, short)
}

func TestWhatAGoCommandCompilesIsSeen(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	dir := t.TempDir()
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(sh, filepath.Join(dir, "compile"))) // a shell that waits stands for the compiler
	cmd := exec.Command(sh, "-c", `"$0" -c "echo begun; read line" -p example.com/slow; :`, filepath.Join(dir, "compile"))
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = stdout.Read(make([]byte, 6))
	require.NoError(t, err)
	assert.Contains(t, compiling(), "compiling example.com/slow")
	stdin.Close()
	require.NoError(t, cmd.Wait())
}
