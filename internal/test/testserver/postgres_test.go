//go:build unix

package testserver

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestAPostgresServerCanBeHaltedAndKilled(t *testing.T) {
	s := Postgres(t, "wal_level=minimal", "max_wal_senders=0")
	answers := func() string {
		out, err := s.run("pg_isready", "--timeout=1")
		if err != nil {
			return ""
		}
		return string(out)
	}
	if answers() == "" {
		t.Fatal("the server does not answer")
	}
	if s.URL("x") != "postgres://apitoken@"+s.Addr()+"/x?sslmode=disable" {
		t.Errorf("the URL is %s", s.URL("x"))
	}
	s.Stop()
	if answers() != "" {
		t.Error("a halted server answers")
	}
	s.Continue()
	if answers() == "" {
		t.Error("the server does not go on")
	}
	children := s.children()
	s.Kill()
	for _, pid := range append(children, s.PID()) {
		if state, _ := processState(pid); state != "" && state != "Z" {
			t.Errorf("process %d is there after Kill, in state %s", pid, state)
		}
	}
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Error("a killed server takes connections")
	}
	s.Restart(t)
	if answers() == "" {
		t.Error("the server does not come back")
	}

	s.Stop() // then none of its processes ends by itself
	children = s.children()
	s.Kill()
	for _, pid := range children {
		if state, _ := processState(pid); state != "" && state != "Z" {
			t.Errorf("process %d was not killed, and is in state %s", pid, state)
		}
	}
}

func TestPostgresEndsWithTheTestProcess(t *testing.T) {
	if os.Getenv("APITOKEN_POSTGRES_CHILD") != "" {
		PostgresDatabase(t)
		s, err := sharedPostgres()
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("\n" + s.Addr() + "\n" + s.dir + "\n")
		time.Sleep(time.Hour)
	}
	if _, err := postgresPrograms(); err != nil {
		t.Skip("needs PostgreSQL (Debian: postgresql)")
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPostgresEndsWithTheTestProcess$")
	child.Env = append(os.Environ(), "APITOKEN_POSTGRES_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var addr, dir string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "127.0.0.1:") {
			addr = lines.Text()
		}
		if strings.HasPrefix(lines.Text(), "/") {
			dir = lines.Text()
			break
		}
	}
	if dir == "" {
		t.Fatal("the child has no server")
	}
	child.Process.Kill() // no cleanup runs
	child.Wait()
	for range 1200 { // two minutes
		c, dialErr := net.Dial("tcp", addr)
		if dialErr == nil {
			c.Close()
		}
		if _, err := os.Stat(dir); dialErr != nil && errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the server on %s or its files in %s outlived the tests", addr, dir)
}
