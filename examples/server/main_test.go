package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asServer in the environment makes the test program the server. So the tests run it as its
// users do, and talk to it over HTTP, without linking the same code again.
const asServer = "APITOKEN_TEST_AS_SERVER=1"

func TestMain(m *testing.M) {
	if slices.Contains(os.Environ(), asServer) {
		main()
		return
	}
	os.Exit(m.Run())
}

// A node is a server that runs.
type node struct {
	t        *testing.T
	url      string
	greeting string // what it says at its start, without the first line
	password string // of ada
	reader   string // the demo tokens
	disabled string
	full     string

	cmd            *exec.Cmd
	said           io.Reader // stdout, as it comes
	ended          chan struct{}
	stdout, stderr bytes.Buffer // to be read after it has ended
}

// command returns a command that runs the server in a directory.
func command(dir string, env []string, args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "DEMO_PASSWORD=") || strings.HasPrefix(v, "APITOKEN_DEMO_FILE=")
	})
	cmd.Env = append(append(cmd.Env, asServer), env...)
	return cmd
}

var (
	firstLine = regexp.MustCompile(`^listening on (http://127\.0\.0\.1:[0-9]+)$`)
	tokenLine = regexp.MustCompile(`(?m)^  (demo_[0-9A-Za-z]{66})  of `)
	adaLine   = regexp.MustCompile(`(?m)^  ada    ([A-Z2-7]{26})  in demo: devices:read devices:write$`)
)

// start starts a server on a free port and waits until it listens. When the
// test ends it stops the server, which must succeed.
func start(t *testing.T, dir string, env []string, args ...string) *node {
	t.Helper()
	n := launch(t, dir, env, args...)
	n.await()
	return n
}

// launch is start without waiting.
func launch(t *testing.T, dir string, env []string, args ...string) *node {
	t.Helper()
	if !slices.Contains(args, "-addr") {
		args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	}
	n := &node{t: t, cmd: command(dir, env, args...), ended: make(chan struct{})}
	out, pipe := io.Pipe()
	n.said = out
	n.cmd.Stdout = io.MultiWriter(&n.stdout, pipe)
	n.cmd.Stderr = &n.stderr
	require.NoError(t, n.cmd.Start())
	go func() {
		n.cmd.Wait()
		pipe.Close()
		close(n.ended)
	}()
	t.Cleanup(n.stop)
	return n
}

// await waits until the server listens. It writes all that it says at once, so
// that everything is here when the first line is.
func (n *node) await() {
	n.t.Helper()
	text := make([]byte, 64<<10)
	k, _ := n.said.Read(text)
	go io.Copy(io.Discard, n.said)
	line, greeting, _ := strings.Cut(string(text[:k]), "\n")
	m := firstLine.FindStringSubmatch(line)
	if m == nil {
		n.cmd.Process.Kill()
		<-n.ended
		n.t.Fatalf("the first line is %q; stderr: %s", line, &n.stderr)
	}
	n.url, n.greeting = m[1], greeting
	if m := adaLine.FindStringSubmatch(greeting); m != nil {
		n.password = m[1]
	}
	if m := tokenLine.FindAllStringSubmatch(greeting, -1); len(m) == 3 {
		n.reader, n.disabled, n.full = m[0][1], m[1][1], m[2][1]
	}
}

// stop asks the server to end.
func (n *node) stop() {
	n.t.Helper()
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.wait()
}

// wait waits for the end of the server, which must be a good one.
func (n *node) wait() {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(2 * time.Minute):
		n.cmd.Process.Kill()
		n.t.Fatal("the server does not end")
	}
	assert.Equal(n.t, 0, n.cmd.ProcessState.ExitCode(), "stderr: %s", &n.stderr)
}

// output returns what the server has written; it ends it.
func (n *node) output() string {
	n.t.Helper()
	n.stop()
	return n.stdout.String()
}

// An answer is the response to a request, with its body.
type answer struct {
	*http.Response
	body string
}

