package valkey_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/netfault"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

func TestARedisServerCanBeWatched(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	t.Parallel() // it waits most of the time
	server := testserver.Redis(t)
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes { return watched(t, server) })
}

func TestARedisClusterCanBeWatched(t *testing.T) {
	testserver.Variant(t)
	t.Parallel() // it waits most of the time
	servers := testserver.RedisCluster(t, 3)
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes { return watched(t, servers...) })
}

// watched returns nodes on a server or a cluster, with a proxy before each.
func watched(t *testing.T, servers ...*testserver.RedisServer) storetest.Nodes {
	flush(t, servers...)
	proxies := make(map[string]*netfault.Proxy)
	for _, s := range servers {
		proxies[s.Addr()] = netfault.New(t, s.Addr())
	}
	all := func(f func(*netfault.Proxy)) func() {
		return func() {
			for _, p := range proxies {
				f(p)
			}
		}
	}
	return storetest.Nodes{
		Open: func(t *testing.T) apitoken.Store {
			return proxied(t, servers[0].Addr(), func(addr string) string { return proxies[addr].Addr() })
		},
		Direct: func(t *testing.T) apitoken.Store {
			return proxied(t, servers[0].Addr(), func(addr string) string { return addr })
		},
		Cut:    all((*netfault.Proxy).Cut),
		Freeze: all((*netfault.Proxy).Freeze),
		Heal:   all((*netfault.Proxy).Heal),
		Delay:  func(d time.Duration) { all(func(p *netfault.Proxy) { p.Delay(d) })() },
		Edit: func(t *testing.T, id string) {
			edit(t, servers, id)
		},
	}
}

// A store whose client is its own.
type proxiedStore struct {
	*valkey.Store
	client client.Client
}

func (s proxiedStore) Close() error {
	err := s.Store.Close()
	s.client.Close()
	return err
}

// proxied opens a store that dials other addresses than those of the servers.
func proxied(t *testing.T, addr string, instead func(addr string) string) apitoken.Store {
	c, err := client.NewClient(client.ClientOption{
		InitAddress: []string{addr}, DisableCache: true,
		DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", instead(addr))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := valkey.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return proxiedStore{s, c}
}

// edit deletes a record, or if there is none writes one that is damaged, as one
// does by hand.
func edit(t *testing.T, servers []*testserver.RedisServer, id string) {
	t.Helper()
	key := "apitoken:{" + id + "}"
	for _, s := range servers {
		n, err := s.Do("DEL", key)
		if err == nil && n == "0" {
			_, err = s.Do("SET", key, "by hand")
		}
		switch {
		case err == nil:
			return
		case !strings.HasPrefix(err.Error(), "MOVED "):
			t.Fatal(err)
		}
	}
	t.Fatal("no node has the key")
}

// A diary is a feed that writes down what it is told.
type diary struct {
	onCurrent func() // nil: nothing

	mu      sync.Mutex
	resets  int
	changed []string
	current time.Time
}

func (d *diary) Interval() time.Duration { return 100 * time.Millisecond }

func (d *diary) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resets++
}

func (d *diary) Changed(ids ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed = append(d.changed, ids...)
}

func (d *diary) CaughtUp(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = at
	if d.onCurrent != nil {
		d.onCurrent()
	}
}

// await waits until something is in the diary.
func (d *diary) await(t *testing.T, what string, there func(d *diary) bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		ok := there(d)
		d.mu.Unlock()
		if ok {
			return
		}
	}
	t.Fatalf("it takes too long until %s", what)
}

func isCurrent(d *diary) bool { return !d.current.IsZero() }

// watching begins a Watch, of which it returns the end.
func watching(t *testing.T, store *valkey.Store) (d *diary, ended chan error) {
	t.Helper()
	d, ended = &diary{}, make(chan error, 1)
	go func() { ended <- store.Watch(t.Context(), d) }()
	d.await(t, "it is current", isCurrent)
	return d, ended
}

func endsWith(t *testing.T, ended chan error, reason string) {
	t.Helper()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("Watch returned %v, not %q", err, reason)
		}
	case <-time.After(3 * time.Minute):
		t.Errorf("Watch goes on; it should end: %s", reason)
	}
}

func do(t testing.TB, server *testserver.RedisServer, args ...string) string {
	t.Helper()
	reply, err := server.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return reply
}

