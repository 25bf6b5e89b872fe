//go:build unix

// Fresh measures how soon a node refuses a token that another node has
// deactivated, and checks that it is never later than MaxStaleness, whatever happens
// to the feed of changes or to the store. It starts its own PostgreSQL, MariaDB and Redis,
// prints a report in Markdown, and fails if the promise was broken.
//
//	go run ./internal/test/proof/fresh -o docs/freshness.md
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func main() {
	output := flag.String("o", "", "write the report to `FILE` as well")
	s := full
	flag.IntVar(&s.revocations, "n", s.revocations, "how many tokens are deactivated with the feed up")
	flag.IntVar(&s.rows, "rows", s.rows, "how many tokens PostgreSQL holds at the cold start")
	flag.DurationVar(&s.fault, "fault", s.fault, "how long a fault of the feed lasts")
	flag.DurationVar(&s.outage, "outage", s.outage, "how long the server is away")
	flag.StringVar(&s.only, "only", "", "make these `CHECKS` only, of revocations, feed, store, cold")
	flag.StringVar(&s.engines, "engines", "postgres, mysql, redis", "the `ENGINES`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var text bytes.Buffer
	r := &report{out: io.MultiWriter(os.Stdout, &text)}
	r.begin(s)
	err := r.run(ctx, s)
	if err == nil && *output != "" {
		err = os.WriteFile(*output, text.Bytes(), 0o666)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fresh:", err)
		os.Exit(1)
	}
}

// A scale is how much is done.
type scale struct {
	revocations, rows int
	maxStaleness      time.Duration
	fault, outage     time.Duration
	pause             time.Duration // between deactivations, during a fault
	only, engines     string
}

func (s scale) has(check string) bool { return s.only == "" || strings.Contains(s.only, check) }

var full = scale{
	revocations: 10_000, rows: 1_000_000, maxStaleness: time.Second,
	fault: 12 * time.Second, outage: 5 * time.Second, pause: 100 * time.Millisecond,
}

// run makes all checks, each with a fresh fleet, and returns what was wrong.
func (r *report) run(ctx context.Context, s scale) error {
	for _, of := range []struct {
		name  string
		start func(testing.TB) *engine
	}{{"postgres", newPostgres}, {"mysql", newMariaDB}, {"redis", newRedis}} {
		if !strings.Contains(s.engines, of.name) {
			continue
		}
		err := testserver.Run(ctx, func(t testing.TB) {
			e := of.start(t)
			r.engine(e)
			alone := func(check func(testing.TB)) {
				if err := testserver.Run(ctx, check); err != nil {
					t.Fatal(err)
				}
			}
			if s.has("revocations") {
				n := s.revocations
				if e.bare == nil { // each waits for a poll
					n /= 10
				}
				alone(func(t testing.TB) { r.revocations(e, measureRevocations(t, e, n, s.maxStaleness)) })
			}
			if s.has("feed") {
				r.faults(s)
				for _, x := range faultsOf(e) {
					alone(func(t testing.TB) { r.fault(x, underFault(t, e, x, s.maxStaleness, s.fault, s.pause)) })
				}
			}
			if s.has("store") {
				r.outages(s)
				for _, o := range outagesOf(t, e) {
					alone(func(t testing.TB) { r.outage(o, underOutage(t, e, o, s.maxStaleness, s.outage)) })
				}
			}
			if s.has("cold") && e.dsn != "" {
				alone(func(t testing.TB) { r.cold(startCold(t, e, s.rows)) })
			}
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(r.broken...)
}
