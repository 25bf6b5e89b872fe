//go:build unix

// Command endtoend measures what authentication costs a server of net/http on
// this machine, driven by wrk over loopback. It prints lines as Go benchmarks do:
//
//	BenchmarkEndToEnd/why=accept/impl=floor 51234 19519 ns/op 51230 req/s 812.0 p99-us 14210 cpu-ns/op
//
// ns/op is the time in which the server answers one request, cpu-ns/op the time
// that its process takes on the processors for it. The servers all run from the
// beginning to the end; in each round each is driven for a while, in another order,
// and the bare one twice (impl=bare and impl=again), which shows how much two
// measurements of the same differ.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/apitoken-go/apitoken/benchmarks"
)

//go:embed drive.lua
var script []byte

var (
	rounds      = flag.Int("rounds", 10, "how often each server is driven")
	seconds     = flag.Int("seconds", 2, "how long each time")
	connections = flag.Int("connections", 16, "how many connections there are")
	tokens      = flag.Int("tokens", benchmarks.Stored, "how many tokens are stored")
	serve       = flag.String("serve", "", "be the server with this implementation")
	only        = flag.String("only", "", "measure only contests whose name matches this regular expression")
	headers     = flag.String("headers", "", "the directory where the server leaves the values of Authorization")
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("endtoend: ")
	flag.Parse()
	run := measure
	if *serve != "" {
		run = server
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// server serves until its standard input ends. For each line of that it prints
// how much processor time its process has taken, in nanoseconds.
func server() error {
	impl, ok := benchmarks.ByName(*serve)
	if !ok {
		return fmt.Errorf("there is no %q", *serve)
	}
	s, err := impl.New(benchmarks.NewWork(*tokens), benchmarks.Accepted)
	if err != nil {
		return err
	}
	s.Warm()
	for _, c := range contests {
		if c.impl != impl.Name {
			continue
		}
		if err := os.WriteFile(filepath.Join(*headers, c.file()), []byte(strings.Join(c.values(s), "\n")), 0o600); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /allowed", s.Handlers[benchmarks.Allowed])
	mux.Handle("GET /forbidden", s.Handlers[benchmarks.Forbidden])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { log.Fatal(http.Serve(l, mux)) }()
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
	return nil
}

// A contest is one line that is measured.
type contest struct {
	impl, why string
	again     bool // the same as another
}

// contests are all of them. "accept" is the request with a valid token.
var contests = []contest{
	{"bare", "accept", false}, {"bare", "accept", true}, {"floor", "accept", false}, {"typical", "accept", false}, {"apitoken", "accept", false},
	{"floor", "none", false}, {"apitoken", "none", false},
	{"floor", "unknown", false}, {"apitoken", "unknown", false},
	{"floor", "permission", false}, {"apitoken", "permission", false},
}

func (c contest) file() string { return c.impl + "." + c.why }

func (c contest) name() string {
	impl := c.impl
	if c.again {
		impl = "again"
	}
	return "BenchmarkEndToEnd/why=" + c.why + "/impl=" + impl
}

func (c contest) values(s *benchmarks.Server) []string {
	for _, r := range benchmarks.Refusals {
		if r.Name == c.why {
			return r.Values(s)
		}
	}
	return s.Rotation(s.Tokens)
}

func (c contest) path() string {
	if c.why == "permission" {
		return "/forbidden"
	}
	return "/allowed"
}

// A child is a server in a process of its own.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	addr string
}

func start(impl, dir string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, "-serve", impl, "-headers", dir, "-tokens", fmt.Sprint(*tokens))}
	// One core for the server and the others for who drives it.
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	if !c.out.Scan() {
		c.cmd.Wait()
		return nil, fmt.Errorf("the server of %s did not start", impl)
	}
	c.addr = c.out.Text()
	return c, nil
}

func (c *child) stop() error {
	c.in.Close()
	return c.cmd.Wait()
}

// cpu returns the processor time that the server has taken so far.
func (c *child) cpu() (n int64, err error) {
	if _, err := fmt.Fprintln(c.in); err != nil {
		return 0, err
	}
	if !c.out.Scan() {
		return 0, io.ErrUnexpectedEOF
	}
	_, err = fmt.Sscan(c.out.Text(), &n)
	return n, err
}

func measure() error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("needs wrk (Debian: wrk): %w", err)
	}
	dir, err := os.MkdirTemp("", "endtoend")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lua := filepath.Join(dir, "drive.lua")
	if err := os.WriteFile(lua, script, 0o600); err != nil {
		return err
	}
	named, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	contests := slices.DeleteFunc(slices.Clone(contests), func(c contest) bool { return !named.MatchString(c.name()) })
	servers := make(map[string]*child)
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, c := range contests {
		if servers[c.impl] == nil {
			if servers[c.impl], err = start(c.impl, dir); err != nil {
				return err
			}
		}
	}
	for round := range *rounds {
		fmt.Printf("# round %d\n", round+1)
		for k := range contests {
			c := contests[(k+round*3)%len(contests)]
			if err := drive(c, servers[c.impl], dir, lua); err != nil {
				return fmt.Errorf("%s: %w", c.name(), err)
			}
		}
	}
	return nil
}

// drive drives a server for a while, and prints what came of it.
func drive(c contest, s *child, dir, lua string) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	cmd := exec.Command("wrk", "-t1", fmt.Sprintf("-c%d", *connections), "-d", fmt.Sprintf("%ds", *seconds),
		"-s", lua, "http://"+s.addr+c.path(), "--", filepath.Join(dir, c.file()))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	_, line, ok := bytes.Cut(out, []byte("RESULT "))
	var requests, micros, failed, refused int64
	var p99 float64
	if _, err := fmt.Sscan(string(line), &requests, &micros, &failed, &refused, &p99); err != nil || !ok {
		return fmt.Errorf("wrk printed %q", out)
	}
	want := requests
	if c.why == "accept" {
		want = 0
	}
	// What is under way when wrk ends may be counted on one side only.
	if failed > 0 || requests == 0 || max(refused-want, want-refused) > int64(*connections) {
		return fmt.Errorf("of %d requests %d failed and %d were refused, for %d", requests, failed, refused, want)
	}
	fmt.Printf("%s\t%d\t%.0f ns/op\t%.0f req/s\t%.0f p99-us\t%.0f cpu-ns/op\n", c.name(), requests,
		float64(micros)*1000/float64(requests), float64(requests)*1e6/float64(micros), p99, float64(after-before)/float64(requests))
	return nil
}
