//go:build unix

package testserver

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A daemon is a server with a data folder in a folder of its own. It refuses to run as root.
type daemon struct {
	name     string // for people
	dir      string // its own, with the data folder and a log in it
	settings []string
	port     string
	identity *syscall.SysProcAttr
	cmd      *exec.Cmd
	reaper   reaper
}

// newDaemon returns a server that has an empty folder so far. Where tests run as root, the server runs under an account of the
// system; without that it is missing.
func newDaemon(name, account string, missing error) (d daemon, err error) {
	d.name = name
	if d.dir, err = os.MkdirTemp("", "apitoken-"+account); err != nil {
		return d, err
	}
	if os.Geteuid() != 0 {
		return d, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return d, missing
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	d.identity = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return d, os.Chown(d.dir, uid, gid)
}

// init makes the data folder that all servers of a test process begin with a copy of.
func (d *daemon) init(cmd *exec.Cmd) (err error) {
	if d.reaper, err = startReaper("", d.dir); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}

// begin starts the server for the first time, on a copy of the data folder of another one.
func (d *daemon) begin(first *daemon, start func() error) (err error) {
	defer func() {
		if err != nil {
			os.RemoveAll(d.dir)
		}
	}()
	if out, err := d.command("cp", "-R", first.data(), d.data()).CombinedOutput(); err != nil {
		return fmt.Errorf("copying the data folder: %w\n%s", err, out)
	}
	for range 3 { // someone else may have got the port
		var port int
		if port, err = FreePort(); err == nil {
			d.port = strconv.Itoa(port)
			if err = start(); err == nil {
				return nil
			}
		}
	}
	return err
}

// launch starts the process and waits until it takes connections.
func (d *daemon) launch(cmd *exec.Cmd, ready func() error, kill func()) error {
	logName := filepath.Join(d.dir, "log")
	logFile, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	d.cmd = cmd
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return err
	}
	if d.reaper, err = startReaper(strconv.Itoa(d.PID()), d.dir); err != nil {
		return err
	}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ready() == nil {
			return nil
		}
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(d.PID(), &status, syscall.WNOHANG, nil); pid == d.PID() {
			break // it has ended
		}
	}
	kill()
	log, _ := os.ReadFile(logName)
	return fmt.Errorf("%s does not start:\n%s", d.name, log)
}

// endWith has the server stopped and removed at the end of the test.
func (d *daemon) endWith(t testing.TB, kill func()) {
	t.Cleanup(func() {
		kill()
		os.RemoveAll(d.dir)
	})
}

// accepts returns nil if something listens on the port. Until then no client has to be started, which takes longer.
func (d *daemon) accepts() error {
	conn, err := net.DialTimeout("tcp", d.Addr(), time.Minute)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (d *daemon) data() string { return filepath.Join(d.dir, "data") }

// command prepares a program that runs as the server does.
func (d *daemon) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = d.identity
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// Addr returns the address on which the server listens.
func (d *daemon) Addr() string { return net.JoinHostPort("127.0.0.1", d.port) }

// PID returns the process ID of the server, of PostgreSQL the postmaster's.
func (d *daemon) PID() int { return d.cmd.Process.Pid }

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
