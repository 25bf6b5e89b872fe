// Command mutation breaks the library on purpose, in one place at a time, and
// shows that a test of the package that is broken notices. The breaks are the seeded
// ones of seeds.go, one for each check that the library promises, some of them in
// stores, and mechanical ones of a mutator, in the root package. A break that nobody
// notices, a survivor, is a gap in the tests, unless argued.go says why it cannot be
// noticed. A seed that does not compile shows nothing, and is an error.
//
//	go run ./internal/test/proof/mutation            # all seeds, and -n mechanical breaks
//	go run ./internal/test/proof/mutation -o docs/mutation.md
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// The files that the mutator breaks.
var mutated = []string{
	"token.go", "credential.go", "middleware.go", "entry.go", "cache.go", "feed.go", "lookup.go", "manager.go", "rotate.go", "seal.go",
	"list.go", "permission.go", "authority.go", "bulk.go",
}

func main() {
	var (
		n        = flag.Int("n", 160, "how many mechanical breaks to make, spread over the files; -1: all")
		skip     = flag.Int("skip", 3, "leave out that many mechanical breaks before each that is made, to see others than last time")
		seeds    = flag.Bool("seeds", true, "make the seeded breaks")
		match    = flag.String("run", "", "only breaks whose description matches this regular expression")
		parallel = flag.Int("p", 2, "how many to test at once")
		limit    = flag.Duration("timeout", 2*time.Minute, "for the tests of one break; it counts as noticed when they hang")
		slow     = flag.String("slow", "OverTCP|OverHTTP2|Timing|NoOperationShows|TheTableGrows", "tests to run only for what the others do not notice, as a regular expression")
		leaveOut = flag.String("leaveout", "", "further tests to leave out, as a regular expression; the page says so")
		page     = flag.String("o", "", "write the page with the results here")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t := &tester{limit: *limit, slow: *slow, alsoOut: *leaveOut}
	if err := run(ctx, t, *n, *skip, *seeds, *match, *parallel, *page); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, t *tester, n, skip int, withSeeds bool, match string, parallel int, page string) error {
	pattern, err := regexp.Compile(match)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	var breaks []*brk
	if withSeeds {
		seeded, err := seededBreaks(root)
		if err != nil {
			return err
		}
		breaks = append(breaks, seeded...)
	}
	mechanical, possible, err := mechanicalBreaks(root, n, skip)
	if err != nil {
		return err
	}
	breaks = append(breaks, mechanical...)

	made := breaks[:0]
	for _, b := range breaks {
		if pattern.MatchString(b.String()) {
			made = append(made, b)
		}
	}
	t.root = root
	if t.leftOut, err = testsIn(filepath.Join(root, "project_test.go")); err != nil {
		return err
	}
	if t.dir, err = os.MkdirTemp("", "mutation"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	for dir := range directories(made) {
		if err := t.build(ctx, dir, made); err != nil {
			return err
		}
		fmt.Println("the tests without a break:", dir)
		if r := t.test(ctx, dir, 0); r.verdict != survived {
			return fmt.Errorf("the tests of %s fail as they are: %s", dir, r.by)
		}
	}

	start := time.Now()
	work := make(chan int)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for i := range work {
				b := made[i]
				if b.verdict == "" {
					b.result = t.test(ctx, b.dir(), i+1)
				}
				fmt.Printf("%-8s %s  %s\n", b.verdict, b, b.by)
			}
		})
	}
	for i := range made {
		if ctx.Err() == nil {
			work <- i
		}
	}
	close(work)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if flaky := t.flaky(ctx, made); flaky != "" {
		return fmt.Errorf("tests that noticed breaks fail without one, too, so that nothing is shown: %s", flaky)
	}
	report := summarize(made, possible, time.Since(start))
	fmt.Print("\n", report.text())
	if page != "" {
		if err := os.WriteFile(page, []byte(report.page("go run ./internal/test/proof/mutation "+strings.Join(os.Args[1:], " "))), 0o666); err != nil {
			return err
		}
	}
	var errs []error
	if n := len(report.unargued); n > 0 {
		errs = append(errs, fmt.Errorf("%d breaks were not noticed and are not argued", n))
	}
	if n := len(report.unbuilt); n > 0 {
		errs = append(errs, fmt.Errorf("%d seeds do not compile", n))
	}
	return errors.Join(errs...)
}
