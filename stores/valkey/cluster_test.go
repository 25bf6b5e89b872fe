package valkey

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// holder returns the node that has a key.
func holder(t testing.TB, servers []*testserver.RedisServer, key string) *testserver.RedisServer {
	t.Helper()
	for _, s := range servers {
		if _, err := s.Do("EXISTS", key); err == nil {
			return s
		}
	}
	t.Fatalf("no node has the slot of %q", key)
	return nil
}

func TestTokensAreUsableWhileTheirSlotMoves(t *testing.T) {
	servers := testserver.RedisCluster(t, 3)
	s := open(t, servers...)
	rec := record("token")
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	from := holder(t, servers, recordKey(rec.ID))
	to := servers[0]
	if from == to {
		to = servers[1]
	}
	works := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got, err := s.Get(ctx, rec.ID)
		if err != nil || got.Version != rec.Version {
			t.Errorf("%s: Get: version %d, %v", when, got.Version, err)
		}
		rec.Version++
		rec.Status = apitoken.StatusInactive
		if err := s.Replace(ctx, rec); err != nil {
			t.Errorf("%s: Replace: %v", when, err)
			rec.Version--
		}
	}
	slot := do(t, from, "CLUSTER", "KEYSLOT", recordKey(rec.ID))
	do(t, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", do(t, from, "CLUSTER", "MYID"))
	do(t, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", do(t, to, "CLUSTER", "MYID"))
	works("before its key moves")
	host, port, _ := net.SplitHostPort(to.Addr())
	do(t, from, "MIGRATE", host, port, recordKey(rec.ID), "0", "5000")
	works("after its key has moved")
	if err := s.Delete(t.Context(), rec.ID); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := s.Create(t.Context(), rec); err != nil {
		t.Errorf("Create: %v", err)
	}
	works("when it was made meanwhile")
	for _, node := range []*testserver.RedisServer{to, from} {
		do(t, node, "CLUSTER", "SETSLOT", slot, "NODE", do(t, to, "CLUSTER", "MYID"))
	}
	works("when the slot has moved")
}

// To deactivate or delete a token takes no other node than that of its record.
func TestATokenCanBeRevokedWhileTheIndexIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for ten seconds")
	}
	t.Parallel()
	t.Run("it is gone", func(t *testing.T) {
		revokeWithoutIndex(t, (*testserver.RedisServer).Kill, func(s *testserver.RedisServer) { s.Restart(t) })
	})
	t.Run("it stands still", func(t *testing.T) {
		revokeWithoutIndex(t, (*testserver.RedisServer).Stop, (*testserver.RedisServer).Continue)
	})
}

func revokeWithoutIndex(t *testing.T, fail, repair func(*testserver.RedisServer)) {
	servers := testserver.RedisCluster(t, 3, "--cluster-require-full-coverage", "no")
	s := open(t, servers...)
	index := holder(t, servers, environmentBase("production")+byName)
	var recs []apitoken.Record
	for i := 0; len(recs) < 2; i++ {
		rec := record(fmt.Sprint("token ", i))
		shard := stored{rec: rec, stamp: newStamp()}
		elsewhere := holder(t, servers, recordKey(rec.ID)) != index
		for base := range byBase(shard.entries()) {
			if strings.Contains(base, "shard") && holder(t, servers, base) == index {
				elsewhere = false
			}
		}
		if elsewhere {
			recs = append(recs, rec)
			if err := s.Create(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	fail(index)
	begin := time.Now()
	within := func(limit time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		t.Cleanup(cancel)
		return ctx
	}
	const works, fails = 2 * time.Minute, 3 * time.Second // what fails waits for all of it
	deactivated := recs[0]
	deactivated.Version++
	deactivated.Status = apitoken.StatusInactive
	if err := s.Replace(within(works), deactivated); err != nil {
		t.Errorf("deactivating, after %v: %v", time.Since(begin), err)
	}
	if got, err := s.Get(within(works), recs[0].ID); err != nil || got.Status != apitoken.StatusInactive {
		t.Errorf("after deactivating: %q, %v", got.Status, err)
	}
	if err := s.Delete(within(works), recs[1].ID); err != nil {
		t.Errorf("deleting: %v", err)
	}
	if _, err := s.Get(within(works), recs[1].ID); !errors.Is(err, apitoken.ErrNotFound) {
		t.Errorf("after deleting: %v", err)
	}
	renamed := deactivated
	renamed.Version++
	renamed.Name = "renamed"
	unavailable(t, "renaming", s.Replace(within(fails), renamed))
	_, err := s.List(within(fails), apitoken.Query{Environment: "production", Order: apitoken.ByName, Limit: 10})
	unavailable(t, "List", err)

	repair(index)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = s.List(within(works), apitoken.Query{Environment: "production", Order: apitoken.ByName, Limit: 10}); err == nil {
			break
		}
	}
	if ids, n := s.idsByName(t); len(ids) != 1 || n != 1 {
		t.Errorf("when the index is back, %q are listed, %d counted", ids, n)
	}
}
