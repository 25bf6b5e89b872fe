package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/apitoken-go/apitoken/benchmarks"
)

// write makes the document and its plots of the results, and shows the first table.
func write(measured, out string, terminal io.Writer) error {
	var d document
	d.text(`# What it costs

<!-- Written by benchmarks/run; "make bench" writes it anew. Do not edit. -->

How long authentication takes, beside what a service would use otherwise. All do the same
work: of %s tokens in memory, each of %s in turn is presented; the route requires
2 permissions and every token has 20; the handler reads who made the request and answers 200.
The library runs as it comes: nothing is turned off, and nothing turned on for the benchmark;
where anything is set otherwise, it says so.

**Trust ratios rather than times**: they were taken between measurements that followed each
other closely, and repeated. What is in brackets after a median is the interval that contains
the true one with 95 %% confidence (order statistics, no assumption about the distribution;
with fewer than 6 rounds: from the least to the greatest). If two intervals overlap, the two may well be equal.

**bare** is the handler without authentication. **floor** is what cannot be saved: the least code,
without any feature, that does the work. It looks up SHA-256 digests in a Go map
and never reads from a store, so that a token it holds could not even be revoked.
`, thousands(benchmarks.Stored), thousands(benchmarks.Rotating))

	of := make(map[string]*results)
	for _, part := range []struct {
		section string
		write   func(*document, *results)
	}{
		{"requests", (*document).requests}, {"parallel", (*document).parallel}, {"scale", (*document).scale},
		{"flood", (*document).flood}, {"cold", (*document).cold}, {"lists", (*document).lists}, {"endtoend", (*document).endtoend},
	} {
		r, err := read(measured, part.section)
		if err != nil {
			return err
		}
		if r != nil {
			part.write(&d, r)
		}
		of[part.section] = r
	}
	d.goals(of)
	tabs := tabwriter.NewWriter(terminal, 0, 0, 2, ' ', 0)
	for _, row := range d.main {
		fmt.Fprintln(tabs, strings.Join(row, "\t"))
	}
	if err := tabs.Flush(); err != nil {
		return err
	}
	docs := filepath.Join(out, "docs")
	if err := os.MkdirAll(filepath.Join(docs, "images"), 0o777); err != nil {
		return err
	}
	for name, svg := range d.images {
		if err := os.WriteFile(filepath.Join(docs, "images", name), []byte(svg), 0o666); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(docs, "benchmarks.md"), []byte(d.b.String()), 0o666)
}

// A document is Markdown in the making.
type document struct {
	b      strings.Builder
	images map[string]string
	main   [][]string // the most important table, with its columns' names
}

func (d *document) text(format string, args ...any) {
	fmt.Fprintf(&d.b, format, args...)
}

// image adds a plot.
func (d *document) image(name, alt, svg string) {
	if d.images == nil {
		d.images = make(map[string]string)
	}
	d.images[name] = svg
	d.text("\n![%s](images/%s)\n", alt, name)
}

