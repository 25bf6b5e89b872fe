//go:build unix

// Package testserver runs database servers for tests: private ones, on free
// ports of the loopback interface, that end with the test process. A test skips
// where the programs are missing, and says which package has them.
package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
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
	programs string // the folder of initdb, postgres, createdb and dropdb
	dir      string // its own, with the data folder and a log in it
	settings []string
	port     string
	identity *syscall.SysProcAttr
	cmd      *exec.Cmd // the postmaster
	reaper   reaper
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
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(s.dir)
	})
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
// the tests of a process share, and is dropped at the end of the test, whoever
// is still connected.
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

// Addr returns the address on which the server listens.
func (s *PostgresServer) Addr() string { return net.JoinHostPort("127.0.0.1", s.port) }

// PID returns the process ID of the postmaster.
func (s *PostgresServer) PID() int { return s.cmd.Process.Pid }

// Stop halts all processes of the server, which keep their connections.
func (s *PostgresServer) Stop() { s.signal(syscall.SIGSTOP) }

// Continue lets a halted server go on.
func (s *PostgresServer) Continue() { s.signal(syscall.SIGCONT) }

// Kill ends all processes of the server at once, as a crash does (kill -9), and
// returns when they are gone.
func (s *PostgresServer) Kill() {
	s.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no more
	children := s.children()
	s.signal(syscall.SIGKILL)
	s.cmd.Wait()
	s.reaper.dismiss() // before the process ID can be that of another
	for _, pid := range children {
		for state, _ := processState(pid); state != "" && state != "Z"; state, _ = processState(pid) {
			time.Sleep(time.Millisecond)
		}
	}
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

func (s *PostgresServer) signal(sig syscall.Signal) {
	s.cmd.Process.Signal(sig)
	for _, pid := range s.children() {
		syscall.Kill(pid, sig)
	}
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
	if s.reaper, err = startReaper("", s.dir); err != nil {
		return nil, err
	}
	out, err := s.run("initdb", "--pgdata="+s.data(), "--username=apitoken", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, nil
})

// postgresFolder returns a server that has an empty folder so far.
func postgresFolder() (s *PostgresServer, err error) {
	s = &PostgresServer{}
	if s.programs, err = postgresPrograms(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "apitoken-postgres"); err != nil {
		return nil, err
	}
	// It refuses to run as root.
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, errNoPostgres
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.identity = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newPostgres(settings []string) (_ *PostgresServer, err error) {
	first, err := initialized()
	if err != nil {
		return nil, err
	}
	s, err := postgresFolder()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.dir)
		}
	}()
	s.settings = settings
	cp := exec.Command("cp", "-R", first.data(), s.data())
	cp.SysProcAttr = s.identity
	if out, err := cp.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copying the data folder: %w\n%s", err, out)
	}
	for range 3 { // someone else may have got the port
		var port int
		if port, err = FreePort(); err == nil {
			s.port = strconv.Itoa(port)
			if err = s.start(); err == nil {
				return s, nil
			}
		}
	}
	return nil, err
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// command prepares one of the programs.
func (s *PostgresServer) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.identity
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	if s.port != "" {
		cmd.Env = append(cmd.Env, "PGHOST=127.0.0.1", "PGPORT="+s.port, "PGUSER=apitoken", "PGDATABASE=postgres")
	}
	return cmd
}

func (s *PostgresServer) run(program string, args ...string) ([]byte, error) {
	return s.command(program, args...).CombinedOutput()
}

// start starts the postmaster and waits until it takes connections.
func (s *PostgresServer) start() error {
	args := []string{"-D", s.data(), "-p", s.port, "-c", "max_connections=400", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "dynamic_shared_memory_type=mmap"} // in its folder, where it does not outlive a kill
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	logName := filepath.Join(s.dir, "log")
	logFile, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	s.cmd = s.command("postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if s.reaper, err = startReaper(strconv.Itoa(s.PID()), s.dir); err != nil {
		return err
	}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := s.run("pg_isready", "--quiet"); err == nil {
			return nil
		}
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(s.PID(), &status, syscall.WNOHANG, nil); pid == s.PID() {
			break // it has ended
		}
	}
	s.Kill()
	log, _ := os.ReadFile(logName)
	return fmt.Errorf("PostgreSQL does not start:\n%s", log)
}

// A reaper is a process that waits for the end of this one, also if it
// is killed, and then ends the server, if there is one, and removes its files. (A
// parent death signal would leave the files.)
type reaper struct{ stdin io.WriteCloser }

func startReaper(pid, dir string) (reaper, error) {
	const script = `read line && exit; kill -9 "$1"; while kill -0 "$1"; do sleep 0.1; done; sleep 1; rm -rf "$2"`
	cmd := exec.Command("sh", "-c", script, "sh", pid, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt of the tests is not for it
	stdin, err := cmd.StdinPipe()                        // which closes when this process ends
	if err != nil {
		return reaper{}, err
	}
	return reaper{stdin}, cmd.Start()
}

func (r reaper) dismiss() {
	if r.stdin != nil {
		io.WriteString(r.stdin, "\n")
		r.stdin.Close()
	}
}
