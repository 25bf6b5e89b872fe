//go:build unix

package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A MariaDBServer is a MariaDB of a test. It lets everybody in who can reach the port, as the superuser "apitoken".
type MariaDBServer struct{ daemon }

// MariaDB starts a server, which is stopped and removed at the end of the test. The settings are of the form
// "name=value". What is acknowledged is on the disk, if that is where TMPDIR leads.
func MariaDB(t testing.TB, settings ...string) *MariaDBServer {
	t.Helper()
	s, err := newMariaDB(settings)
	if errors.Is(err, errNoMariaDB) {
		t.Skip("needs MariaDB (Debian: mariadb-server)")
	}
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t, s.Kill)
	return s
}

// sharedMariaDB is started once per test process.
var sharedMariaDB = sync.OnceValues(func() (*MariaDBServer, error) { return newMariaDB(nil) })

// SharedMariaDB returns a server that the tests of a process share.
func SharedMariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	s, err := sharedMariaDB()
	if errors.Is(err, errNoMariaDB) {
		t.Skip("needs MariaDB (Debian: mariadb-server)")
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// MariaDBDatabase returns the DSN of a fresh database of SharedMariaDB, in which texts are compared as in a human language. It is
// dropped at the end of the test.
func MariaDBDatabase(t testing.TB) string {
	t.Helper()
	return SharedMariaDB(t).Database(t)
}

var mariaDBDatabases struct {
	sync.Mutex
	n int
}

// Database makes a database, which is dropped at the end of the test, and returns its DSN.
func (s *MariaDBServer) Database(t testing.TB) string {
	t.Helper()
	mariaDBDatabases.Lock()
	mariaDBDatabases.n++
	name := fmt.Sprint("test", mariaDBDatabases.n)
	mariaDBDatabases.Unlock()
	if out, err := s.Do("CREATE DATABASE " + name + " CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { s.Do("DROP DATABASE IF EXISTS " + name) })
	return s.DSN(name)
}

// DSN returns that of a database of the server.
func (s *MariaDBServer) DSN(database string) string {
	return "apitoken@tcp(" + s.Addr() + ")/" + database
}

// Do runs statements with the client of the server, as a superuser.
func (s *MariaDBServer) Do(statements string) (string, error) {
	cmd := exec.Command("mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+s.port, "--user=apitoken", "--batch", "--skip-column-names")
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Dump returns what mariadb-dump says of a database.
func (s *MariaDBServer) Dump(database string) (string, error) {
	out, err := exec.Command("mariadb-dump", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+s.port, "--user=apitoken", database).CombinedOutput()
	return string(out), err
}

// Replay has the server do again what stands in one of its binary logs.
func (s *MariaDBServer) Replay(name string) (string, error) {
	out, err := exec.Command("mariadb-binlog", "--no-defaults", filepath.Join(s.data(), name)).Output()
	if err != nil {
		return string(out), err
	}
	return s.Do(string(out))
}

// Snapshot copies the data folder, and returns what starts the server on the copy.
func (s *MariaDBServer) Snapshot(t testing.TB) (back func()) {
	t.Helper()
	s.Kill()
	copied := filepath.Join(s.dir, "copy")
	if out, err := s.command("cp", "-R", s.data(), copied).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.Restart(t)
	return func() {
		s.Kill()
		os.RemoveAll(s.data())
		if err := os.Rename(copied, s.data()); err != nil {
			t.Fatal(err)
		}
		s.Restart(t)
	}
}

// Stop halts the server, which keeps its connections.
func (s *MariaDBServer) Stop() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets a halted server go on.
func (s *MariaDBServer) Continue() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the server at once, as a crash does (kill -9), and returns when it is gone.
func (s *MariaDBServer) Kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.reaper.dismiss() // before the process ID can be that of another
}

// Restart starts a server that was killed, on the same port and data. It returns when the server takes connections.
func (s *MariaDBServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

var errNoMariaDB = errors.New("MariaDB is not installed")

// mariaDBPrograms returns the paths of a program that makes data folders, and of the server.
func mariaDBPrograms() (install, server string, err error) {
	if install, err = exec.LookPath("mariadb-install-db"); err != nil {
		return "", "", errNoMariaDB
	}
	if server, err = exec.LookPath("mariadbd"); err != nil {
		server = "/usr/sbin/mariadbd" // where Debian has it
	}
	if _, err := os.Stat(server); err != nil {
		return "", "", errNoMariaDB
	}
	return install, server, nil
}

// installedMariaDB has the data folder that all servers of a test process begin with a copy of.
var installedMariaDB = sync.OnceValues(func() (s *MariaDBServer, err error) {
	install, _, err := mariaDBPrograms()
	if err != nil {
		return nil, err
	}
	if s, err = mariaDBFolder(); err != nil {
		return nil, err
	}
	users := filepath.Join(s.dir, "users.sql")
	if err := os.WriteFile(users, []byte("FLUSH PRIVILEGES;\nCREATE USER apitoken@'%';\nGRANT ALL ON *.* TO apitoken@'%' WITH GRANT OPTION;\n"), 0o644); err != nil {
		return nil, err
	}
	return s, s.init(s.command(install, "--no-defaults", "--datadir="+s.data(), "--tmpdir="+s.dir, "--skip-test-db", "--auth-root-authentication-method=normal",
		"--innodb-log-file-size=8M", "--extra-file="+users))
})

// mariaDBFolder returns a server that has an empty folder so far.
func mariaDBFolder() (*MariaDBServer, error) {
	d, err := newDaemon("MariaDB", "mysql", errNoMariaDB)
	return &MariaDBServer{d}, err
}

func newMariaDB(settings []string) (*MariaDBServer, error) {
	first, err := installedMariaDB()
	if err != nil {
		return nil, err
	}
	s, err := mariaDBFolder()
	if err != nil {
		return nil, err
	}
	s.settings = settings
	return s, s.begin(&first.daemon, s.start)
}

// start starts the server and waits until it takes connections.
func (s *MariaDBServer) start() error {
	_, program, err := mariaDBPrograms()
	if err != nil {
		return err
	}
	args := []string{"--no-defaults", "--datadir=" + s.data(), "--port=" + s.port, "--bind-address=127.0.0.1", "--socket=" + filepath.Join(s.dir, "socket"),
		"--pid-file=" + filepath.Join(s.dir, "pid"), "--max-connections=400", "--performance-schema=off", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=64M",
		"--skip-name-resolve", "--tmpdir=" + s.dir, "--secure-file-priv=", "--innodb-flush-log-at-trx-commit=1"}
	for _, setting := range s.settings {
		args = append(args, "--"+setting)
	}
	return s.launch(s.command(program, args...), func() error {
		if err := s.accepts(); err != nil {
			return err
		}
		_, err := s.Do("SELECT 1")
		return err
	}, s.Kill)
}
