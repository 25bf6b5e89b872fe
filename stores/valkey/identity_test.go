package valkey

import (
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// Each is a way to another content that the engine offers.
func TestEveryOtherContentIsAResetOrAChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, change func(t *testing.T, server *testserver.RedisServer)
		reset          bool // or else a change of the token
	}{
		"SWAPDB with an empty database": {nil, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "SWAPDB", "0", "1")
		}, true},
		"SWAPDB with the database of another store": {func(t *testing.T, server *testserver.RedisServer) {
			s, err := Open(t.Context(), "redis://"+server.Addr()+"/1")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			watchIn(t, s)
		}, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "SWAPDB", "0", "1")
		}, true},
		"FLUSHALL":       {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "FLUSHALL") }, true},
		"FLUSHALL ASYNC": {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "FLUSHALL", "ASYNC") }, true},
		"FLUSHDB":        {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "FLUSHDB") }, true},
		"the mark is removed": {nil, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "DEL", identityKey)
		}, true},
		"an earlier snapshot is loaded": {func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "SAVE")
		}, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "DEBUG", "RELOAD", "NOSAVE") }, true},
		"the append-only file is loaded": {nil, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "DEBUG", "LOADAOF")
		}, true},
		"another primary, for a moment": {nil, func(t *testing.T, server *testserver.RedisServer) {
			primary := testserver.Redis(t, "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
			do(t, primary, "SET", "x", "y")
			host, port, _ := strings.Cut(primary.Addr(), ":")
			do(t, server, "CONFIG", "SET", "repl-diskless-load", "swapdb", "appendonly", "no") // nothing writes behind
			do(t, server, "REPLICAOF", host, port)
			for began := time.Now(); !strings.Contains(do(t, server, "INFO", "replication"), "master_link_status:up"); {
				if time.Since(began) > time.Minute {
					t.Fatal("the server has not become a replica in a minute")
				}
			}
			do(t, server, "REPLICAOF", "NO", "ONE")
		}, true},
		"RESTORE": {func(t *testing.T, server *testserver.RedisServer) {
			s := open(t, server)
			if err := s.Create(t.Context(), record("other")); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "RESTORE", recordKey("token"), "0", do(t, server, "DUMP", recordKey("other")), "REPLACE")
		}, false},
		"COPY": {nil, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "COPY", identityKey, recordKey("token"), "REPLACE")
		}, false},
		"MOVE":    {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "MOVE", recordKey("token"), "2") }, false},
		"RENAME":  {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "RENAME", recordKey("token"), "x") }, false},
		"PEXPIRE": {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "PEXPIRE", recordKey("token"), "1") }, false},
		"UNLINK":  {nil, func(t *testing.T, server *testserver.RedisServer) { do(t, server, "UNLINK", recordKey("token")) }, false},
		"a script": {nil, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "EVAL", "return redis.call('SETRANGE', KEYS[1], 20, 'x')", "1", recordKey("token"))
		}, false},
		"eviction": {nil, func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1")
			server.Do("SET", "x", "y")
			do(t, server, "CONFIG", "SET", "maxmemory", "0")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := testserver.Redis(t, "--enable-debug-command", "yes")
			s := open(t, server)
			if err := s.Create(t.Context(), record("token")); err != nil {
				t.Fatal(err)
			}
			h := watchIn(t, s)
			if c.before != nil {
				c.before(t, server)
			}
			_, before := h.all(t)
			c.change(t, server)
			ids, resets := h.all(t)
			if c.reset && resets == before || !c.reset && !strings.Contains(ids, "token") && resets == before {
				t.Errorf("the feed is told of %q, and of %d Resets", ids, resets-before)
			}
			if _, again := h.all(t); again != resets {
				t.Errorf("there are %d Resets too many", again-resets)
			}
		})
	}
}
