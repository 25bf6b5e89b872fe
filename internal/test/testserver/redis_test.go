//go:build unix

package testserver

import (
	"strings"
	"testing"
)

func TestARedisServerKeepsWhatItAcknowledgedThroughACrash(t *testing.T) {
	s := Redis(t)
	pid := s.PID()
	if _, err := s.Do("SET", "key", "a\r\nb"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := s.Do("PING"); err == nil {
		t.Fatal("a killed server answers")
	}
	s.Restart(t)
	if got, err := s.Do("GET", "key"); got != "a\r\nb" || err != nil {
		t.Errorf("after the crash: %q, %v", got, err)
	}
	if s.PID() == pid {
		t.Error("it is the same process")
	}
}

func TestARedisClusterServesAllSlots(t *testing.T) {
	nodes := RedisCluster(t, 3)
	served := 0
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		for _, node := range nodes {
			switch _, err := node.Do("SET", key, "x"); {
			case err == nil:
				served++
			case !strings.HasPrefix(err.Error(), "MOVED "):
				t.Errorf("SET %s: %v", key, err)
			}
		}
	}
	if served != 6 {
		t.Errorf("%d of 6 keys have a node", served)
	}
}
