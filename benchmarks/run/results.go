package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are what a file of results holds.
type results struct {
	about   map[string][]string // what the header says
	rounds  int
	samples []sample
}

// A sample is a line of a benchmark.
type sample struct {
	name  string // "Accept/impl=floor"
	procs int
	round int
	value map[string]float64 // by unit

	// reference is what was measured of the floor just before.
	reference map[string]float64
}

// read reads the results of a section; nil if there are none.
func read(dir, section string) (*results, error) {
	f, err := os.Open(filepath.Join(dir, section+".txt"))
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &results{about: make(map[string][]string)}
	isReference := false
	var reference map[string]float64
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if comment, ok := strings.CutPrefix(line, "# "); ok {
			key, value, _ := strings.Cut(comment, ": ")
			switch {
			case strings.HasPrefix(comment, "round "):
				r.rounds++
			case comment == "reference", comment == "measured":
				isReference = comment == "reference"
			default:
				r.about[key] = append(r.about[key], value)
			}
			continue
		}
		s, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if isReference {
			reference = s.value
			continue
		}
		s.round, s.reference = r.rounds, reference
		r.samples = append(r.samples, s)
	}
	return r, lines.Err()
}

var procs = regexp.MustCompile(`-(\d+)$`)

// parse reads a line as "go help testflag" and the benchmark format have it.
func parse(line string) (sample, error) {
	fields := strings.Fields(line)
	bad := fmt.Errorf("not the line of a benchmark: %q", line)
	if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
		return sample{}, bad
	}
	s := sample{name: strings.TrimPrefix(fields[0], "Benchmark"), procs: 1, value: make(map[string]float64)}
	// A name may end in a number itself, but not after a hyphen.
	if m := procs.FindStringSubmatch(s.name); m != nil {
		s.procs, _ = strconv.Atoi(m[1])
		s.name = strings.TrimSuffix(s.name, m[0])
	}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return sample{}, bad
		}
		s.value[fields[i+1]] = v
	}
	return s, nil
}

// of returns the samples with a name, in the order of rounds.
func (r *results) of(name string) (found []sample) {
	for _, s := range r.samples {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}

// names returns the names of all samples, in the order of the first round.
func (r *results) names() (names []string) {
	for _, s := range r.samples {
		if !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// values returns the values of a unit in each round.
func (r *results) values(name, unit string) (values []float64) {
	for _, s := range r.of(name) {
		values = append(values, s.value[unit])
	}
	return values
}

// toReference returns the values of a unit as ratios to the floor that was measured
// just before each.
func (r *results) toReference(name, unit string) (ratios []float64) {
	for _, s := range r.of(name) {
		ratios = append(ratios, s.value[unit]/s.reference[unit])
	}
	return ratios
}

// ratios returns the values of one as ratios to those of another in the same round.
func (r *results) ratios(name, to, unit string) (ratios []float64) {
	for _, s := range r.of(name) {
		for _, o := range r.of(to) {
			if o.round == s.round {
				ratios = append(ratios, s.value[unit]/o.value[unit])
				break
			}
		}
	}
	return ratios
}

// speedups returns how many times as fast something is on all cores as on one, in
// each round, and how many cores these are.
func (r *results) speedups(name string) (speedups []float64, cores int) {
	for _, one := range r.of(name) {
		for _, all := range r.of(name) {
			if one.procs == 1 && all.procs > 1 && one.round == all.round {
				speedups = append(speedups, one.value["ns/op"]/all.value["ns/op"])
				cores = all.procs
			}
		}
	}
	return speedups, cores
}

// each returns f of two values of each round; none where only one was measured.
func each(a, b []float64, f func(a, b float64) float64) (c []float64) {
	for i := range min(len(a), len(b)) {
		c = append(c, f(a[i], b[i]))
	}
	return c
}

// An estimate is a median, and the interval that contains the median of the population
// with at least 95 % confidence, for every distribution. With fewer than six
// samples there is no such interval; it is from the least to the greatest then.
type estimate struct {
	median, low, high float64
	n                 int
}

func estimated(values []float64) estimate {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return estimate{math.NaN(), math.NaN(), math.NaN(), 0}
	}
	// The median lies below the (k+1)-th of n samples if at most k of them lie
	// below it, as a coin shows heads.
	k := 0
	for tail := math.Pow(0.5, float64(n)); ; k++ {
		tail += choose(n, k+1) * math.Pow(0.5, float64(n))
		if tail > 0.025 {
			break
		}
	}
	if n >= 6 && math.Pow(0.5, float64(n)) <= 0.025 {
		return estimate{median(v), v[k], v[n-1-k], n}
	}
	return estimate{median(v), v[0], v[n-1], n}
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func choose(n, k int) float64 {
	c := 1.0
	for i := range k {
		c = c * float64(n-i) / float64(i+1)
	}
	return c
}
