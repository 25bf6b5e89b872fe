// Command check is what the Makefile calls: it runs the tests, the linters, the
// fuzz targets and the coverage gate over every module of go.work, and closes
// with what was left out and why. It needs Go and nothing else.
package main

import (
	"fmt"
	"os"
	"time"
)

const usage = `usage: go run ./internal/test/ci COMMAND

  test      lint, all tests, and cover, over all modules
  lint      gofmt, go vet, staticcheck, go mod tidy
  cover     statement coverage of the root package
  fuzz      every fuzz target of every module, each for FUZZTIME (default 30s)
  newcomer  builds the program of the README in an empty directory, with the modules
            as they will be released; COLD=1 with an empty build cache. Needs git.

With FUZZTIME set, test fuzzes too. With APITOKEN_REQUIRE_SERVERS=1, whatever
was skipped because this machine lacks something is a failure.
`

func main() {
	stages := map[string][]stage{
		"test":  {lint, workspaceTests, moduleTests, cover},
		"lint":  {lint},
		"cover": {cover},
		"fuzz":  {fuzz},

		"newcomer": {newcomer},
	}
	if len(os.Args) != 2 || stages[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	command := os.Args[1]
	if command == "test" && os.Getenv("FUZZTIME") != "" {
		stages["test"] = append(stages["test"], fuzz)
	}

	w, err := openWorkspace(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
	results := newResults(os.Stdout, w.root.Path)
	var times string
	for _, stage := range stages[command] {
		fmt.Printf("\n== %s\n", stage.name)
		start := time.Now()
		stage.run(w, results)
		times += fmt.Sprintf("  %s %.0f s", stage.name, time.Since(start).Seconds())
	}
	if command == "test" {
		results.requireTests(w.modules)
	}
	fmt.Printf("\ntimes:%s\n", times)
	if !results.close(os.Getenv("APITOKEN_REQUIRE_SERVERS") == "1") {
		os.Exit(1)
	}
}

// A stage is one part of a command. It reports what it finds to the results and
// goes on, so that one run shows everything.
type stage struct {
	name string
	run  func(*workspace, *results)
}