// table adds a table; all columns but the first are numbers.
func (d *document) table(columns []string, rows [][]string) {
	d.text("\n| %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("--:|", len(columns)-1))
	for _, row := range rows {
		d.text("| %s |\n", strings.Join(row, " | "))
	}
}

// about says when and where a section was measured.
func (d *document) about(r *results) {
	var parts []string
	for _, key := range []string{"date", "cpu", "go", "commit", "settings"} {
		if v := r.about[key]; v != nil {
			parts = append(parts, strings.TrimSpace(map[string]string{"commit": "commit "}[key]+v[0]))
		}
	}
	d.text("\nMeasured: %s; n = %d.\n", strings.Join(parts, "; "), r.rounds)
}

func (e estimate) String() string {
	if e.n == 0 {
		return "–"
	}
	return fmt.Sprintf("%s [%s, %s]", figures(e.median), figures(e.low), figures(e.high))
}

// figures prints a number with three significant digits.
func figures(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 100:
		return thousands(int(math.Round(v)))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1 || a == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// thousands prints a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func accept(impl string) string      { return "Accept/impl=" + impl }
func refuse(why, impl string) string { return "Refuse/why=" + why + "/impl=" + impl }

// isOurs reports whether an implementation is this library.
func isOurs(impl string) bool { return strings.HasPrefix(impl, "apitoken") }

// strong sets what is this library's apart.
func strong(impl string) string {
	if isOurs(impl) {
		return "**" + impl + "**"
	}
	return impl
}

func (d *document) requests(r *results) {
	d.text("\n## Accepting a request\n")
	impls := slices.DeleteFunc(slices.Clone(benchmarks.Impls), func(i benchmarks.Impl) bool { return r.of(accept(i.Name)) == nil })
	byFloor := func(i benchmarks.Impl) estimate { return estimated(r.toReference(accept(i.Name), "ns/op")) }
	slices.SortStableFunc(impls, func(a, b benchmarks.Impl) int { return cmp.Compare(byFloor(a).median, byFloor(b).median) })

	var bars []bar
	var rows [][]string
	for _, i := range impls {
		n, e := accept(i.Name), byFloor(i)
		notes := ""
		if i.Plain {
			notes = " ¹"
		}
		if i.Self {
			notes = " ²"
		}
		rows = append(rows, []string{
			strong(i.Name) + notes, e.String(), estimated(r.toReference(n, "cpu-ns/op")).String(), estimated(r.ratios(n, accept("bare"), "ns/op")).String(),
			figures(estimated(r.values(n, "ns/op")).median), figures(estimated(r.values(n, "B/op")).median), figures0(estimated(r.values(n, "allocs/op")).median),
		})
		bars = append(bars, bar{i.Name, e, isOurs(i.Name)})
	}
	d.image("benchmarks-accept.svg", "Time to accept a request as a ratio to the floor, on a logarithmic scale; the numbers are in the table", barChart("Accepting a request: time as a ratio to the floor", bars))
	columns := []string{"", "time × floor", "processor time × floor", "time × bare", "ns", "B", "allocations"}
	d.table(columns, rows)
	d.main = append([][]string{columns}, rows...)
	d.text("\n¹ Keeps tokens as they are; all others hash them. ² Stores no tokens, so that none can be revoked before it expires.\n")
	d.text("Processor time is of all threads, so with what the collector does beside the request, and without what other programs on the machine did.\n")
	d.text("The row of the floor is a second measurement of it beside the first: its interval is what noise alone does.\n")
	d.text("× bare is to the bare handler of the same round, which was not measured right beside it: hence its wide intervals. A floor above 40 × bare would be none.\n")
	for _, ours := range []string{"apitoken", "apitoken-typed"} {
		var faster []string
		for _, i := range impls {
			if i.Name == ours {
				break
			}
			faster = append(faster, i.Name)
		}
		if len(faster) > 0 {
			d.text("\nFaster than %s: %s.\n", ours, strings.Join(faster, ", "))
		}
	}
	d.query(r)
	d.about(r)

	d.text("\n## Refusing a request\n\nThe whole answer included, as each gives it. Times are ratios to what the floor takes to *accept* a request;\nbehind them are allocations.\n\n")
	d.text("- none: there is no token\n- junk: the right scheme, and a text of the right length that is no token\n- unknown: a token as it should be, that nobody has issued; of JWTs, the signature is wrong\n- permission: a valid token without one of the two permissions\n")
	rows = nil
	for _, i := range impls {
		if r.of(refuse("none", i.Name)) == nil {
			continue
		}
		row := []string{strong(i.Name)}
		for _, why := range benchmarks.Refusals {
			n := refuse(why.Name, i.Name)
			row = append(row, fmt.Sprintf("%s (%s)", estimated(r.toReference(n, "ns/op")), figures0(estimated(r.values(n, "allocs/op")).median)))
		}
		rows = append(rows, row)
	}
	columns = []string{""}
	for _, why := range benchmarks.Refusals {
		columns = append(columns, why.Name)
	}
	d.table(columns, rows)
	d.text("\nbare refuses nobody: its row is what answering such a request with 200 takes.\n")
	if get := r.toReference("Get/store=memory/what=unknown", "ns/op"); len(get) > 0 {
		unknown := r.toReference(refuse("unknown", "apitoken"), "ns/op")
		d.text("An unknown token has to be asked for: a Get of the store in memory, by itself, takes %s × floor of it, and what apitoken does around it %s × floor.\n",
			estimated(get), estimated(each(unknown, get, func(all, get float64) float64 { return all - get })))
	}

	d.text("\n## What was compared\n\n| | version | what it is, and what was added to it so that the work is the same |\n|---|---|---|\n")
	versions := make(map[string]string)
	for _, m := range r.about["module"] {
		path, version, _ := strings.Cut(m, " ")
		versions[path] = version
	}
	for _, i := range benchmarks.Impls {
		version := ""
		if i.Module != "" && !isOurs(i.Name) {
			version = i.Module + " " + versions[i.Module]
		}
		d.text("| %s | %s | %s |\n", i.Name, version, i.Does)
	}
	d.text(`
Every one of them is tested to accept a request with a token, as that of its owner, and to refuse one
without, without the handler being called. Tokens are presented by the header Authorization. Each
implementation runs in a process of its own, so that none pays for what another has in memory. Those that
keep tokens of any form get 48 characters with 256 random bits, which is one block of SHA-256;
this library and fosite use their own tokens. Requests have four header fields; the answer's header is cleared after each, for all alike.
`)
}

// query is about tokens in the query parameter, which only this library takes here.
func (d *document) query(r *results) {
	var rows [][]string
	for _, i := range benchmarks.Impls {
		n := "AcceptQuery/impl=" + i.Name
		if r.of(n) == nil {
			continue
		}
		rows = append(rows, []string{
			strong(i.Name), estimated(r.ratios(n, accept(i.Name), "ns/op")).String(), estimated(r.toReference(n, "ns/op")).String(),
			figures(estimated(r.values(n, "ns/op")).median), figures(estimated(r.values(n, "B/op")).median), figures0(estimated(r.values(n, "allocs/op")).median),
		})
	}
	if rows == nil {
		return
	}
	d.text("\nWith the token in the query parameter, which is taken out of the request before the handler gets it. It is\nthe only parameter; another one behind it costs one allocation more.\n")
	d.table([]string{"", "time × by header", "time × floor", "ns", "B", "allocations"}, rows)
}

// figures0 prints a whole number.
func figures0(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.0f", v)
}

func (d *document) parallel(r *results) {
	d.text("\n## On all cores\n\nHow many times as many requests are accepted on all cores as on one.\n")
	var rows [][]string
	floor, _ := r.speedups("Parallel/impl=floor")
	for _, name := range r.names() {
		_, impl, _ := strings.Cut(name, "impl=")
		s, cores := r.speedups(name)
		rows = append(rows, []string{
			strong(impl), fmt.Sprint(cores), estimated(s).String(),
			estimated(each(s, floor, func(own, floor float64) float64 { return own / floor })).String(),
		})
	}
	d.table([]string{"", "cores", "speed-up", "× floor's of the same round"}, rows)
	d.about(r)
}

func (d *document) scale(r *results) {
	d.text("\n## With very many tokens\n\nAll tokens are in memory and each is presented in turn. The floor's Go map holds 16 bytes of name and\npermissions as bits; its tokens, as above, are shorter. So that the library holds all of 1M and 5M, its\nCacheEntries is as many; the default is 262,144.\n\nThe library reads a token from the store again after 30 to 60 seconds (MaxCacheAge). Filling the memory with 1M or 5M tokens takes\nas long as that, so that many of the measured requests are such reads: with a MaxCacheAge of a day, 5M took 5.0 µs instead of 101\n(once each, on 30 November 2026, beside other work).\n")
	var rows [][]string
	lines := make(map[string]*line)
	var order []*line
	for _, name := range r.names() {
		m := regexp.MustCompile(`tokens=(\w+)/impl=(.*)`).FindStringSubmatch(name)
		if m == nil {
			continue
		}
		ns := estimated(r.values(name, "ns/op"))
		rows = append(rows, []string{
			m[1] + " " + strong(m[2]), figures(ns.median),
			estimated(r.ratios(name, strings.Replace(name, m[1], "100k", 1), "ns/op")).String(),
			figures(estimated(r.values(name, "B/token")).median), figures(estimated(r.values(name, "gc-ms")).median),
		})
		if lines[m[2]] == nil {
			lines[m[2]] = &line{name: m[2], ours: isOurs(m[2])}
			order = append(order, lines[m[2]])
		}
		lines[m[2]].points = append(lines[m[2]].points, point{m[1], ns.median})
	}
	d.image("benchmarks-scale.svg", "Nanoseconds to accept a request by the number of tokens in memory; the numbers are in the table", lineChart("Accepting a request: ns by tokens in memory", order))
	d.table([]string{"tokens", "ns", "× with 100k", "B per token", "ms for a collection"}, rows)
	d.about(r)
}

func (d *document) flood(r *results) {
	const unknown, huge = "Flood/what=unknown", "Flood/what=huge"
	size := func(unit string) string { return thousands(int(estimated(r.values(unknown, unit)).median)) }
	d.text("\n## In a flood\n\n%s different tokens that are as they should be, but that nobody has issued, while %s good ones are in use;\nwith the defaults and the store in memory. And one token of 0.9 MB, which is refused by its length.\n", size("unknown"), size("good"))
	var rows [][]string
	for _, row := range []struct{ what, name, unit string }{
		{"memory in use afterwards that was not before, MiB", unknown, "MiB-added"},
		{"requests with a good token answered from memory, %", unknown, "%hits"},
		{"look-ups in the store for each unknown token", unknown, "gets/token"},
		{"refusing 0.9 MB, ns", huge, "ns/op"},
	} {
		rows = append(rows, []string{row.what, estimated(r.values(row.name, row.unit)).String()})
	}
	d.table([]string{"", "apitoken"}, rows)
	d.about(r)
}

func (d *document) cold(r *results) {
	d.text(`
## Without a cache

With %s every request reads the token from the database. bare is the least that reads
from the same record through the same driver: one column, or in Valkey the value. row reads the whole record in
that way, also when it was last used, and makes nothing of it. get is the store's Get alone.
`, "`MaxStaleness: NoCache`")
	var rows, turns [][]string
	for _, name := range r.names() {
		store, impl, _ := strings.Cut(strings.TrimPrefix(name, "Cold/store="), "/impl=")
		if impl == "in-turn" {
			turns = append(turns, []string{store, estimated(r.values(name, "get/row")).String(), estimated(r.values(name, "request/row")).String()})
			continue
		}
		beside := func(other string) string {
			return estimated(r.ratios("Cold/store="+store+"/impl="+other, name, "ns/op")).String()
		}
		rows = append(rows, []string{
			store + " " + strong(impl), beside("bare"), beside("row"),
			figures(estimated(r.values(name, "ns/op")).median), figures0(estimated(r.values(name, "allocs/op")).median),
		})
	}
	d.table([]string{"", "rate × bare", "rate × row", "ns", "allocations"}, rows)
	d.text("\nThe times of Get and of a request as multiples of that of row, with 128 calls of each in turn:\n")
	d.table([]string{"", "Get", "request"}, turns)
	d.about(r)
}

func (d *document) lists(r *results) {
	if len(r.samples) == 0 {
		return
	}
	n := thousands(int(r.samples[0].value["tokens"]))
	d.text(`
## Lists of very many tokens

Pages of 50 by the store's List in a database with %s tokens, and by turns the same in one with 1,000,
and the first page there; and generating a token by a Manager. Rows are inserted in bulk before. All are in the order of names.

- first, deep: the first page, and one from the middle
- search-many, search-one: those with a word that begins as the text does: two in eleven, and one
- owner: the 20 of one owner
- permission: those with a permission that half of them have
- late: those with a permission that only the last eleventh in the order has
- nothing: two filters that half and one in 20 of the tokens pass, but none both

late and nothing are what the stores have no index for: they look at tokens in order until some 50 ms are over, and return a partial page.
`, n)
	var rows [][]string
	for _, name := range r.names() {
		store, what, _ := strings.Cut(strings.TrimPrefix(name, "Lists/store="), "/what=")
		took := r.values(name, "ns/op")
		to := func(unit string) string {
			return estimated(each(took, r.values(name, unit), func(large, small float64) float64 { return large / small })).String()
		}
		first := to("ns-first-of-1k")
		if what == "generate" {
			first = "" // is no page
		}
		rows = append(rows, []string{store + " " + what, first, to("ns-same-of-1k"), figures(estimated(took).median / 1e6)})
	}
	d.table([]string{"", "× first page of 1k", "× the same of 1k", "ms"}, rows)
	d.about(r)
}

func (d *document) endtoend(r *results) {
	d.text(`
## End to end

Servers of net/http on loopback, with one core, driven by wrk over 16 connections from
another. "again" is a second measurement of the bare server: what it differs by is noise.
Ratios are to the bare server in the same round.
`)
	var rows [][]string
	const bare = "EndToEnd/why=accept/impl=bare"
	for _, name := range r.names() {
		why, impl, _ := strings.Cut(strings.TrimPrefix(name, "EndToEnd/why="), "/impl=")
		rows = append(rows, []string{
			why + ": " + strong(impl), estimated(r.ratios(name, bare, "req/s")).String(), estimated(r.ratios(name, bare, "p99-us")).String(),
			estimated(r.ratios(name, bare, "cpu-ns/op")).String(), figures(estimated(r.values(name, "req/s")).median), figures(estimated(r.values(name, "p99-us")).median),
		})
	}
	d.table([]string{"", "throughput × bare", "99th percentile × bare", "processor time × bare", "requests/s", "99th percentile, µs"}, rows)
	d.text("\nTo the floor of the same round:\n")
	rows = nil
	for _, name := range r.names() {
		if !strings.HasSuffix(name, "/impl=apitoken") {
			continue
		}
		floor := strings.TrimSuffix(name, "apitoken") + "floor"
		why, _, _ := strings.Cut(strings.TrimPrefix(name, "EndToEnd/why="), "/")
		rows = append(rows, []string{why, estimated(r.ratios(name, floor, "req/s")).String(), estimated(r.ratios(name, floor, "p99-us")).String(), estimated(r.ratios(name, floor, "cpu-ns/op")).String()})
	}
	d.table([]string{"", "throughput × floor", "99th percentile × floor", "processor time × floor"}, rows)
	d.about(r)
}
