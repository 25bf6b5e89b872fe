//go:build unix

// Package testserver runs database servers for tests: private ones, on free
// ports of the loopback interface, that end with the test process. A test skips
// where the programs are missing, and says which package has them.
package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A PostgresServer is a PostgreSQL of a test. It lets everybody in who can reach
// the port, as the superuser "apitoken".
type PostgresServer struct {
	daemon
	programs string // the folder of initdb, postgres, createdb and dropdb
}

// Postgres starts a server, which is stopped and removed at the end of the test.
// The settings are of the form "name=value". None is made for speed: what is
// acknowledged is on the disk, if that is where TMPDIR leads.
func Postgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	s, err := newPostgres(settings)
	if errors.Is(err, errNoPostgres) {
		t.Skip("needs PostgreSQL (Debian: postgresql)")
	}
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t, s.Kill)
	return s
}

// sharedPostgres is started once per test process.
var sharedPostgres = sync.OnceValues(func() (*PostgresServer, error) { return newPostgres(nil) })

var postgresDatabases struct {
	sync.Mutex
	n int
}

// PostgresDatabase returns the URL of a fresh database, in which texts have the
// order of a human language where the server can do that. It is on a server that
// the tests of a process share, and is dropped at the end of the test, also if
// somebody is still connected.
func PostgresDatabase(t testing.TB) string {
	t.Helper()
	s, err := sharedPostgres()
	if errors.Is(err, errNoPostgres) {
		t.Skip("needs PostgreSQL (Debian: postgresql)")
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Database(t)
}

// PostgresDump returns what pg_dump says of a database. The test skips where that is
// missing.
func PostgresDump(t testing.TB, url string) []byte {
	t.Helper()
	dir, err := postgresPrograms()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, "pg_dump"), "--dbname="+url)
	cmd.Stderr = &stderr
	dump, err := cmd.Output()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs pg_dump (Debian: postgresql-client)")
	}
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, &stderr)
	}
	return dump
}

// Database makes a database, which is dropped at the end of the test, and
// returns its URL.
func (s *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	postgresDatabases.Lock()
	postgresDatabases.n++
	name := fmt.Sprint("test", postgresDatabases.n)
	postgresDatabases.Unlock()
	out, err := s.run("createdb", "--template=template0", "--locale-provider=icu", "--icu-locale=en", name)
	if err != nil { // older than 15, or built without ICU
		out, err = s.run("createdb", name)
	}
	if err != nil {
		t.Fatalf("createdb: %v\n%s", err, out)
	}
	t.Cleanup(func() { s.run("dropdb", "--force", "--if-exists", name) })
	return s.URL(name)
}

// URL returns the URL of a database of the server; "postgres" is always there.
func (s *PostgresServer) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("apitoken"), Host: s.Addr(), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop halts all processes of the server, which keep their connections.
func (s *PostgresServer) Stop() { s.halt(syscall.SIGSTOP) }

// Continue lets a halted server go on.
func (s *PostgresServer) Continue() {
	for _, pid := range s.children() {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	s.cmd.Process.Signal(syscall.SIGCONT)
}

// Kill ends all processes of the server at once, as a crash does (kill -9), and
// returns when they are gone. The postmaster is the last: without it the others
// are nobody's children, and one of them can wait forever for what another held.
func (s *PostgresServer) Kill() {
	for _, pid := range s.halt(syscall.SIGKILL) {
		for state, _ := processState(pid); state != "" && state != "Z"; state, _ = processState(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.reaper.dismiss() // before the process ID can be that of another
}

// halt halts the postmaster, so that it starts no more, and sends a signal to all
// that it has started, which it returns. Until it goes on, none of their process
// IDs can be that of another.
func (s *PostgresServer) halt(sig syscall.Signal) []int {
	if s.cmd.Process.Signal(syscall.SIGSTOP) != nil { // it has ended
		return nil
	}
	for state, _ := processState(s.PID()); state != "" && state != "Z" && state != "T"; state, _ = processState(s.PID()) {
		time.Sleep(time.Millisecond)
	}
	children := s.children()
	for _, pid := range children {
		syscall.Kill(pid, sig)
	}
	return children
}

// Restart starts a server that was killed, on the same port and data. It
// returns when the server takes connections.
func (s *PostgresServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// RestartAsReplica is Restart, but the server is then one that waits for a
// primary to tell it what is new: it can be read, until it is promoted.
func (s *PostgresServer) RestartAsReplica(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.data(), "standby.signal"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if s.identity != nil { // which deletes the file when it is promoted
		c := s.identity.Credential
		if err := os.Chown(filepath.Join(s.data(), "standby.signal"), int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart(t)
}

// children returns the process IDs of all that the postmaster has started. They
// are no process group. Where there is no /proc it finds none; they end
// themselves when they find the postmaster gone.
func (s *PostgresServer) children() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if _, parent := processState(pid); parent == s.PID() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processState returns the letter of the state of a process ("Z": it has ended,
// but its parent has not asked how), "" if there is none, and its parent.
func processState(pid int) (state string, parent int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// "pid (name) state ppid ..."; the name can be anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

var errNoPostgres = errors.New("PostgreSQL is not installed")

// postgresPrograms returns the folder with the programs of the newest PostgreSQL.
func postgresPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // the others are beside the file
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // where Debian has them
	newest, dir := 0, ""
	for _, path := range found {
		bin := filepath.Dir(path)
		if v, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin))); v >= newest {
			newest, dir = v, bin
		}
	}
	if dir == "" {
		return "", errNoPostgres
	}
	return dir, nil
}

// initialized has the data folder that all servers of a test process begin with a
// copy of: initdb takes a second of a processor.
var initialized = sync.OnceValues(func() (s *PostgresServer, err error) {
	if s, err = postgresFolder(); err != nil {
		return nil, err
	}
	return s, s.init(s.program("initdb", "--pgdata="+s.data(), "--username=apitoken", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"))
})

// postgresFolder returns a server that has an empty folder so far.
func postgresFolder() (*PostgresServer, error) {
	programs, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	d, err := newDaemon("PostgreSQL", "postgres", errNoPostgres)
	return &PostgresServer{d, programs}, err
}

func newPostgres(settings []string) (*PostgresServer, error) {
	first, err := initialized()
	if err != nil {
		return nil, err
	}
	s, err := postgresFolder()
	if err != nil {
		return nil, err
	}
	s.settings = settings
	return s, s.begin(&first.daemon, s.start)
}

// program prepares one of the programs.
func (s *PostgresServer) program(name string, args ...string) *exec.Cmd {
	cmd := s.command(filepath.Join(s.programs, name), args...)
	if s.port != "" {
		cmd.Env = append(cmd.Env, "PGHOST=127.0.0.1", "PGPORT="+s.port, "PGUSER=apitoken", "PGDATABASE=postgres")
	}
	return cmd
}

func (s *PostgresServer) run(program string, args ...string) ([]byte, error) {
	return s.program(program, args...).CombinedOutput()
}

// start starts the postmaster and waits until it takes connections.
func (s *PostgresServer) start() error {
	args := []string{"-D", s.data(), "-p", s.port, "-c", "max_connections=400", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "dynamic_shared_memory_type=mmap"} // in its folder, where it does not outlive a kill
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	return s.launch(s.program("postgres", args...), func() error {
		if err := s.accepts(); err != nil {
			return err
		}
		_, err := s.run("pg_isready", "--quiet")
		return err
	}, s.Kill)
}
