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
	breaks          []*brk
	gone            []stale // seeds that no longer apply
	moved           []stale // seeds that apply in another function than they name
	unusedArguments []stale // entries of argued.go that are about nothing
	distrusted      []string
	possible        int // mechanical breaks
	took            time.Duration

	counts            map[bool]map[verdict]int // by seeded
	argued, unargued  []*brk
	unbuilt           []*brk // seeds that do not compile
	machine, finished string
}

func (r *report) summarize() {
	r.counts = map[bool]map[verdict]int{true: {}, false: {}}
	for _, b := range r.breaks {
		r.counts[b.seeded][b.verdict]++
		switch {
		case b.verdict == invalid && b.seeded:
			r.unbuilt = append(r.unbuilt, b)
		case b.verdict != survived:
		case b.why != "":
			r.argued = append(r.argued, b)
		default:
			r.unargued = append(r.unargued, b)
		}
	}
	r.machine = fmt.Sprintf("%s/%s, %d processors (%s), %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), runtime.Version())
	r.finished = time.Now().UTC().Format("2006-01-02 15:04 UTC")
}

// failure is the error that a run ends with: only what was broken and not noticed
// is one.
func (r *report) failure() error {
	if n := len(r.unargued); n > 0 {
		return fmt.Errorf("%d breaks were not noticed and are not argued", n)
	}
	return nil
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
	s := fmt.Sprintf("%d noticed, %d not, %d that do not compile and do not count", c[noticed], c[survived], c[invalid])
	if c[""] > 0 {
		s += fmt.Sprintf(", %d not tried", c[""])
	}
	return s
}

func (r *report) text() string {
	var b strings.Builder
	for _, s := range r.argued {
		fmt.Fprintf(&b, "argued    %s\n", s)
	}
	for _, s := range r.unargued {
		fmt.Fprintf(&b, "SURVIVED  %s  %s\n          %s -> %s\n", s, s.by, s.old, s.new)
	}
	for _, s := range r.unbuilt {
		fmt.Fprintf(&b, "NO BREAK  %s\n          %s\n", s, s.by)
	}
	for _, s := range r.gone {
		fmt.Fprintf(&b, "GONE      %s\n", s)
	}
	for _, s := range r.moved {
		fmt.Fprintf(&b, "moved     %s\n", s)
	}
	for _, s := range r.unusedArguments {
		fmt.Fprintf(&b, "unused    %s\n", s)
	}
	for _, name := range r.distrusted {
		fmt.Fprintf(&b, "flaky     %s\n", name)
	}
	fmt.Fprintf(&b, "seeded: %s; %d no longer apply, %d apply in another function\n", r.line(true), len(r.gone), len(r.moved))
	fmt.Fprintf(&b, "mechanical: %s; %d are possible\n", r.line(false), r.possible)
	fmt.Fprintf(&b, "%d arguments are about nothing; %d tests fail without a break and count for nothing\n", len(r.unusedArguments), len(r.distrusted))
	fmt.Fprintf(&b, "%s\n", r.took.Round(time.Second))
	return b.String()
}

// page is docs/mutation.md.
func (r *report) page(command string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	list := func(title, about string, entries []stale) {
		if len(entries) == 0 {
			return
		}
		p("## %s\n\n%s\n\n", title, about)
		for _, s := range entries {
			p("- %s\n", cell(s.String()))
		}
		p("\n")
	}
	p("# Breaks that the tests notice\n\n")
	p("Written by `%s`, %s, in %s, on %s.\n", strings.TrimSpace(command), r.finished, r.took.Round(time.Second), r.machine)
	p("`make mutation` makes it anew.\n\n")
	p("Each break is one small edit of the root package or, of the seeded ones, of a package in internal/, stores/memory or stores/sqlite. All those of a\n")
	p("package are in one test program, built with -overlay: beside each function stand its broken copies, and an environment\n")
	p("variable says which one is called. The package's own tests run for each, with -short, until the first that fails; then, for\n")
	p("packages in internal/, those of the root package (of stores/sqlite for internal/sqlkit). The test that failed\n")
	p("has noticed the break if it fails %d more times; and no test counts that ever fails without a break, of %d runs of all tests\n", repeats, cleanRuns)
	p("before and %d of those that noticed something afterwards. The tests of the project's files (project_test.go) are left out:\n", cleanAtEnd)
	p("they do not look at what the code does; so are those of stores/sqlite that take long. A break that makes the tests hang\n")
	p("counts as noticed.\n\n")
	p("| breaks | result |\n|---|---|\n")
	p("| seeded, one for each check that is promised | %s; %d no longer apply |\n", r.line(true), len(r.gone))
	p("| mechanical, %d of %d possible | %s |\n\n", r.counts[false][noticed]+r.counts[false][survived]+r.counts[false][invalid], r.possible, r.line(false))
	if len(r.unargued) > 0 {
		p("## Not noticed\n\nGaps in the tests, as long as they stand here.\n\n")
		for _, s := range r.unargued {
			p("- %s: `%s` → `%s` %s\n", cell(s.String()), s.old, s.new, cell(s.by))
		}
		p("\n")
	}
	list("Seeds that no longer apply", "The code has changed. They show nothing until seeds.go follows it.", r.gone)
	if len(r.unbuilt) > 0 {
		p("## Seeds that do not compile\n\nThey show nothing, and are to be corrected.\n\n")
		for _, s := range r.unbuilt {
			p("- %s: %s\n", cell(s.String()), cell(s.by))
		}
		p("\n")
	}
	list("Seeds in another function", "What they break was found, but not in the function that they name.", r.moved)
	list("Arguments about nothing", "Entries of argued.go that no break fits.", r.unusedArguments)
	if len(r.distrusted) > 0 {
		p("## Tests that fail by chance\n\nThey failed without a break, and so notice nothing.\n\n")
		for _, name := range r.distrusted {
			p("- %s\n", name)
		}
		p("\n")
	}
	if len(r.argued) > 0 {
		p("## Not noticed, and why\n\n")
		for _, s := range r.argued {
			p("- %s. %s\n", cell(s.String()), s.why)
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
