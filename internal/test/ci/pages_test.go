//go:build unix

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// The README and the pages for a start are followed word by word, as somebody
// does who has read nothing else. What their fenced blocks mean:
//
//	sh              commands, one a line; each has to succeed
//	sh serve        the same; the last command goes on until the next such block
//	text            what the block before wrote, to both outputs
//	go FILE         the content of FILE
//	go FILE +       lines to add to FILE, after its last line that begins alike
//
// Other blocks are not followed. "# → TEXT" behind a command says that its output
// contains TEXT. In an output, … is any text within a line, and alone on a line any
// number of lines; in a command, acme_… is the last token that was written.
func TestThePagesForAStartCanBeFollowed(t *testing.T) {
	compilesMuch(t)
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %[1]s (Debian: %[1]s)", program)
		}
	}
	t.Run("README.md", func(t *testing.T) {
		newReader(t).follow("README.md")
	})
	t.Run("getting-started.md, troubleshooting.md", func(t *testing.T) {
		r := newReader(t)
		r.follow("docs/getting-started.md")
		r.follow("docs/troubleshooting.md")
	})
}

// pageTimeout bounds one command; on a busy machine with an empty build cache,
// compiling SQLite takes minutes. It is less than the time that go test gives by
// default, so that a command that does not end is named.
const pageTimeout = 8 * time.Minute

// A reader follows pages in a directory of its own, and with a port of its own.
type reader struct {
	t       *testing.T
	tree    string // of the project
	state   string // directory with what a command leaves for the next: env, pwd
	env     []string
	address string // in place of 127.0.0.1:8080
	said    string // all outputs
	last    string // that of the commands before
	server  *server
	serving bool // the block before started it
}

func newReader(t *testing.T) *reader {
	tree, err := filepath.Abs("../../..")
	require.NoError(t, err)
	port, err := testserver.FreePort()
	require.NoError(t, err)
	r := &reader{t: t, tree: tree, state: t.TempDir(), address: fmt.Sprint("127.0.0.1:", port)}
	// The workspace and the flags of this run are not the reader's.
	r.env = append(os.Environ(), "GOWORK=", "GOFLAGS=", "CURL_HOME="+r.state)
	r.write(filepath.Join(r.state, ".curlrc"), "silent\nshow-error\nnoproxy = \"*\"\n")
	r.write(filepath.Join(r.state, "env"), "")
	r.write(filepath.Join(r.state, "pwd"), t.TempDir())
	t.Cleanup(r.stop)
	return r
}

var fence = regexp.MustCompile("(?ms)^```(\\S+)(.*?)\n(.*?)^```$")

func (r *reader) follow(page string) {
	content, err := os.ReadFile(filepath.Join(r.tree, page))
	require.NoError(r.t, err)
	text := strings.ReplaceAll(string(content), "127.0.0.1:8080", r.address)
	followed := 0
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		language, arguments, body := m[1], strings.Fields(m[2]), m[3]
		switch {
		case language == "sh" && len(arguments) == 0:
			r.commands(strings.Split(strings.TrimSpace(body), "\n"))
		case language == "sh" && arguments[0] == "serve":
			lines := strings.Split(strings.TrimSpace(body), "\n")
			r.stop()
			r.commands(lines[:len(lines)-1])
			r.serve(lines[len(lines)-1])
		case language == "text":
			r.expect(body)
		case language == "go" && len(arguments) == 1:
			r.write(r.path(arguments[0]), body)
		case language == "go" && len(arguments) == 2 && arguments[1] == "+":
			r.add(r.path(arguments[0]), body)
		case language == "go" && len(arguments) == 0:
			continue // a fragment, to look at
		default:
			r.t.Fatalf("%s: a block of an unknown kind: %s %s", page, language, arguments)
		}
		followed++
	}
	require.NotZero(r.t, followed, page)
}

// A command is a line of a page, with what it is to write.
var command = regexp.MustCompile(`^(.*?)(?:\s+# → (.*)|\s+# .*)?$`)

func (r *reader) split(line string) (do, contains string) {
	m := command.FindStringSubmatch(line)
	do = regexp.MustCompile(`\b([a-z]+_)…`).ReplaceAllStringFunc(m[1], func(s string) string {
		found := placeholder(s).FindAllString(r.said, -1)
		require.NotEmpty(r.t, found, "%s: no token was written", line)
		return found[len(found)-1]
	})
	switch {
	case strings.HasPrefix(do, "git clone "): // what is in the tree, committed or not
		do = "ln -s '" + r.tree + "' apitoken"
	case regexp.MustCompile(`^(GOWORK=off )?go run .*\./(examples/)?nethttp$`).MatchString(do):
		do += " -addr " + r.address
	}
	return do, m[2]
}

// placeholder matches a token in place of "acme_…".
func placeholder(s string) *regexp.Regexp {
	return regexp.MustCompile(strings.TrimSuffix(s, "…") + `[0-9A-Za-z]{66}`)
}

