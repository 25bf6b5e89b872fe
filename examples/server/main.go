// Server is a small service whose API is protected by API tokens, from end to
// end: permissions and routes (routes.go), what the handlers do with a token
// (devices.go), generating tokens (demo.go), users who sign in (users.go), how both manage
// tokens (management.go), and metrics (metrics.go).
//
//	go run ./examples/server
//
// prints users, API tokens and curl lines to try. It keeps the tokens in
// apitoken.db and password hashes and keys in apitoken-demo.json, in the
// working directory. Any number of nodes share the tokens in a server:
//
//	go run ./examples/server -store postgres://user@host/database
//	go run ./examples/server -store redis://host:6379
//
// They share the users and the keys too if they have the same
// apitoken-demo.json, or the same DEMO_PASSWORD in their environment.
//
// Who operates it manages tokens at a terminal too (token.go):
//
//	go run ./examples/server token help
//
// With -demo 100000 there are as many tokens as in a large service (demo_large.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/apitoken-go/apitoken"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:]); err != nil {
		if code, said := errors.AsType[exitCode](err); said {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "server:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	flags, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if flags.demo > 0 {
		enlarge()
	}
	if flags.command != nil {
		return tokenCommand(ctx, flags.store, flags.command[1:])
	}
	front, err := newFront(flags.proxies, flags.origins)
	if err != nil {
		return err
	}
	// Listen first: when the port is taken, nothing has been made yet.
	listener, err := net.Listen("tcp", flags.addr)
	if err != nil {
		return err
	}
	defer listener.Close()

	kept, err := findSecrets()
	if err != nil {
		return err
	}
	// A signal that comes early has to wait, so that nothing is made by half.
	starting := context.WithoutCancel(ctx)
	store, err := openStore(starting, flags.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	first, err := isEmpty(starting, store)
	if err != nil {
		return err
	}
	if kept == nil {
		if kept, err = makeSecrets(first); err != nil {
			return err
		}
	}

	metrics := newMetrics()
	auth, err := newAuthority(store, kept, front.client, metrics.and(apitoken.LogEvents(slog.New(slog.NewTextHandler(os.Stderr, nil)))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, auth.Close()) }()
	for _, w := range warnings(store) {
		slog.Warn("the store has a warning", "warning", w)
	}

	url := "http://" + listener.Addr().String()
	if !served(listener.Addr(), flags.metrics) {
		metrics = nil
	}
	handler, err := newHandler(auth, newSignIn(kept.Passwords, front), metrics)
	if err != nil {
		return err
	}
	greeting := "listening on " + url + "\n" + kept.source + "\n"
	if first {
		tokens, err := generateDemoTokens(starting, auth)
		if err != nil {
			return err
		}
		if err := generateLargeDemo(ctx, store, kept, flags.demo); err != nil {
			return err
		}
		greeting += introduction(url, kept, tokens)
	} else {
		greeting += laterStart(url)
	}
	// One write, because scripts read the first line and close the pipe.
	if _, err := io.WriteString(os.Stdout, greeting); err != nil {
		return err
	}
	return serve(ctx, listener, handler)
}

func newAuthority(store database, kept *secrets, clientAddr func(*http.Request) (netip.Addr, error), observe func(context.Context, apitoken.Event)) (*apitoken.Authority, error) {
	keys, err := kept.keyring()
	if err != nil {
		return nil, err
	}
	auth, err := apitoken.New(apitoken.Config{
		Prefix:           "demo",
		Permissions:      &catalog,
		Store:            store,
		IntegrityKeys:    keys.rows,                                      // who can write the database, but has not these, cannot make a token
		EncryptionKeys:   keys.secrets,                                   // users can see the secrets of their tokens again
		ForeignTokens:    apitoken.ForeignTokens{MinLen: 32, MaxLen: 64}, // for "server token import"
		OwnerPermissions: ownerPermissions,
		ClientAddr:       clientAddr,
		Observe:          observe,
	})
	if err != nil {
		return nil, fmt.Errorf("%w (a database belongs to the %s or the DEMO_PASSWORD it was made with)", err, secretsFile())
	}
	return auth, nil
}

// A commandLine is what the flags say. command is "token" and what follows it, nil
// to serve.
type commandLine struct {
	addr, store, proxies, origins string
	demo                          int
	metrics                       bool
	command                       []string
}

func parseFlags(args []string) (c commandLine, err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "listen on `HOST:PORT`; port 0 is a free port")
	flags.StringVar(&c.store, "store", "sqlite:apitoken.db", "keep tokens in `STORE`: "+storeKinds)
	flags.IntVar(&c.demo, "demo", 0, "at the first start, make `N` tokens of 300 owners with 120 permissions, such as 100000; use the same flag at later starts and with token")
	flags.BoolVar(&c.metrics, "metrics", false, "serve /metrics to everyone; default: only on a loopback address")
	flags.StringVar(&c.proxies, "proxy", "", "trust the X-Forwarded-For and X-Forwarded-Proto of proxies in `NETWORKS`, separated by commas")
	flags.StringVar(&c.origins, "origin", "", "the public `ORIGINS` of this server, such as https://acme.example, if a proxy does not pass on the Host")
	flags.SetOutput(io.Discard) // main prints the error
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stdout)
		flags.Usage()
		fmt.Println("\nserver [-store STORE] token help  lists the commands for tokens")
	case err == nil && strings.Contains(flags.Arg(0), "://"):
		err = errors.New("unexpected argument, a URL (not shown, because it may contain a password); write -store before the URL of the store")
	case err == nil && flags.Arg(0) == "token":
		c.command = flags.Args()
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case err == nil && c.demo < 0:
		err = errors.New("-demo is negative; use 0 for no tokens")
	case err == nil && c.addr == "":
		err = errors.New("-addr is empty; use HOST:PORT, such as 127.0.0.1:8080")
	}
	return c, err
}

// shutdownTime is how long requests that are running may take to end.
const shutdownTime = 10 * time.Second

// serve answers requests until ctx is done and all running requests are
// answered.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := server.Shutdown(wait); err != nil {
		slog.Warn("requests were cut off", "after", shutdownTime)
		server.Close()
	}
	return nil
}
