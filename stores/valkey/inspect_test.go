package valkey_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

func TestWhatAServerCanLoseIsSaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		settings []string
		refused  string // in the error, "" for none
		warned   string // in the one warning, "" for none
	}{
		{"the disk is written before the answer", nil, "", ""},
		{"the disk is written every second", []string{"--appendfsync", "everysec"}, "", "appendfsync everysec"},
		{"the disk is written some time", []string{"--appendfsync", "no"}, "", "appendfsync no"},
		{"there is no append-only file", []string{"--appendonly", "no"}, "", "appendonly no"},
		{"keys are evicted", []string{"--maxmemory-policy", "allkeys-lru"}, "maxmemory-policy allkeys-lru", ""},
		{"keys are evicted at random", []string{"--maxmemory-policy", "allkeys-random", "--maxmemory", "100mb"}, "maxmemory-policy allkeys-random", ""},
		{"only keys that expire are evicted", []string{"--maxmemory-policy", "volatile-lru"}, "", ""},
		{"CONFIG is refused", strings.Fields("--user default on nopass ~* &* +@all -config"), "", "CONFIG is refused"},
		{"it is a replica", []string{"--replicaof", "127.0.0.1 1"}, "replica", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := testserver.Redis(t, c.settings...)
			store, err := valkey.Open(t.Context(), "redis://"+server.Addr())
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("the error is %v, without %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			switch w := store.Warnings(); {
			case c.warned == "" && len(w) != 0, c.warned != "" && (len(w) != 1 || !strings.Contains(w[0], c.warned)):
				t.Errorf("the warnings are %q; %q should be in them", w, c.warned)
			}
		})
	}
}

func TestAServerThatMayNotBeAskedIsUsedWithWarnings(t *testing.T) {
	server := testserver.Redis(t, strings.Fields("--user default on nopass ~* &* +@all -info -config")...)
	store, err := valkey.Open(t.Context(), "redis://"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, setting := range []string{"maxmemory-policy", "appendonly"} {
		if !slices.ContainsFunc(store.Warnings(), func(w string) bool { return strings.Contains(w, setting) }) {
			t.Errorf("the warnings are %q, without %s", store.Warnings(), setting)
		}
	}
}

func TestAllNodesOfAClusterAreInspected(t *testing.T) {
	t.Parallel()
	nodes := testserver.RedisCluster(t, 3)
	if _, err := nodes[2].Do("CONFIG", "SET", "appendfsync", "everysec"); err != nil {
		t.Fatal(err)
	}
	store := opened(t, nodes...)
	defer store.Close()
	if w := store.Warnings(); len(w) != 1 || !strings.Contains(w[0], "everysec") {
		t.Errorf("the warnings are %q", w)
	}
	if _, err := nodes[1].Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"); err != nil {
		t.Fatal(err)
	}
	if _, err := valkey.Open(t.Context(), "redis://"+nodes[0].Addr()); err == nil {
		t.Error("a cluster with a node that evicts was opened")
	}
}

func TestNoErrorSaysAPassword(t *testing.T) {
	const password = "correct-horse-battery"
	server := testserver.Redis(t, "--requirepass", password)
	silent := testserver.Redis(t)
	silent.Kill()
	for _, url := range []string{
		"redis://:wrong-" + password + "@" + server.Addr(),
		"redis://user:" + password + "@" + server.Addr(),
		"redis://:" + password + "@" + silent.Addr(),
		"redis://:" + password + "@" + server.Addr() + "/one",
		"redis://:" + password + "@" + server.Addr() + "/99",
		"http://:" + password + "@" + server.Addr(),
		"redis://:" + password + "/x@" + server.Addr(),
		"redis://:" + password + "\x00@" + server.Addr(),
		password,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		store, err := valkey.Open(ctx, url)
		cancel()
		if err == nil {
			store.Close()
			t.Errorf("Open(%q) has no error", url)
		} else if strings.Contains(err.Error(), password) || !strings.HasPrefix(err.Error(), "valkey: ") {
			t.Errorf("Open(%q): %v", url, err)
		}
	}
	store, err := valkey.Open(t.Context(), "redis://:"+password+"@"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
}