func (r *reader) commands(lines []string) {
	r.last, r.serving = "", false
	for _, line := range lines {
		do, contains := r.split(line)
		out := new(output)
		cmd := r.shell(do, out)
		require.NoError(r.t, cmd.Start())
		timer := time.AfterFunc(pageTimeout, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		err := cmd.Wait()
		timer.Stop()
		require.NoError(r.t, err, "%s, within %s\n%s", do, pageTimeout, out)
		if contains != "" {
			require.Regexp(r.t, pattern(contains), out.String(), do)
		}
		r.last += out.String()
		r.said += out.String()
	}
}

// shell prepares a command with the directory and the variables that those before
// it have left.
func (r *reader) shell(do string, out *output) *exec.Cmd {
	cmd := exec.Command("bash", "-c", `. "$0/env"; cd "$(cat "$0/pwd")" || exit; set -a
`+do+`
status=$?; pwd >"$0/pwd"; export -p >"$0/env"; exit $status`, r.state)
	cmd.Env, cmd.Stdout, cmd.Stderr = r.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for what Ctrl-C reaches
	return cmd
}

func (r *reader) path(file string) string {
	dir, err := os.ReadFile(filepath.Join(r.state, "pwd"))
	require.NoError(r.t, err)
	return filepath.Join(strings.TrimSpace(string(dir)), file)
}

func (r *reader) write(file, text string) {
	require.NoError(r.t, os.MkdirAll(filepath.Dir(file), 0o777))
	require.NoError(r.t, os.WriteFile(file, []byte(text), 0o666))
}

func (r *reader) add(file, text string) {
	before, err := os.ReadFile(file)
	require.NoError(r.t, err)
	begin, _, _ := strings.Cut(text, "(")
	at := strings.LastIndex(string(before), "\n"+begin+"(")
	require.Positive(r.t, at, "%s has no line like %s", file, text)
	line := at + 1 + strings.IndexByte(string(before[at+1:]), '\n') + 1
	r.write(file, string(before[:line])+text+string(before[line:]))
}

// A server is a command that goes on.
type server struct {
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
}

func (r *reader) serve(line string) {
	do, contains := r.split(line)
	s := &server{out: new(output), ended: make(chan struct{})}
	s.cmd = r.shell(do, s.out)
	require.NoError(r.t, s.cmd.Start())
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	r.server, r.serving = s, true
	r.await(do, func() bool {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			return false
		}
		c.Close()
		return pattern(contains).MatchString(s.out.String())
	})
	r.said += s.out.String()
}

// await waits until the server is as it should be.
func (r *reader) await(what string, ready func() bool) {
	for deadline := time.Now().Add(pageTimeout); !ready(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-r.server.ended:
			r.t.Fatalf("%s has ended: %s", what, r.server.out)
		default:
			require.True(r.t, time.Now().Before(deadline), "%s: %s", what, r.server.out)
		}
	}
}

// stop is Ctrl-C.
func (r *reader) stop() {
	if r.server == nil {
		return
	}
	syscall.Kill(-r.server.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-r.server.ended:
	case <-time.After(2 * time.Minute):
		syscall.Kill(-r.server.cmd.Process.Pid, syscall.SIGKILL)
		<-r.server.ended
		r.t.Error("the server does not end")
	}
	r.server, r.serving = nil, false
}

// expect compares what the block before wrote. A server may write more.
func (r *reader) expect(text string) {
	if r.serving {
		begins := outputPattern(text, "")
		r.await("the output "+text, func() bool { return begins.MatchString(r.server.out.String()) })
		r.said += r.server.out.String()
		return
	}
	require.Regexp(r.t, outputPattern(text, `\z`), r.last)
}

// pattern returns an expression for a text with "…" within a line.
func pattern(text string) *regexp.Regexp { return regexp.MustCompile(quote(text)) }

func quote(text string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(text), "…", `[^\n]*?`)
}

// outputPattern returns an expression for the lines of an output.
func outputPattern(text, end string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(text) {
		if line == "…\n" {
			b.WriteString(`(?:[^\n]*\n)*?`)
		} else {
			b.WriteString(quote(line))
		}
	}
	return regexp.MustCompile(b.String() + end)
}

// output collects what a command writes, and can be read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func TestPatternsOfPagesMatchWhatTheySay(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		match     bool
	}{
		{"a\n", "a\n", true},
		{"a\n", "b\na\n", false},
		{"…\na\n", "b\nc\na\n", true},
		{"…\na\n", "a\n", true},
		{"a_… b\n", "a_1 b\n", true},
		{"a_… b\n", "a_1\n b\n", false},
	} {
		require.Equal(t, tt.match, outputPattern(tt.want, `\z`).MatchString(tt.got), fmt.Sprint(tt))
	}
}
