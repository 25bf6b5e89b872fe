package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/benchmarks"
)

func TestAnIntervalHasItsMedianAsOftenAsItSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const trials, truth = 20_000, 0.6931471805599453 // the median of the exponential distribution
	for _, n := range []int{6, 9, 10, 11, 20, 31} {
		hits := 0
		for range trials {
			v := make([]float64, n)
			for i := range v {
				v[i] = random.ExpFloat64()
			}
			if e := estimated(v); e.low <= truth && truth <= e.high {
				hits++
			}
		}
		assert.GreaterOrEqual(t, float64(hits)/trials, 0.945, n)
	}
}

func TestAnEstimateIsTheMedianAndItsInterval(t *testing.T) {
	for _, tt := range []struct {
		values            []float64
		median, low, high float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{4, 2}, 3, 2, 4},
		{[]float64{5, 1, 3, 2, 4}, 3, 1, 5},
		{[]float64{6, 5, 4, 3, 2, 1}, 3.5, 1, 6},
		{[]float64{9, 8, 7, 6, 5, 4, 3, 2, 1, 10}, 5.5, 2, 9},
	} {
		e := estimated(tt.values)
		assert.Equal(t, estimate{tt.median, tt.low, tt.high, len(tt.values)}, e)
	}
	assert.Equal(t, "–", estimated(nil).String())
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.0361: "0.036", 1: "1.00", 12.34: "12.3", 999.6: "1,000", 1234567: "1,234,567", -234: "-234", -1234: "-1,234",
	} {
		assert.Equal(t, want, figures(v))
	}
}

func TestALineOfABenchmarkIsReadOrRefused(t *testing.T) {
	s, err := parse("BenchmarkAccept/impl=golang-jwt-hs256-2   \t 100\t 1234.5 ns/op\t 48 B/op\t 2 allocs/op")
	require.NoError(t, err)
	assert.Equal(t, sample{name: "Accept/impl=golang-jwt-hs256", procs: 2, value: map[string]float64{"ns/op": 1234.5, "B/op": 48, "allocs/op": 2}}, s)
	s, err = parse("BenchmarkParallel/impl=floor-typed 1 5 ns/op")
	require.NoError(t, err)
	assert.Equal(t, "Parallel/impl=floor-typed", s.name)
	assert.Equal(t, 1, s.procs)
	for _, line := range []string{"", "PASS", "BenchmarkX 1 2", "BenchmarkX 1 2 ns/op 3", "BenchmarkX 1 fast ns/op", "X 1 2 ns/op"} {
		_, err := parse(line)
		assert.Error(t, err, "%q", line)
	}
}

// measured writes results in which the implementations take the given times, and
// the floor 100 ns in odd rounds and 200 in even ones.
func measured(t *testing.T, times map[string]float64) string {
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("# date: 2026-01-02\n# cpu: one\n# module: k8s.io/apiserver v1.2.3\n")
	for round := range 10 {
		floor := float64(100 + 100*(round%2))
		fmt.Fprintf(&b, "# round %d\n", round+1)
		for _, i := range benchmarks.Impls {
			ns, ok := times[i.Name]
			if !ok {
				continue
			}
			ns *= floor
			fmt.Fprintf(&b, "# reference\nBenchmarkAccept/impl=floor-2 1 %g ns/op 10 cpu-ns/op\n# measured\n", floor)
			fmt.Fprintf(&b, "BenchmarkAccept/impl=%s-2 1 %g ns/op 20 cpu-ns/op 344 B/op 2 allocs/op\n", i.Name, ns)
			for _, why := range benchmarks.Refusals {
				fmt.Fprintf(&b, "BenchmarkRefuse/why=%s/impl=%s-2 1 %g ns/op 0 B/op 0 allocs/op\n", why.Name, i.Name, ns/2)
			}
			if i.Name == "apitoken" {
				fmt.Fprintf(&b, "BenchmarkAcceptQuery/impl=apitoken-2 1 %g ns/op 20 cpu-ns/op 700 B/op 4 allocs/op\n", ns*1.25)
				fmt.Fprintf(&b, "BenchmarkGet/store=memory/what=unknown-2 1 %g ns/op\n", floor/4)
			}
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "requests.txt"), []byte(b.String()), 0o666))
	return dir
}

