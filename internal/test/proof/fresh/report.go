//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// A report is Markdown, as it comes to be.
type report struct {
	out    io.Writer
	broken []error
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

// wrong notes what breaks the promise, and returns how often.
func (r *report) wrong(where string, what []string) int {
	for i, text := range what {
		if i == 10 {
			r.broken = append(r.broken, fmt.Errorf("%s: and %d more", where, len(what)-i))
			break
		}
		r.broken = append(r.broken, errors.New(where+": "+text))
	}
	return len(what)
}

func (r *report) begin(s scale) {
	r.printf(`# Freshness

How soon a token that one node has deactivated is refused by the others; and what
happens when the feed of changes, or the store, fails. Three nodes, each with
connections of its own to one server; rows have a MAC; MaxStaleness is %v. Written by

    go run ./internal/test/proof/fresh -o docs/freshness.md    # make fresh

on %s, on %s, %s. Everything (the server, the nodes, the load) shares
this machine.

Every request leaves a trace: when it began, and what the answer was. Afterwards each is
held against the moment when the deactivation of its token was acknowledged. A request
that began later than MaxStaleness after it and was accepted (MaxCacheAge, where the feed lies), one that began after it at all and was accepted by the
node that acknowledged it, and a refusal of a good token are wrong. One wrong decision, or
a lost change, and the program fails.
`, s.maxStaleness, time.Now().UTC().Format("2 January 2006"), machine(), runtime.Version())
}

// machine describes this machine.
func machine() string {
	model := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	text := fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), model, runtime.GOOS)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load average " + strings.Join(strings.Fields(string(load))[:3], " ") + " at the start"
	}
	return text
}

func (r *report) engine(e *engine) { r.printf("\n## %s %s\n", e.name, e.version) }

func (r *report) revocations(e *engine, v revocation) {
	where := e.name + ", feed up"
	wrong := r.wrong(where, v.wrong)
	r.printf(`
### The feed is up

%d deactivations, %d at a time, while each of the three nodes, which had the token in memory,
was asked for it every %v. Negative is before the acknowledgement had come back.

| | median | p99 | max |
|---|---|---|---|
`, v.revoked, revokers, pace)
	row := func(name string, d times, unit func(time.Duration) string) {
		r.printf("| %s | %s | %s | %s |\n", name, unit(d.at(0.5)), unit(d.at(0.99)), unit(d.at(1)))
	}
	if e.notification != "" {
		row("a bare "+e.notification+", sent → received", v.bare, ms)
	}
	row("`Deactivate`, called → acknowledged", v.calls, ms)
	row("**acknowledged → refused elsewhere**", v.other, ms)
	if e.notification != "" {
		r.printf("| the last, as a multiple of the first | %.1f | %.1f | %.1f |\n",
			ratio(v.other, v.bare, 0.5), ratio(v.other, v.bare, 0.99), ratio(v.other, v.bare, 1))
	}
	r.printf("\nWrong decisions: %d.\n", wrong)
}

func ratio(a, b times, q float64) float64 { return float64(a.at(q)) / float64(max(b.at(q), 1)) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func (r *report) faults(s scale) {
	r.printf(`
### The feed fails

The store stays in reach. Each fault lasts %v; a token is deactivated every %v, and all
nodes are asked for it every millisecond until well after MaxStaleness. The figure to look at
is how long after the acknowledgement the latest request began that was still accepted.
Hints, which PostgreSQL sends beside its log, can be doubled, reordered and lost; what Redis says comes on
one connection, which keeps the order, so there it is all or nothing, and MariaDB only answers polls. A feed that reports no change, and looks
healthy, is believed for MaxCacheAge, which is %v for it.

| fault | deactivations | requests | acknowledged → refused, median | latest acceptance | wrong |
|---|---|---|---|---|---|
`, s.fault, s.pause, lieAge*s.maxStaleness)
}

func (r *report) fault(x fault, v faulty) {
	r.printf("| %s | %d | %d | %s | %s | %d |\n", x.name, v.revoked, v.requests, ms(v.other.at(0.5)), ms(v.latest), r.wrong(x.name, v.wrong))
}

func (r *report) outages(s scale) {
	r.printf(`
### The store fails

It is away for %v under a load of requests, generations and deactivations. "Good answers"
are those from %v after it was back. "Lost" is what was acknowledged and is not there afterwards.

| fault | requests | of them 503 | slowest 503 (deadline) | good answers | last 503 after the return | wrong or lost |
|---|---|---|---|---|---|---|
`, s.outage, grace)
}

func (r *report) outage(o outage, v survival) {
	r.printf("| %s | %d | %d | %s (%v) | %.3f %% | %s | %d |\n", o.name, v.requests, v.unavailable, ms(v.slowest), v.timeout,
		100*v.quota(), ms(v.until), r.wrong(o.name, append(v.wrong, v.inTime()...)))
}

func (r *report) cold(c coldStart) {
	r.printf(`
### A cold start with %d tokens

Store and Authority were open after %s; the first request after that took %s. The start and
%d requests read %d rows of the table of tokens and entries of its indexes, and scanned it %d times.
`, c.rows, ms(c.opening), ms(c.first), c.asked, c.read, c.scans)
	r.wrong("cold start", c.wrong)
}
