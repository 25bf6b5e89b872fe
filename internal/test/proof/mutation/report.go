package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is what a run has shown.
type report struct {
	breaks   []*brk
	possible int // mechanical breaks
	took     time.Duration

	counts            map[bool]map[verdict]int // by seeded
	argued, unargued  []*brk
	unbuilt           []*brk // seeds that do not compile
	machine, finished string
}

func summarize(breaks []*brk, possible int, took time.Duration) *report {
	r := &report{breaks: breaks, possible: possible, took: took, counts: map[bool]map[verdict]int{true: {}, false: {}}}
	for _, b := range breaks {
		r.counts[b.seeded][b.verdict]++
		switch {
		case b.verdict == invalid && b.seeded:
			r.unbuilt = append(r.unbuilt, b)
		case b.verdict != survived:
		case b.argument() != "":
			r.argued = append(r.argued, b)
		default:
			r.unargued = append(r.unargued, b)
		}
	}
	r.machine = fmt.Sprintf("%s/%s, %d processors (%s), %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), runtime.Version())
	r.finished = time.Now().UTC().Format("2006-01-02 15:04 UTC")
	return r
}

// processor is the name of the processor, where Linux tells it.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func (r *report) line(seeded bool) string {
	c := r.counts[seeded]
	return fmt.Sprintf("%d noticed, %d not, %d that do not compile and do not count", c[noticed], c[survived], c[invalid])
}

func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seeded: %s\n", r.line(true))
	fmt.Fprintf(&b, "mechanical: %s; %d are possible\n", r.line(false), r.possible)
	for _, s := range r.argued {
		fmt.Fprintf(&b, "argued    %s\n", s)
	}
	for _, s := range r.unargued {
		fmt.Fprintf(&b, "SURVIVED  %s\n          %s -> %s\n", s, s.old, s.new)
	}
	for _, s := range r.unbuilt {
		fmt.Fprintf(&b, "NO BREAK  %s\n          %s\n", s, s.by)
	}
	fmt.Fprintf(&b, "%s\n", r.took.Round(time.Second))
	return b.String()
}

// page is docs/mutation.md.
func (r *report) page(command string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# Breaks that the tests notice\n\n")
	p("Written by `%s`, %s, in %s, on %s.\n", strings.TrimSpace(command), r.finished, r.took.Round(time.Second), r.machine)
	p("`make mutation` makes it anew.\n\n")
	p("Each break is one small edit of the root package or, of the seeded ones, of stores/memory and stores/sqlite. All those of a\n")
	p("package are in one test program, built with -overlay: beside each function stand its broken copies, and an environment\n")
	p("variable says which one is called. The package's own tests run for each, with -short, until the first that fails. The tests of\n")
	p("the project's files (project_test.go) are left out: they do not look at what the code does; so are those of stores/sqlite\n")
	p("that take long. A break that makes the tests hang counts as noticed.\n\n")
	p("| breaks | result |\n|---|---|\n")
	p("| seeded, one for each check that is promised | %s |\n", r.line(true))
	p("| mechanical, %d of %d possible | %s |\n\n", r.counts[false][noticed]+r.counts[false][survived]+r.counts[false][invalid], r.possible, r.line(false))
	if len(r.unargued) > 0 {
		p("## Not noticed\n\nGaps in the tests, as long as they stand here.\n\n")
		for _, s := range r.unargued {
			p("- %s: `%s` → `%s`\n", cell(s.String()), s.old, s.new)
		}
		p("\n")
	}
	if len(r.unbuilt) > 0 {
		p("## Seeds that do not compile\n\nThey show nothing, and are to be corrected.\n\n")
		for _, s := range r.unbuilt {
			p("- %s: %s\n", cell(s.String()), cell(s.by))
		}
		p("\n")
	}
	if len(r.argued) > 0 {
		p("## Not noticed, and why\n\n")
		for _, s := range r.argued {
			p("- %s. %s\n", cell(s.String()), s.argument())
		}
		p("\n")
	}
	table := func(seeded bool) {
		p("| where | break | noticed by |\n|---|---|---|\n")
		list := slices.DeleteFunc(slices.Clone(r.breaks), func(b *brk) bool { return b.seeded != seeded || b.verdict != noticed })
		slices.SortStableFunc(list, func(a, b *brk) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
		for _, s := range list {
			p("| %s:%d | %s | %s |\n", s.file, s.line, cell(s.what), cell(s.by))
		}
		p("\n")
	}
	p("## Seeded\n\n")
	table(true)
	p("## Mechanical\n\n")
	table(false)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// cell is a text as it can stand in a table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "*", "\\*", "](", "]\\(").Replace(s)
}

// argument is why a break that survived cannot be noticed, "" if nothing is said.
func (b *brk) argument() string {
	for _, a := range argued {
		if a.file == b.file && strings.Contains(b.what, a.what) {
			return a.why
		}
	}
	return ""
}