// client neither follows redirects nor keeps cookies.
var client = &http.Client{
	Timeout:       2 * time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends a request. Headers are given as "Name: value".
func (n *node) do(method, target, body string, headers ...string) answer {
	n.t.Helper()
	req, err := http.NewRequest(method, n.url+target, strings.NewReader(body))
	require.NoError(n.t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return send(n.t, req)
}

func send(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp, string(body)}
}

// refuseToStart runs a server that has to end with code 1 and one line on
// stderr, which it returns.
func refuseToStart(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	if !slices.Contains(args, "-addr") {
		args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	}
	var stdout, stderr bytes.Buffer
	cmd := command(dir, env, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	cmd.Wait()
	assert.Equal(t, 1, cmd.ProcessState.ExitCode(), "stderr: %s", &stderr)
	assert.Empty(t, stdout.String())
	assert.Regexp(t, `^server: [^\n]+\n$`, stderr.String(), "one line")
	return stderr.String()
}

// files returns the names of the files in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	require.NoError(t, os.Chmod(path, mode)) // with every umask
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestWithoutFlagsItListensOnPort8080AndKeepsTokensInApitokenDB(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd := command(dir, nil)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(io.TeeReader(pipe, &stdout)).ReadString('\n')
	if errors.Is(err, io.EOF) { // somebody else has the port, which proves the address too
		cmd.Wait()
		assert.Contains(t, stderr.String(), "listen tcp 127.0.0.1:8080")
		assert.Empty(t, files(t, dir))
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "listening on http://127.0.0.1:8080\n", line)
	assert.Subset(t, files(t, dir), []string{"apitoken.db", "apitoken-demo.json"})
	cmd.Process.Signal(os.Interrupt)
	assert.NoError(t, cmd.Wait())
}

func TestHelpIsNoError(t *testing.T) {
	out, err := command(t.TempDir(), nil, "-help").Output()
	assert.NoError(t, err)
	assert.Contains(t, string(out), "-addr")
	assert.Contains(t, string(out), "sqlite:apitoken.db")
}

func TestLaterStartsShowNothingSecretAndTokensStillWork(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil)
	require.NotEmpty(t, first.full)
	require.NotEmpty(t, first.password)
	first.stop()

	second := start(t, dir, nil)
	assert.Equal(t, 200, second.do("GET", "/api/devices", "", "Authorization: apiToken "+first.reader).StatusCode)
	assert.Equal(t, 401, second.do("GET", "/api/devices", "", "Authorization: apiToken "+first.disabled).StatusCode)
	assert.Equal(t, 303, second.login("ada", first.password).StatusCode)
	said := second.output() + second.stderr.String()
	assert.NotContains(t, said, "demo_")
	assert.NotRegexp(t, `[A-Z2-7]{26}`, said)
	assert.Equal(t, 3, strings.Count(second.stdout.String(), "\n"))
}

func TestNothingSecretIsWrittenToStderr(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	n.do("GET", "/api/devices?apiToken="+n.disabled, "")
	n.do("GET", "/api/reports?apiToken="+n.reader, "")
	n.do("GET", "//api/devices?apiToken="+n.reader, "")
	n.login("ada", n.password+"x")
	n.stop()
	log := n.stderr.String()
	assert.Contains(t, log, "reason=deactivated")
	assert.Contains(t, log, "reason=missing_permission")
	for _, secret := range []string{"demo_", n.reader[22:], n.disabled[22:], n.full[22:], n.password} {
		assert.NotContains(t, log, secret)
	}
}

func TestAMemoryStoreStartsAnewEachTime(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil, "-store", "memory:")
	first.stop()
	second := start(t, dir, nil, "-store", "memory:")
	assert.Equal(t, 401, second.do("GET", "/api/devices", "", "Authorization: apiToken "+first.reader).StatusCode)
	assert.Equal(t, 200, second.do("GET", "/api/devices", "", "Authorization: apiToken "+second.reader).StatusCode)
	assert.Empty(t, second.password, "users keep their passwords, of which only hashes are stored")
	assert.Equal(t, 303, second.login("ada", first.password).StatusCode)
	assert.Equal(t, []string{"apitoken-demo.json"}, files(t, dir))
}

func TestANewDatabaseWithAnOldDemoFileGetsDemoTokens(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil)
	first.stop()
	second := start(t, dir, nil, "-store", "sqlite:other.db")
	assert.Empty(t, second.password)
	assert.Equal(t, 200, second.do("GET", "/api/whoami", "", "Authorization: apiToken "+second.full).StatusCode)
	assert.Equal(t, 303, second.login("ada", first.password).StatusCode)
}

func TestOnASignalRequestsThatRunAreAnswered(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		n := start(t, t.TempDir(), nil)
		body, more := io.Pipe()
		reads := make(chan struct{}) // the handler does: then net/http asks for the body
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { close(reads) }})
		req, err := http.NewRequestWithContext(ctx, "POST", n.url+"/api/devices", body)
		require.NoError(t, err)
		req.Header.Set("Authorization", "apiToken "+n.full)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Expect", "100-continue")
		answered := make(chan answer)
		go func() { answered <- send(t, req) }()
		io.WriteString(more, `{"name":`)
		select {
		case <-reads:
		case a := <-answered:
			t.Fatal("answered too soon: ", a.StatusCode)
		}

		require.NoError(t, n.cmd.Process.Signal(signal))
		assert.Eventually(t, func() bool {
			_, err := http.Get(n.url + "/healthz")
			return err != nil
		}, 2*time.Minute, 20*time.Millisecond, "no more requests are accepted")
		io.WriteString(more, `"Lamp"}`)
		more.Close()
		assert.Equal(t, 201, (<-answered).StatusCode)
		n.wait()
	}
}
