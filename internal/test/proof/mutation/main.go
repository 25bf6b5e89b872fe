// Command mutation breaks the library on purpose, in one place at a time, and
// shows that a test notices: one of the package that is broken, or of the root package
// for a package in internal/. The breaks are the seeded
// ones of seeds.go, one for each check that the library promises, some of them in
// stores, and mechanical ones of a mutator, in the root package. A break that nobody
// notices, a survivor, is a gap in the tests, unless argued.go says why it cannot be
// noticed.
//
// Seeds name functions and what is in them, not lines (see edit.go). One that does
// not fit the code any more, or does not compile, shows nothing: it is reported, and
// is no error.
//
//	go run ./internal/test/proof/mutation            # all seeds, and -n mechanical breaks
//	go run ./internal/test/proof/mutation -o docs/mutation.md
//	go run ./internal/test/proof/mutation -dry       # which seeds fit the code, and compile
package main

import (
	"context"
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

// Flags are what the command is asked to do.
type flags struct {
	n, skip, parallel int
	seeds, dry        bool
	match, page       string
	leaveOut          string
}

func main() {
	var f flags
	flag.IntVar(&f.n, "n", 160, "how many mechanical breaks to make, spread over the files; -1: all")
	flag.IntVar(&f.skip, "skip", 3, "leave out that many mechanical breaks before each that is made, to see others than last time")
	flag.BoolVar(&f.seeds, "seeds", true, "make the seeded breaks")
	flag.BoolVar(&f.dry, "dry", false, "run no tests: only say which seeds fit the code, and compile")
	flag.StringVar(&f.match, "run", "", "only breaks whose description matches this regular expression")
	flag.IntVar(&f.parallel, "p", 2, "how many to test at once")
	flag.StringVar(&f.leaveOut, "leaveout", "", "further tests to leave out, as a regular expression; the page says so")
	flag.StringVar(&f.page, "o", "", "write the page with the results here")
	t := new(tester)
	flag.DurationVar(&t.limit, "timeout", 2*time.Minute, "for the tests of one break; it counts as noticed when they hang")
	flag.StringVar(&t.slow, "slow", "OverTCP|OverHTTP2|Timing|NoOperationShows|TheTableGrows", "tests to run only for what the others do not notice, as a regular expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, t, f); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, t *tester, f flags) error {
	pattern, err := regexp.Compile(f.match)
	if err != nil {
		return err
	}
	if t.root, err = filepath.Abs("."); err != nil {
		return err
	}
	r, err := plan(&library{root: t.root}, f)
	if err != nil {
		return err
	}
	made := r.breaks[:0]
	for _, b := range r.breaks {
		if pattern.MatchString(b.String()) {
			made = append(made, b)
		}
	}
	r.breaks = made
	project, err := testsIn(filepath.Join(t.root, "project_test.go"))
	if err != nil {
		return err
	}
	t.leftOut = either(exactly(project), f.leaveOut)
	if t.dir, err = os.MkdirTemp("", "mutation"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	if err := t.build(ctx, made); err != nil {
		return err
	}
	if !f.dry {
		if err := r.test(ctx, t, f.parallel); err != nil {
			return err
		}
	}
	r.summarize()
	fmt.Print("\n", r.text())
	if f.page != "" && !f.dry {
		if err := os.WriteFile(f.page, []byte(r.page("go run ./internal/test/proof/mutation "+strings.Join(os.Args[1:], " "))), 0o666); err != nil {
			return err
		}
	}
	return r.failure()
}

// plan makes all breaks that are asked for.
func plan(l *library, f flags) (*report, error) {
	r := new(report)
	if f.seeds {
		r.breaks, r.gone, r.moved = seededBreaks(l, seeds)
		r.gone = append(r.gone, unusedArguments(seeds)...)
	}
	p, err := l.in(".")
	if err != nil {
		return nil, err
	}
	all := mutations(p)
	r.unusedArguments = argue(l, all, argued)
	r.possible = len(all)
	r.breaks = append(r.breaks, spread(all, f.n, f.skip)...)
	return r, nil
}

// test runs the tests of all packages with each break of theirs.
func (r *report) test(ctx context.Context, t *tester, parallel int) error {
	start := time.Now()
	runners := map[string]runner{}
	distrusted := map[string][]string{}
	for dir := range directories(r.breaks) {
		for _, suite := range t.tests[dir] {
			if runners[suite] != nil {
				continue
			}
			fmt.Printf("the tests without a break, %d times: %s\n", cleanRuns, suite)
			runners[suite] = t.runner(suite)
			names, err := failing(ctx, runners[suite], t.phases(suite), cleanRuns)
			if err != nil {
				return fmt.Errorf("%s: %w", suite, err)
			}
			distrusted[suite] = names
		}
	}
	work := make(chan int)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for i := range work {
				b := r.breaks[i]
				for _, suite := range t.tests[b.dir()] {
					if b.verdict == "" || b.verdict == survived {
						b.result = examine(ctx, runners[suite], i+1, t.phases(suite), distrusted[suite])
						b.suite = suite
					}
				}
				fmt.Printf("%-8s %s  %s\n", b.verdict, b, b.by)
			}
		})
	}
	for i := range r.breaks {
		if ctx.Err() == nil {
			work <- i
		}
	}
	close(work)
	wg.Wait()
	for suite, run := range runners {
		numbers := map[int]*brk{}
		for i, b := range r.breaks {
			if b.suite == suite && ctx.Err() == nil {
				numbers[i+1] = b
			}
		}
		names, err := recheck(ctx, run, t.phases(suite), numbers, distrusted[suite])
		if err != nil {
			return fmt.Errorf("%s: %w", suite, err)
		}
		for _, name := range names {
			r.distrusted = append(r.distrusted, suite+": "+name)
		}
	}
	r.took = time.Since(start)
	return ctx.Err()
}
