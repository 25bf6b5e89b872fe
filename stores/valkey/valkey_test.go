package valkey_test

import (
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

func TestARedisServerIsAStore(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		return opened(t, server)
	})
}

// It is used by the user that README.md describes, who must be allowed enough.
func TestARedisClusterIsAStore(t *testing.T) {
	testserver.Variant(t)
	t.Parallel()
	nodes := testserver.RedisCluster(t, 3)
	url := restricted(t, nodes...)
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		flush(t, nodes...)
		return openedBy(t, url)
	})

	flush(t, nodes...)
	store := openedBy(t, url)
	defer store.Close()
	if w := store.Warnings(); w != nil {
		t.Errorf("the warnings are %q", w)
	}
	d, _ := watching(t, store)
	if err := store.Create(t.Context(), apitoken.Record{ID: "token", Version: 1, Environment: "e"}); err != nil {
		t.Fatal(err)
	}
	d.await(t, "a change is noticed", func(d *diary) bool { return len(d.changed) > 0 })
	if err := store.Reindex(t.Context()); err != nil {
		t.Error(err)
	}
}

// opened opens an empty store on a server or a cluster.
func opened(t testing.TB, nodes ...*testserver.RedisServer) *valkey.Store {
	t.Helper()
	flush(t, nodes...)
	return openedBy(t, "redis://"+nodes[0].Addr())
}

func openedBy(t testing.TB, url string) *valkey.Store {
	t.Helper()
	store, err := valkey.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func flush(t testing.TB, nodes ...*testserver.RedisServer) {
	t.Helper()
	for _, node := range nodes {
		do(t, node, "FLUSHALL")
	}
}
