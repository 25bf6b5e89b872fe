package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/benchmarks"
)

// A section is measured at once and has a file of results.
type section struct {
	name, what string
	run        func(*programs, settings, *strings.Builder) error
}

var sections = []section{
	{"requests", "accepting and refusing, each implementation in a process of its own", requests},
	{"parallel", "accepting on one core and on all", parallel},
	{"scale", "accepting with very many tokens in memory", scale},
	{"flood", "unknown tokens in great number, and one of great length", flood},
	{"cold", "accepting when nothing may be kept in memory", cold},
	{"lists", "pages of databases with a million tokens", lists},
	{"endtoend", "servers on loopback", endtoend},
}

// programs are what is run. They are built once, of a commit.
type programs struct{ benchmarks, endtoend, commit string }

func build(dir string) (*programs, error) {
	p := &programs{filepath.Join(dir, "benchmarks.test"), filepath.Join(dir, "endtoend"), commit()}
	if _, err := output("go", "test", "-c", "-o", p.benchmarks, "."); err != nil {
		return nil, err
	}
	_, err := output("go", "build", "-o", p.endtoend, "./endtoend")
	return p, err
}

func output(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stderr.Bytes(), out)
	}
	return out, err
}

// bench runs benchmarks and adds their lines to b.
func (p *programs) bench(s settings, b *strings.Builder, pattern string, args ...string) error {
	out, err := output(p.benchmarks, append([]string{
		"-test.run=^$", "-test.bench=" + pattern, "-test.benchtime=" + s.benchtime.String(), "-test.timeout=1h", fmt.Sprint("-tokens=", s.tokens), "-settle=1500ms",
	}, args...)...)
	if err != nil {
		return err
	}
	lines := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			b.WriteString(line)
			lines++
		}
	}
	if lines == 0 {
		return fmt.Errorf("no benchmark is %s", pattern)
	}
	return nil
}

// rotated calls f for each of n things in each round, beginning with another one
// each time.
func rotated(s settings, b *strings.Builder, n int, f func(k int) error) error {
	for round := range s.rounds {
		fmt.Fprintf(b, "# round %d\n", round+1)
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", round+1, s.rounds)
		for k := range n {
			if err := f((k + round*max(1, n/s.rounds)) % n); err != nil {
				return err
			}
		}
		if err := s.save(b.String()); err != nil {
			return err
		}
	}
	fmt.Fprint(os.Stderr, "\r")
	return nil
}

// requests measures one implementation after the other, and the floor before each:
// what happens on a shared machine is not the same a minute later.
func requests(p *programs, s settings, b *strings.Builder) error {
	return rotated(s, b, len(s.impls), func(k int) error {
		b.WriteString("# reference\n")
		if err := p.bench(s, b, "^BenchmarkAccept$/^impl=floor$"); err != nil {
			return err
		}
		name := regexp.QuoteMeta(s.impls[k].Name)
		pattern := "^BenchmarkAccept$/^impl=" + name + "$|^BenchmarkAcceptQuery$/^impl=" + name + "$|^BenchmarkRefuse$/^why=/^impl=" + name + "$"
		if name == "apitoken" {
			pattern += "|^BenchmarkGet$"
		}
		b.WriteString("# measured\n")
		return p.bench(s, b, pattern)
	})
}

// inParallel are the implementations that are measured on all cores.
var inParallel = []string{"floor", "floor-typed", "apitoken", "apitoken-typed", "typical", "go-guardian-static", "kubernetes", "echo-keyauth"}

func parallel(p *programs, s settings, b *strings.Builder) error {
	if runtime.NumCPU() == 1 {
		return errors.New("there is one core only")
	}
	return rotated(s, b, len(inParallel), func(k int) error {
		return p.bench(s, b, "^BenchmarkParallel$/^impl="+inParallel[k]+"$", fmt.Sprintf("-test.cpu=1,%d", runtime.NumCPU()))
	})
}

func scale(p *programs, s settings, b *strings.Builder) error {
	s.rounds = (s.rounds + 2) / 3 // they differ by more than noise, and take long
	sizes := []string{"1k", "100k", "1M", "5M"}
	if s.largest < 5_000_000 {
		sizes = sizes[:2]
	}
	return rotated(s, b, 2*len(sizes), func(k int) error {
		impl := []string{"apitoken", "floor"}[k%2]
		return p.bench(s, b, "^BenchmarkScale$/^tokens="+sizes[k/2]+"$/^impl="+impl+"$", fmt.Sprint("-largest=", s.largest))
	})
}

func flood(p *programs, s settings, b *strings.Builder) error {
	s.rounds = (s.rounds + 2) / 3 // each is a million requests
	return rotated(s, b, 1, func(int) error { return p.bench(s, b, "^BenchmarkFlood$") })
}

func cold(p *programs, s settings, b *strings.Builder) error {
	return rotated(s, b, 1, func(int) error { return p.bench(s, b, "^BenchmarkCold$") })
}

// lists measures three times in succession, as it takes minutes to fill a database.
func lists(p *programs, s settings, b *strings.Builder) error {
	rounds := min(3, s.rounds)
	var all strings.Builder
	if err := p.bench(s, &all, "^BenchmarkLists$", fmt.Sprint("-largest=", s.largest), fmt.Sprint("-test.count=", rounds)); err != nil {
		return err
	}
	lines := slices.Collect(strings.Lines(all.String())) // those of a benchmark follow each other
	for round := range rounds {
		fmt.Fprintf(b, "# round %d\n", round+1)
		for k := round; k < len(lines); k += rounds {
			b.WriteString(lines[k])
		}
	}
	return nil
}

func endtoend(p *programs, s settings, b *strings.Builder) error {
	out, err := output(p.endtoend, fmt.Sprint("-rounds=", s.rounds), fmt.Sprint("-seconds=", s.seconds), fmt.Sprint("-tokens=", s.tokens))
	b.Write(out)
	return err
}

// commit returns what is measured, "" outside of a repository. What the run itself
// writes does not make it another.
func commit() string {
	id, err := output("git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return ""
	}
	changed, err := output("git", "status", "--porcelain", "--", ":/", ":!results", ":!../docs/benchmarks.md", ":!../docs/images")
	if err != nil || len(changed) > 0 {
		return strings.TrimSpace(string(id)) + "+dirty"
	}
	return strings.TrimSpace(string(id))
}

// header says when and where something is measured.
func header(p *programs, s settings) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "# %s: %s\n", key, value)
		}
	}
	line("date", time.Now().UTC().Format(time.DateOnly))
	line("go", runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	line("cpu", fmt.Sprintf("%s, %d cores", processor(), runtime.NumCPU()))
	line("commit", p.commit)
	line("settings", fmt.Sprintf("up to %d rounds, %v each, %d tokens", s.rounds, s.benchtime, s.tokens))
	if info, ok := debug.ReadBuildInfo(); ok {
		measured := map[string]bool{"modernc.org/sqlite": true}
		for _, i := range benchmarks.Impls {
			measured[i.Module] = true
		}
		for _, d := range info.Deps {
			if measured[d.Path] && d.Replace == nil {
				line("module", d.Path+" "+d.Version)
			}
		}
	}
	return b.String()
}

// processor is the model of the processor, as Linux has it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return runtime.GOARCH
}