func TestTheDocumentHasRatiosToTheFloorOfTheSameMomentAndKeepsLosses(t *testing.T) {
	dir := measured(t, map[string]float64{"bare": 0.03, "floor": 1, "apitoken": 1.5, "apitoken-typed": 0.5, "kubernetes": 1.25, "typical": 2})
	out := t.TempDir()
	var terminal strings.Builder
	require.NoError(t, write(dir, out, &terminal))
	assert.Regexp(t, `\*\*apitoken\*\* +1\.50 \[1\.50, 1\.50\] +2\.00`, terminal.String())
	text, err := os.ReadFile(filepath.Join(out, "docs", "benchmarks.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"| **apitoken** | 1.50 [1.50, 1.50] | 2.00 [2.00, 2.00] | 50.0 [50.0, 50.0] | 225 | 344 | 2 |",
		"| **apitoken** | 1.25 [1.25, 1.25] | 1.88 [1.88, 1.88] | 281 | 700 | 4 |",
		"by itself, takes 0.250 [0.250, 0.250] × floor of it, and what apitoken does around it 0.500 [0.500, 0.500] × floor.",
		"| bare | 0.015 [0.015, 0.015] (0) |",
		"Faster than apitoken: bare, apitoken-typed, floor, kubernetes.",
		"Faster than apitoken-typed: bare.",
		"| **apitoken** | 0.750 [0.750, 0.750] (0) | 0.750",
		"k8s.io/apiserver v1.2.3",
		"Measured: 2026-01-02; one; n = 10.",
	} {
		assert.Contains(t, string(text), want)
	}
	for _, i := range benchmarks.Impls {
		assert.Contains(t, string(text), i.Does)
	}
	for _, m := range regexp.MustCompile(`\]\((images/\S+)\)`).FindAllStringSubmatch(string(text), -1) {
		assert.FileExists(t, filepath.Join(out, "docs", m[1]))
	}
}

func TestSpeedUpsAreComparedWithTheFloorsOfTheSameRound(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	var b strings.Builder
	for round, noise := range []float64{1, 0.5} { // of which the second core has little
		fmt.Fprintf(&b, "# round %d\n", round+1)
		for name, speedup := range map[string]float64{"floor": 2, "apitoken": 1.9} {
			fmt.Fprintf(&b, "BenchmarkParallel/impl=%s 1 100 ns/op\nBenchmarkParallel/impl=%s-2 1 %g ns/op\n", name, name, 100/speedup/noise)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "parallel.txt"), []byte(b.String()), 0o666))
	require.NoError(t, write(dir, out, io.Discard))
	text, err := os.ReadFile(filepath.Join(out, "docs", "benchmarks.md"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "| **apitoken** | 2 | 1.42 [0.950, 1.90] | 0.950 [0.950, 0.950] |")
}

func TestListsAreComparedWithThoseOfASmallDatabase(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lists.txt"), []byte("# round 1\n"+
		"BenchmarkLists/store=sqlite/what=late-2 3 50e6 ns/op 1e6 ns-first-of-1k 2e6 ns-same-of-1k 1000000 tokens\n"+
		"BenchmarkLists/store=sqlite/what=generate-2 3 4e6 ns/op 1e6 ns-first-of-1k 2e6 ns-same-of-1k 1000000 tokens\n"), 0o666))
	require.NoError(t, write(dir, out, io.Discard))
	text, err := os.ReadFile(filepath.Join(out, "docs", "benchmarks.md"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "a database with 1,000,000 tokens")
	assert.Contains(t, string(text), "| sqlite late | 50.0 [50.0, 50.0] | 25.0 [25.0, 25.0] | 50.0 |")
	assert.Contains(t, string(text), "| sqlite generate |  | 2.00 [2.00, 2.00] | 4.00 |")
}

func TestASectionThatWasNotMeasuredIsLeftOut(t *testing.T) {
	out := t.TempDir()
	require.NoError(t, write(t.TempDir(), out, io.Discard))
	text, err := os.ReadFile(filepath.Join(out, "docs", "benchmarks.md"))
	require.NoError(t, err)
	assert.NotContains(t, string(text), "## ")
}

func TestDamagedResultsAreAnError(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cold.txt"), []byte("# round 1\npanic: no\n"), 0o666))
	assert.ErrorContains(t, write(dir, t.TempDir(), io.Discard), "panic: no")
}

func TestUnknownSectionsAreAnError(t *testing.T) {
	assert.ErrorContains(t, run(settings{}, []string{"request"}, true, t.TempDir(), t.TempDir()), `"request"`)
}

func TestPlotsAreXMLAndStayInTheirFrame(t *testing.T) {
	bars := []bar{{"a<b", estimate{0.03, 0.02, 0.04, 10}, false}, {"apitoken", estimate{1, 0.9, 1.1, 10}, true}, {"slow", estimate{90_000, 80_000, 99_999, 10}, false}}
	lines := []*line{{"apitoken", true, []point{{"1k", 500}, {"1M", 4321}}}, {"floor", false, []point{{"1k", 100}}}}
	for _, svg := range []string{barChart("a & b", bars), lineChart("a & b", lines)} {
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		assert.NotContains(t, svg, "NaN")
		assert.NotContains(t, svg, "Inf")
		var xs []float64
		for _, m := range regexp.MustCompile(` (?:x|x1|x2|cx)="(-?[\d.]+)"`).FindAllStringSubmatch(svg, -1) {
			var x float64
			fmt.Sscan(m[1], &x)
			xs = append(xs, x)
		}
		assert.GreaterOrEqual(t, slices.Min(xs), 0.0)
		assert.LessOrEqual(t, slices.Max(xs), 800.0)
	}
}

func TestTheDocumentSaysWhichGoalsAreReachedOnceAllIsMeasured(t *testing.T) {
	sampleOf := func(name string, value map[string]float64) sample {
		return sample{name: name, round: 1, value: value, reference: map[string]float64{"ns/op": 100}}
	}
	of := map[string]*results{
		"requests": {samples: []sample{sampleOf(accept("apitoken"), map[string]float64{"ns/op": 140, "allocs/op": 2}), sampleOf(refuse("junk", "apitoken"), map[string]float64{"ns/op": 60})}},
		"lists":    {samples: []sample{sampleOf("Lists/store=sqlite/what=first", map[string]float64{"ns/op": 1e6}), sampleOf("Lists/store=sqlite/what=late", map[string]float64{"ns/op": 2e8})}},
	}
	var d document
	d.goals(of)
	assert.Empty(t, d.b.String(), "sections are missing")
	of["scale"], of["cold"], of["endtoend"] = &results{}, &results{}, &results{}
	d.goals(of)
	assert.Contains(t, d.b.String(), "| accept, × floor | at most 1.5 | 1.40 [1.40, 1.40] | yes |")
	assert.Contains(t, d.b.String(), "| refuse: junk | at most 0.5 | 0.600 [0.600, 0.600] | no: |")
	assert.Contains(t, d.b.String(), "| 200 [200, 200] | no: the budget")
	assert.Contains(t, d.b.String(), "| memory of a token of a million, B | at most 320 | – | not measured |")
}
