//go:build unix

// Cluster shows how soon a token that one node has deactivated is refused by the
// others: three nodes on one PostgreSQL, or Redis, which it starts itself; a load
// of requests; and a histogram that grows as tokens are deactivated on one node
// or another.
//
//	go run ./examples/cluster
//
// Enter cuts the feed, by which nodes hear of each other's changes: the network
// under it goes dead without a word. What is left then is the lease, by which
// nothing in memory is used for longer than MaxStaleness. Enter again heals it.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/netfault"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// Settings are what the flags say.
type settings struct {
	seconds      int
	cut          time.Duration
	maxStaleness time.Duration
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	store := flags.String("store", "", "`postgres` or redis; default: the first one that is installed")
	flags.IntVar(&s.seconds, "seconds", 30, "`NUMBER` of seconds to run; 0: until Ctrl-C")
	flags.DurationVar(&s.cut, "cut", 0, "cut the feed after this `TIME`; 0: when you press Enter")
	flags.DurationVar(&s.maxStaleness, "max-staleness", time.Second, "Config.MaxStaleness of the nodes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var starts []func(testing.TB) server
	switch *store {
	case "postgres":
		starts = append(starts, startPostgres)
	case "redis":
		starts = append(starts, startRedis)
	case "":
		starts = append(starts, startPostgres, startRedis)
	default:
		return errors.New("-store must be postgres or redis")
	}
	var err error
	for _, start := range starts {
		err = testserver.Run(ctx, func(t testing.TB) { show(t, start(t), s, in, out) })
		if missing := testserver.Missing(""); !errors.As(err, &missing) {
			return err
		}
	}
	if len(starts) > 1 {
		return testserver.Missing("needs PostgreSQL or Redis (Debian: postgresql or redis-server)")
	}
	return err
}

// show runs three nodes and a load, and draws what comes of it.
func show(t testing.TB, server server, s settings, in io.Reader, out io.Writer) {
	feeds := &killSwitch{proxy: netfault.New(t, server.addr)}
	c := newCluster(t, server, feeds, s.maxStaleness)
	ctx, cancel := context.WithCancel(t.Context())
	if s.seconds > 0 {
		ctx, cancel = context.WithTimeout(t.Context(), time.Duration(s.seconds)*time.Second)
	}
	defer cancel()
	stopped := c.load(ctx)

	keys := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			keys <- struct{}{}
		}
	}()
	var cut <-chan time.Time
	if s.cut > 0 {
		cut = time.After(s.cut)
	}
	screen := newScreen(out)
	redraw := time.NewTicker(screen.interval())
	defer redraw.Stop()
	for {
		select {
		case <-keys:
			feeds.toggle()
		case <-cut:
			feeds.toggle()
		case <-redraw.C:
			screen.draw(c)
		case <-ctx.Done():
			<-stopped
			screen.last(c)
			if c.found.later() > 0 {
				t.Fatal("a token was accepted later than MaxStaleness after its deactivation")
			}
			return
		}
	}
}

// A killSwitch is the network under the feeds of all nodes.
type killSwitch struct {
	proxy *netfault.Proxy
	cut   atomic.Bool
}

func (k *killSwitch) toggle() {
	if k.cut.Load() {
		k.proxy.Heal()
		k.cut.Store(false)
	} else {
		k.cut.Store(true)
		k.proxy.Freeze()
	}
}

func (k *killSwitch) state() string {
	if k.cut.Load() {
		return "cut"
	}
	return "up"
}
