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

This page measures how soon other nodes refuse a token after one node has deactivated it, also
while the feed of changes, or the store, fails. Three nodes have their own
connections to one server; rows have a MAC; MaxStaleness is %v. Written by

    go run ./internal/test/proof/fresh -o docs/freshness.md    # make fresh

on %s, on %s, %s. Everything (the server, the nodes, the load) shares
this machine.

The program records when each request began, and its answer. Afterwards it compares each request with the
acknowledgement of the deactivation of its token. Three decisions are wrong: to accept a request that began more than MaxStaleness after
the acknowledgement (MaxCacheAge, if the feed lies); to accept one that began after it at all, on the
node that acknowledged it; and to refuse a valid token. The program fails at one wrong decision, or at one lost change.
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

%d deactivations, %d at a time. Each of the three nodes had the token in memory, and got
a request with it every %v. Negative times are before the acknowledgement arrived.

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

The store stays reachable. Each fault lasts %v. The program deactivates a token every %v, and sends
a request with it to all nodes every millisecond until well after MaxStaleness. The important column is the latest acceptance: the time
from the acknowledgement to the start of the last accepted request.
PostgreSQL sends hints beside its log, which can be doubled, reordered and lost; Redis reports changes on
one connection, which keeps the order, so there it is all or nothing. MariaDB only answers polls. Nodes trust a feed that reports no change, and looks
healthy, for MaxCacheAge, which is %v in this test.

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

The store is down for %v under a load of requests, generations and deactivations. "Good answers"
counts from %v after its return. "Lost" counts acknowledged changes that are missing afterwards.

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

Opening the store and the Authority took %s; the first request after that took %s. The start and
%d requests read %d rows of the table of tokens and entries of its indexes, and scanned it %d times.
`, c.rows, ms(c.opening), ms(c.first), c.asked, c.read, c.scans)
	r.wrong("cold start", c.wrong)
}
