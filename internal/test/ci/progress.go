package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// silence is how long nothing is printed before a line says what is running. It
// is less than the promised 20 s, as a busy machine wakes us late.
const silence = 15 * time.Second

// A progress is where all lines go. It knows what is running, so that beat can
// say so while nobody else prints.
type progress struct {
	mu      sync.Mutex
	out     io.Writer
	printed time.Time // when the last line was
	running []activity
}

// An activity is a step or the tests of a package, from its begin to its end.
type activity struct {
	name  string
	since time.Time
	at    string // the test that began last
}

func newProgress(out io.Writer) *progress { return &progress{out: out, printed: time.Now()} }

func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printed = time.Now()
	return p.out.Write(text)
}

func (p *progress) begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, activity{name: name, since: time.Now()})
}

func (p *progress) at(name, test string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.running {
		if p.running[i].name == name {
			p.running[i].at = test
		}
	}
}

// end returns how long the activity took.
func (p *progress) end(name string) (took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = slices.DeleteFunc(p.running, func(a activity) bool {
		if a.name == name {
			took = time.Since(a.since)
		}
		return a.name == name
	})
	return took
}

// beat prints what is running whenever there was silence, until stop is called.
// The function compiling lists what is compiled or linked at that moment.
func (p *progress) beat(compiling func() []string) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.mu.Lock()
				if time.Since(p.printed) >= silence && len(p.running) > 0 {
					p.printed = time.Now()
					fmt.Fprintln(p.out, "still running: "+p.describe(compiling()))
				}
				p.mu.Unlock()
			}
		}
	}()
	return func() { close(done) }
}

// describe is called with the lock held.
func (p *progress) describe(compiling []string) string {
	var parts []string
	for _, a := range p.running {
		part := fmt.Sprintf("%s %.0f s", a.name, time.Since(a.since).Seconds())
		if a.at != "" {
			part += ", " + a.at
		}
		parts = append(parts, part)
	}
	return strings.Join(append(parts, compiling...), "; ")
}

// compiling lists what go commands that we started have their tools compile or
// link: processes whose grandparent we are. It reads /proc; where there is none,
// as on macOS, it finds nothing.
func compiling() (list []string) {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		stat, _ := os.ReadFile(file)              // "pid (name) state parent ...", and the name may contain ")"
		i := strings.LastIndex(string(stat), ")") // -1 if the process has ended
		if fields := strings.Fields(string(stat[i+1:])); len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	for pid, parent := range parents {
		if parents[parent] != os.Getpid() {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(line), "\x00")
		switch tool := filepath.Base(args[0]); tool {
		case "compile":
			if i := slices.Index(args, "-p"); i >= 0 && i+1 < len(args) {
				list = append(list, "compiling "+args[i+1])
			}
		case "link":
			if i := slices.Index(args, "-o"); i >= 0 && i+1 < len(args) {
				list = append(list, "linking "+filepath.Base(args[i+1]))
			}
		}
	}
	slices.Sort(list)
	return list
}
