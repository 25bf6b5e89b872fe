//go:build unix

package testserver

import "testing"

func TestAMariaDBServerKeepsWhatItAcknowledgedThroughACrash(t *testing.T) {
	s := MariaDB(t)
	pid := s.PID()
	if out, err := s.Do("CREATE DATABASE x; CREATE TABLE x.t (a INT) ENGINE = InnoDB; INSERT INTO x.t VALUES (42)"); err != nil {
		t.Fatal(out)
	}
	s.Kill()
	if out, err := s.Do("SELECT 1"); err == nil {
		t.Fatalf("a killed server answers %s", out)
	}
	s.Restart(t)
	if out, err := s.Do("SELECT a FROM x.t"); err != nil || out != "42" {
		t.Errorf("after the crash: %q, %v", out, err)
	}
	if s.PID() == pid {
		t.Error("it is the same process")
	}
}
