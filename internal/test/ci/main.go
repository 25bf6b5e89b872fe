// Command check is what the Makefile calls: it runs the tests, the linters, the
// fuzz targets and the coverage gate over every module of go.work, and closes
// with what was left out and why. It needs Go and nothing else.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const usage = `usage: go run ./internal/test/ci COMMAND...

  test      the tests of all modules, the stores' whole, the others' with -short; the
            race detector watches the root package, its parts and the stores
  check     the suites over variants of stores and each store alone; beside them cover and
            each other module alone (build, vet, all of its tests that test leaves out);
            then lint, seconds of fuzz, newcomer
  variants  the suites over variants that take minutes
  lint      gofmt, go vet, staticcheck, go mod tidy
  cover     statement coverage of the root package
  fuzz      every fuzz target of every module, each for FUZZTIME (default 30s)
  newcomer  builds the program of the README in an empty directory, with the modules
            as they will be released; COLD=1 with an empty build cache. Needs git.

Of several commands, all run, and a test counts once; what has passed in test is not
repeated in check for its own sake. With APITOKEN_REQUIRE_SERVERS=1, a
skip because this machine lacks something is a failure.
`

var commands = map[string][]stage{
	"test":     {allTests},
	"check":    {atOnce([]stage{variants, storesAlone}, []stage{cover, othersAlone}), lint, fuzz("5000x", "500x"), newcomer},
	"variants": {longVariants},
	"lint":     {vet, lint},
	"cover":    {cover},
	"fuzz":     {fuzz("30s", "30s")},
	"newcomer": {newcomer},
}

var (
	storesAlone = aloneTests("each store alone", (*workspace).isStore)
	othersAlone = aloneTests("each other module alone", (*workspace).isNoStore)
)

func main() {
	var stages []stage
	for _, command := range os.Args[1:] {
		stages = append(stages, commands[command]...)
		if commands[command] == nil {
			stages = nil
			break
		}
	}
	if stages == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	w, err := openWorkspace(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
	results := newResults(os.Stdout, w.root.Path)
	stop := results.out.beat(compiling)
	runAll(stages, w, results)
	stop()
	if slices.Contains(os.Args, "test") || slices.Contains(os.Args, "check") {
		results.requireTests(w.modules)
	}
	if !results.close(os.Getenv("APITOKEN_REQUIRE_SERVERS") == "1") {
		os.Exit(1)
	}
}

// runAll names each stage, runs it, and closes with how long they took.
func runAll(stages []stage, w *workspace, r *results) {
	begin := time.Now()
	var times strings.Builder
	for _, stage := range stages {
		fmt.Fprintf(r.out, "\n== %s\n", stage.name)
		start := time.Now()
		stage.run(w, r)
		fmt.Fprintf(&times, "  %6.0f s  %s\n", time.Since(start).Seconds(), stage.name)
	}
	fmt.Fprintf(r.out, "\ntimes:\n%s  %6.0f s  in all\n", &times, time.Since(begin).Seconds())
}

// atOnce makes one stage of lanes of them, which run beside each other.
func atOnce(lanes ...[]stage) stage {
	var names []string
	for _, lane := range lanes {
		for _, s := range lane {
			names = append(names, s.name)
		}
	}
	return stage{strings.Join(names, "; "), func(w *workspace, r *results) {
		var running sync.WaitGroup
		for _, lane := range lanes {
			running.Go(func() {
				for _, s := range lane {
					s.run(w, r)
				}
			})
		}
		running.Wait()
	}}
}

// A stage is one part of a command. It reports what it finds to the results and
// goes on, so that one run shows everything.
type stage struct {
	name string
	run  func(*workspace, *results)
}
