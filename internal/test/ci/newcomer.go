package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// newcomer does what the README says, word by word, as somebody who has read
// nothing else: in an empty directory, with modules as they will be released. It
// ends with the first requests that were accepted and refused.
var newcomer = stage{"newcomer", func(w *workspace, r *results) {
	for _, program := range []string{"git", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			r.skip("newcomer", "needs "+program+" (Debian: "+program+")")
			return
		}
	}
	r.step("following README.md", func() error { return w.follow(r.out) })
}}

func (w *workspace) follow(out io.Writer) error {
	dir, err := os.MkdirTemp("", "apitoken-newcomer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, err := openTree(w)
	if err != nil {
		return err
	}
	proxy := filepath.Join(dir, "proxy")
	if err := t.writeProxy(proxy); err != nil {
		return err
	}
	n := &reader{dir: filepath.Join(dir, "devices"), out: out}
	if n.env, err = environment(dir, proxy, t.root.Path); err != nil {
		return err
	}
	readme, err := os.ReadFile(filepath.Join(w.root.Dir, "README.md"))
	if err != nil {
		return err
	}
	if err := n.read(string(readme)); err != nil {
		return fmt.Errorf("README.md: %w", err)
	}
	start := time.Now()
	if err := n.try(start); err != nil {
		return err
	}
	fmt.Fprintf(out, "from the empty directory to the first answer 200: %.1f s\n", n.first.Sub(start).Seconds())
	return n.resolve(t)
}

// environment is that of a user of the released modules. They come from our
// proxy, others from what this machine has downloaded already and then from
// wherever it gets modules. The module cache is empty, as an earlier run has left
// other modules of the same version there; with COLD=1 so is the build cache.
func environment(dir, proxy, root string) ([]string, error) {
	out, err := exec.Command("go", "env", "GOPROXY", "GOMODCACHE").Output()
	if err != nil {
		return nil, withStderr(err)
	}
	before := strings.Fields(string(out))
	url := func(path string) string { return "file://" + filepath.ToSlash(path) }
	env := append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GONOSUMDB="+root+","+root+"/*",
		"GOMODCACHE="+filepath.Join(dir, "modules"),
		"GOPROXY="+strings.Join([]string{url(proxy), url(filepath.Join(before[1], "cache", "download")), before[0]}, ","))
	if os.Getenv("COLD") == "1" {
		env = append(env, "GOCACHE="+filepath.Join(dir, "build"))
	}
	return env, nil
}

// A reader is somebody who follows the README.
type reader struct {
	dir string
	env []string
	out io.Writer

	commands []string // "go ...", before the program runs
	program  string
	requests []request
	first    time.Time // when a request was accepted
}

// A request is a line to paste, and the status that the README promises.
type request struct{ line, status string }

var (
	block    = regexp.MustCompile("(?ms)^```(go|sh)\n(.*?)^```")
	promised = regexp.MustCompile(`^(curl .*?)\s+# (\d{3})\b`)
)

// read takes from the README what it tells to do: the commands that make a
// module, the program, and the requests.
func (n *reader) read(readme string) error {
	for _, m := range block.FindAllStringSubmatch(readme, -1) {
		if m[1] == "go" {
			if n.program == "" && strings.HasPrefix(m[2], "package main\n") {
				n.program = m[2]
			}
			continue
		}
		for line := range strings.Lines(m[2]) {
			line = strings.TrimSpace(line)
			if c := promised.FindStringSubmatch(line); c != nil {
				n.requests = append(n.requests, request{c[1], c[2]})
			}
			if command, _, _ := strings.Cut(line, " #"); strings.HasPrefix(command, "go mod ") {
				n.commands = append(n.commands, strings.TrimSpace(command))
			}
		}
	}
	switch {
	case n.program == "":
		return errors.New("there is no whole program")
	case len(n.commands) < 2:
		return errors.New("it does not say how to make a module: go mod init, go mod tidy")
	}
	statuses := make(map[string]bool)
	for _, q := range n.requests {
		statuses[q.status] = true
	}
	if !statuses["200"] || !statuses["403"] {
		return errors.New("it promises no answer 200, or none 403")
	}
	return nil
}

const readmeAddress = "127.0.0.1:8080"

func (n *reader) try(start time.Time) error {
	address := readmeAddress
	if l, err := net.Listen("tcp", address); err == nil {
		l.Close()
	} else { // somebody has that port
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		address = l.Addr().String()
		l.Close()
		fmt.Fprintln(n.out, "port 8080 is taken: another one here")
	}
	if err := os.Mkdir(n.dir, 0o777); err != nil {
		return err
	}
	program := strings.ReplaceAll(n.program, readmeAddress, address)
	if err := os.WriteFile(filepath.Join(n.dir, "main.go"), []byte(program), 0o666); err != nil {
		return err
	}
	// "go run" in two steps: so it is our own child that has to be ended.
	for _, line := range append(n.commands, "go build -o devices.exe .") {
		words := strings.Fields(line)
		if _, err := n.command(words[0], words[1:]...); err != nil {
			return err
		}
		fmt.Fprintf(n.out, "%6.1f s  %s\n", time.Since(start).Seconds(), line)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, filepath.Join(n.dir, "devices.exe"))
	server.Dir, server.Env, server.Stderr = n.dir, n.env, n.out
	said, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Wait()
	defer server.Process.Kill()
	token, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the program prints no token: %w", err)
	}
	for !listens(address) {
		if ctx.Err() != nil {
			return errors.New("the program does not listen")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, q := range n.requests {
		line := strings.ReplaceAll(q.line, readmeAddress, address)
		status, err := n.curl(line, strings.TrimSpace(token))
		if err != nil {
			return err
		}
		fmt.Fprintf(n.out, "%6.1f s  %s  %s\n", time.Since(start).Seconds(), status, line)
		if status != q.status {
			return fmt.Errorf("the answer is %s, not %s: %s", status, q.status, q.line)
		}
		if status == "200" && n.first.IsZero() {
			n.first = time.Now()
		}
	}
	return nil
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// curl runs a line as it is pasted into a shell, and returns the status.
func (n *reader) curl(line, token string) (string, error) {
	// What curl is to write beside that is in its configuration.
	config := "silent\noutput = /dev/null\nwrite-out = \"%{http_code}\"\nnoproxy = \"*\"\n"
	if err := os.WriteFile(filepath.Join(n.dir, ".curlrc"), []byte(config), 0o666); err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(os.Environ(), "TOKEN="+token, "CURL_HOME="+n.dir)
	status, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", line, withStderr(err))
	}
	return string(status), nil
}

func (n *reader) command(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = n.dir, n.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// resolve finds everything that the other modules import by what is released,
// without their replace directives, which users do not see.
func (n *reader) resolve(t *tree) error {
	for _, module := range t.released() {
		if _, err := n.command("go", "get", t.modulePath(module)+"/...@"+version); err != nil {
			return err
		}
		out, err := n.command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}} {{.Replace}}{{end}}", t.modulePath(module)+"/...")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			words := strings.Fields(line)
			if len(words) == 3 && (words[0] == t.root.Path || strings.HasPrefix(words[0], t.root.Path+"/")) && (words[1] != version || words[2] != "<nil>") {
				return fmt.Errorf("%s takes %s", t.modulePath(module), strings.TrimSpace(line))
			}
		}
	}
	fmt.Fprintf(n.out, "all %d modules at %s resolve: %s\n", len(t.released()), version, strings.Join(t.released(), " "))
	return nil
}
