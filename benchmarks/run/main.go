// Command run measures, and writes docs/benchmarks.md with its plots.
//
//	go run ./run                  # everything; some 40 minutes with the machine to itself
//	go run ./run -quick           # everything, but too little of it to mean anything; not to docs/
//	go run ./run requests cold    # some sections; the others stay as they were
//	go run ./run -impl 'floor|apitoken' requests   # some implementations; not to docs/
//	go run ./run -report          # nothing; the document is written anew
//
// It runs in the directory of its module. What was measured is kept in results/,
// a file for each section in the format of Go's benchmarks (benchstat reads it),
// and the document is made of nothing else.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/benchmarks"
)

// settings are what can be chosen about a run.
type settings struct {
	rounds    int
	benchtime time.Duration
	seconds   int // for each server, end to end
	tokens    int
	largest   int
	impls     []benchmarks.Impl

	// save keeps what was measured so far, after each round: a run that is ended
	// early was not for nothing, with -report.
	save func(text string) error
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("run: ")
	s := settings{largest: 5_000_000, impls: benchmarks.Impls}
	flag.IntVar(&s.rounds, "rounds", 10, "how often everything is measured, in turn")
	flag.DurationVar(&s.benchtime, "benchtime", 300*time.Millisecond, "how long each benchmark runs each time")
	flag.IntVar(&s.seconds, "seconds", 2, "how long each server is driven each time")
	flag.IntVar(&s.tokens, "tokens", 100_000, "how many tokens are stored")
	quick := flag.Bool("quick", false, "show that it works: 2 rounds of 20 ms, few tokens")
	impl := flag.String("impl", "", "only implementations whose whole name matches this regular expression")
	report := flag.Bool("report", false, "only write the document, from what was measured before")
	out := flag.String("out", "..", "the directory of docs/")
	results := flag.String("results", "results", "the directory for what is measured")
	flag.Parse()
	if *quick {
		s = settings{rounds: 2, benchtime: 20 * time.Millisecond, seconds: 1, tokens: 2000, largest: 100_000, impls: s.impls}
	}
	if *impl != "" {
		whole, err := regexp.Compile("^(" + *impl + ")$")
		if err != nil {
			log.Fatal(err)
		}
		s.impls = slices.DeleteFunc(slices.Clone(s.impls), func(i benchmarks.Impl) bool { return !whole.MatchString(i.Name) })
	}
	if *quick || *impl != "" {
		// What is not everything does not belong where somebody takes it for that.
		*out = filepath.Join(os.TempDir(), "apitoken-benchmarks")
		*results = *out
	}
	if err := run(s, flag.Args(), *report, *results, *out); err != nil {
		log.Fatal(err)
	}
}

func run(s settings, chosen []string, report bool, results, out string) error {
	for _, name := range chosen {
		if !slices.ContainsFunc(sections, func(sec section) bool { return sec.name == name }) {
			return fmt.Errorf("there is no section %q", name)
		}
	}
	if !report {
		if err := measure(s, chosen, results); err != nil {
			return err
		}
	}
	log.Printf("writing %s", filepath.Join(out, "docs", "benchmarks.md"))
	return write(results, out, os.Stdout)
}

func measure(s settings, chosen []string, results string) error {
	dir, err := os.MkdirTemp("", "benchmarks")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := build(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(results, 0o777); err != nil {
		return err
	}
	for _, sec := range sections {
		if len(chosen) > 0 && !slices.Contains(chosen, sec.name) {
			continue
		}
		start := time.Now()
		log.Printf("%s: %s", sec.name, sec.what)
		var b strings.Builder
		b.WriteString(header(p, s))
		s.save = func(text string) error {
			return os.WriteFile(filepath.Join(results, sec.name+".txt"), []byte(text), 0o666)
		}
		if err := sec.run(p, s, &b); err != nil {
			return fmt.Errorf("%s: %w", sec.name, err)
		}
		if err := s.save(b.String()); err != nil {
			return err
		}
		log.Printf("%s: %.0f s", sec.name, time.Since(start).Seconds())
	}
	return nil
}
