//go:build unix

package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A RedisServer is a private redis-server, or valkey-server, on a loopback port.
type RedisServer struct {
	program  string
	dir      string
	port     int
	settings []string

	process *os.Process
	ended   chan struct{} // closed when the process is gone
}

// Redis starts a Redis server with an empty data folder, which ends with the
// test. Settings are further arguments, such as "--requirepass", "x". What it
// acknowledges is on the disk (appendfsync always), unless they say otherwise.
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{program: redisProgram(t), dir: t.TempDir(), settings: settings}
	t.Cleanup(s.Kill)
	s.startOnFreePort(t)
	return s
}

// RedisCluster starts a cluster of n primaries without replicas.
func RedisCluster(t testing.TB, n int, settings ...string) []*RedisServer {
	t.Helper()
	var nodes []*RedisServer
	for range n {
		nodes = append(nodes, Redis(t, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "5000"}, settings...)...))
	}
	const slots = 16384
	for i, node := range nodes {
		for _, command := range [][]string{
			{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)},
			{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(slots * i / n), strconv.Itoa(slots*(i+1)/n - 1)},
			{"CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(nodes[0].port)},
		} {
			if i == 0 && command[1] == "MEET" {
				continue
			}
			if _, err := node.Do(command...); err != nil {
				t.Fatalf("forming a cluster: %s: %v", command[1], err)
			}
		}
	}
	for _, node := range nodes {
		node.await(t, "a cluster that is up", func() error {
			info, err := node.Do("CLUSTER", "INFO")
			switch {
			case err != nil:
				return err
			case !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_size:%d\r\n", n)):
				return errors.New(info)
			}
			return nil
		})
	}
	return nodes
}

func redisProgram(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"valkey-server", "redis-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("needs Redis (Debian: redis-server)")
	return ""
}

// startOnFreePort starts the server for the first time. Between finding a port
// and listening on it someone else may take it, so it tries again.
func (s *RedisServer) startOnFreePort(t testing.TB) {
	t.Helper()
	var err error
	for range 5 {
		if s.port, err = redisPort(); err != nil {
			continue
		}
		if err = s.start(); err == nil {
			return
		}
	}
	t.Fatalf("starting %s: %v", s.program, err)
}

// redisPort returns a free port. The one that a node of a cluster talks to other
// nodes by lies 10,000 higher, and is free too.
func redisPort() (int, error) {
	const bus = 10_000
	for {
		port, err := FreePort()
		if err != nil || isFree(port+bus) {
			return port, err
		}
	}
}

// start starts the process and waits until it answers.
func (s *RedisServer) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.program, append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always",
	}, s.settings...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = redisProcess()

	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel ends the server when the thread that started it does.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.ended = cmd.Process, ended
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			return fmt.Errorf("it ended at once: %s", strings.Join(lines[max(0, len(lines)-2):], "\n"))
		default:
		}
		if _, err = s.Do("PING"); err == nil || strings.HasPrefix(err.Error(), "NOAUTH") {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("it does not answer: %w", err)
}

// Addr returns the address of the server, such as "127.0.0.1:34567".
func (s *RedisServer) Addr() string { return fmt.Sprint("127.0.0.1:", s.port) }

// PID returns the process ID of the server.
func (s *RedisServer) PID() int { return s.process.Pid }

// Stop makes the server stand still; its connections stay open.
func (s *RedisServer) Stop() { s.process.Signal(syscall.SIGSTOP) }

// Continue undoes Stop.
func (s *RedisServer) Continue() { s.process.Signal(syscall.SIGCONT) }

// Kill ends the server at once, as a crash would, and waits until it is gone.
func (s *RedisServer) Kill() {
	if s.process != nil {
		s.process.Kill()
		<-s.ended
	}
}

// Restart kills the server if it runs, and starts it on the same port and data.
func (s *RedisServer) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		t.Fatalf("starting %s again: %v", s.program, err)
	}
}

// Do sends a command, like redis-cli, and returns the reply as text: the
// elements of an array one a line, "" for nil. An error of the server is one.
func (s *RedisServer) Do(args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr(), 30*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	command := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		command = fmt.Appendf(command, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := conn.Write(command); err != nil {
		return "", err
	}
	return readRedis(bufio.NewReader(conn))
}

// readRedis reads a reply of the protocol RESP2.
func readRedis(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, text := line[0], strings.TrimRight(line[1:], "\r\n")
	n, _ := strconv.Atoi(text)
	switch kind {
	case '+', ':':
		return text, nil
	case '-':
		return "", errors.New(text)
	case '$':
		if n < 0 {
			return "", nil
		}
		bulk := make([]byte, n+len("\r\n"))
		_, err := io.ReadFull(r, bulk)
		return string(bulk[:n]), err
	case '*':
		var elements []string
		for range n {
			e, err := readRedis(r)
			if err != nil {
				return "", err
			}
			elements = append(elements, e)
		}
		return strings.Join(elements, "\n"), nil
	}
	return "", fmt.Errorf("not a reply: %q", line)
}

// await polls until ready returns nil.
func (s *RedisServer) await(t testing.TB, what string, ready func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ready(); err == nil {
			return
		}
	}
	t.Fatalf("waiting for %s: %v", what, err)
}