func TestAFlushIsAReset(t *testing.T) {
	for _, command := range []string{"FLUSHALL", "FLUSHDB"} {
		server := testserver.Redis(t)
		store := opened(t, server)
		defer store.Close()
		d, _ := watching(t, store)
		do(t, server, command)
		d.await(t, command+" is noticed", func(d *diary) bool { return d.resets == 2 })
	}
}

func TestAPrimaryThatBecomesAReplicaIsNotWatched(t *testing.T) {
	server := testserver.Redis(t)
	store := opened(t, server)
	defer store.Close()
	_, ended := watching(t, store)
	do(t, server, "REPLICAOF", "127.0.0.1", "1")
	endsWith(t, ended, "replica")
	if err := store.Watch(t.Context(), &diary{}); err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("Watch of a replica returned %v", err)
	}
}

func TestAClosedStoreCannotBeWatched(t *testing.T) {
	store := opened(t, testserver.Redis(t))
	store.Close()
	if err := store.Watch(t.Context(), &diary{}); err == nil {
		t.Error("it can")
	}
}

func TestAKilledServerEndsAWatch(t *testing.T) {
	server := testserver.Redis(t)
	store := opened(t, server)
	defer store.Close()
	_, ended := watching(t, store)
	server.Kill()
	endsWith(t, ended, "")
	server.Restart(t)
	watching(t, store)
}

func TestAConnectionThatIsKilledEndsAWatch(t *testing.T) {
	server := testserver.Redis(t)
	store := opened(t, server)
	defer store.Close()
	_, ended := watching(t, store)
	do(t, server, "CLIENT", "KILL", "TYPE", "normal")
	endsWith(t, ended, "")
	watching(t, store)
}

func TestAServerThatStandsStillEndsAWatch(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	store := opened(t, server)
	defer store.Close()
	d, ended := watching(t, store)
	server.Stop()
	stopped := time.Now()
	endsWith(t, ended, "deadline")
	if d.current.After(stopped) {
		t.Errorf("it was current %v after the server stood still", d.current.Sub(stopped))
	}
	server.Continue()
	watching(t, store)
}

func TestAClientThatSpeaksRESP2CannotWatch(t *testing.T) {
	store, err := valkey.Open(t.Context(), "redis://"+testserver.Redis(t).Addr()+"?protocol=2")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Watch(t.Context(), &diary{}); err == nil || !strings.Contains(err.Error(), "RESP3") {
		t.Errorf("Watch returned %v", err)
	}
}

func TestAWatchEndsWhenTheClusterChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for ten seconds")
	}
	t.Parallel()
	servers := testserver.RedisCluster(t, 3)
	store := opened(t, servers...)
	defer store.Close()

	// A node joins. It could be given slots, and the client does not know it.
	_, ended := watching(t, store)
	fourth := testserver.Redis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
	host, port, _ := net.SplitHostPort(servers[0].Addr())
	do(t, fourth, "CLUSTER", "MEET", host, port)
	endsWith(t, ended, "the cluster has changed")
	eventually(t, "a cluster with an empty primary is refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return strings.Contains(store.Watch(ctx, &diary{onCurrent: cancel}).Error(), "without slots")
	})

	// It becomes a replica, and takes over.
	primary := do(t, servers[0], "CLUSTER", "MYID")
	eventually(t, "it replicates", func() bool {
		_, err := fourth.Do("CLUSTER", "REPLICATE", primary)
		return err == nil
	})
	eventually(t, "the cluster can be watched", func() bool { return canBeWatched(t, store) })
	eventually(t, "it is in step", func() bool {
		return strings.Contains(do(t, fourth, "INFO", "replication"), "master_link_status:up")
	})
	_, ended = watching(t, store)
	do(t, fourth, "CLUSTER", "FAILOVER")
	endsWith(t, ended, "")
	eventually(t, "the cluster can be watched again", func() bool {
		// Look-ups tell the client where the slots are now.
		for i := range 20 {
			store.Get(t.Context(), fmt.Sprint(i))
		}
		return canBeWatched(t, store)
	})
}

// canBeWatched begins a Watch, and ends it when it is current or after a while.
func canBeWatched(t *testing.T, store *valkey.Store) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := &diary{onCurrent: cancel}
	store.Watch(ctx, d)
	return isCurrent(d)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it takes too long until %s", what)
}
