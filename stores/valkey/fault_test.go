package valkey

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func open(t testing.TB, servers ...*testserver.RedisServer) *Store {
	t.Helper()
	s, err := Open(t.Context(), "redis://"+servers[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func do(t testing.TB, server *testserver.RedisServer, args ...string) string {
	t.Helper()
	reply, err := server.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	return reply
}

// unavailable fails unless err says that nothing is known.
func unavailable(t *testing.T, doing string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s reports no error", doing)
	}
	for _, known := range []error{apitoken.ErrNotFound, apitoken.ErrExists, apitoken.ErrConflict} {
		if errors.Is(err, known) {
			t.Errorf("%s reports %v, which it cannot know", doing, err)
		}
	}
}

// ids lists an environment by name.
func (s *Store) idsByName(t testing.TB) (ids []string, count int) {
	t.Helper()
	page, err := s.List(t.Context(), apitoken.Query{Environment: "production", Order: apitoken.ByName, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range page.Records {
		ids = append(ids, rec.ID)
	}
	return ids, page.Count
}

func TestWhatCannotBeWrittenIsAnErrorAndReadsGoOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fail   func(t *testing.T, server *testserver.RedisServer)
		reads  bool // go on
		reason string
	}{
		{"the server has no disk to write to", func(t *testing.T, server *testserver.RedisServer) {
			if err := os.Mkdir(filepath.Join(strings.Split(do(t, server, "CONFIG", "GET", "dir"), "\n")[1], "dump.rdb"), 0o700); err != nil {
				t.Fatal(err)
			}
			do(t, server, "CONFIG", "SET", "save", "3600 1000000")
			do(t, server, "BGSAVE")
			for !strings.Contains(do(t, server, "INFO", "persistence"), "rdb_last_bgsave_status:err") {
				time.Sleep(10 * time.Millisecond)
			}
		}, true, "MISCONF"},
		{"the server has no replicas to write to", func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "CONFIG", "SET", "min-replicas-to-write", "1")
		}, true, "NOREPLICAS"},
		{"the server has no memory", func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "CONFIG", "SET", "maxmemory", "1")
		}, true, "OOM"},
		{"the server has become a replica", func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "REPLICAOF", "127.0.0.1", "1")
		}, false, "READONLY"},
		{"the user may do nothing", func(t *testing.T, server *testserver.RedisServer) {
			do(t, server, "ACL", "SETUSER", "default", "resetkeys")
		}, false, "NOPERM"},
		{"the server is gone", func(t *testing.T, server *testserver.RedisServer) { server.Kill() }, false, ""},
		{"the server stands still", func(t *testing.T, server *testserver.RedisServer) { server.Stop() }, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := testserver.Redis(t)
			s := open(t, server)
			rec := record("token")
			if err := s.Create(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			c.fail(t, server)
			limit := time.Second
			if c.reads { // the server answers, however busy it is
				limit = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			renamed, kept := rec, rec
			renamed.Version++
			renamed.Name = "renamed"
			kept.Version++
			kept.Status = apitoken.StatusInactive
			changes := map[string]error{
				"Create":  s.Create(ctx, record("new")),
				"Replace": s.Replace(ctx, renamed),
				"Touch":   s.Touch(ctx, []apitoken.Use{{ID: rec.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: noon}}),
			}
			if c.reason != "OOM" { // there these are allowed
				changes["Replace with that name"] = s.Replace(ctx, kept)
				changes["Delete"] = s.Delete(ctx, rec.ID)
			}
			for doing, err := range changes {
				unavailable(t, doing, err)
				if c.reads && !strings.Contains(err.Error(), c.reason) {
					t.Errorf("%s reports %v, not %s", doing, err, c.reason)
				}
			}
			got, err := s.Get(ctx, rec.ID)
			_, listed := s.List(ctx, apitoken.Query{Environment: "production", Order: apitoken.ByName, Limit: 10})
			if !c.reads {
				unavailable(t, "Get", err)
				_, err = s.Get(ctx, "no such")
				unavailable(t, "Get of nothing", err)
				return
			}
			if err != nil || got.Version != rec.Version {
				t.Errorf("Get: version %d, %v", got.Version, err)
			}
			if listed != nil {
				t.Errorf("List: %v", listed)
			}
			if _, err := s.Get(ctx, "new"); !errors.Is(err, apitoken.ErrNotFound) {
				t.Errorf("Get of what was not created: %v", err)
			}
		})
	}
}

func TestACrashLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := open(t, server)
	var (
		mu      sync.Mutex
		version = make(map[string]int64) // acknowledged; 0 for deleted
		doubt   = make(map[string]bool)  // how the last change ended nobody knows
	)
	for round := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					rec := record(fmt.Sprintf("token %d %d %d", round, w, i/3))
					rec.Version += int64(i % 3)
					rec.Name = fmt.Sprint("step ", i)
					limited, cancel := context.WithTimeout(ctx, time.Second)
					var err error
					switch {
					case i%3 == 0:
						err = s.Create(limited, rec)
					case i%3 == 1 || i%2 == 0:
						err = s.Replace(limited, rec)
					default:
						err = s.Delete(limited, rec.ID)
						rec.Version = 0
					}
					cancel()
					mu.Lock()
					if err == nil {
						version[rec.ID] = rec.Version
					} else if errors.Is(err, apitoken.ErrNotFound) || errors.Is(err, apitoken.ErrConflict) {
						if !doubt[rec.ID] {
							t.Errorf("%s: %v", rec.ID, err)
						}
					} else {
						doubt[rec.ID] = true
					}
					mu.Unlock()
				}
			})
		}
		acknowledged := func() int { mu.Lock(); defer mu.Unlock(); return len(version) }
		for enough := acknowledged() + 30; acknowledged() < enough; {
			time.Sleep(5 * time.Millisecond)
		}
		server.Kill()
		cancel()
		writers.Wait()
		server.Restart(t)
	}
	exist := 0
	for id, want := range version {
		got, err := s.Get(t.Context(), id)
		if err != nil && !errors.Is(err, apitoken.ErrNotFound) {
			t.Fatal(err)
		}
		if err == nil {
			exist++
		}
		if got.Version != want && !doubt[id] {
			t.Errorf("%s has version %d after the crash, not %d", id, got.Version, want)
		}
	}
	for id := range doubt {
		if _, known := version[id]; !known {
			if _, err := s.Get(t.Context(), id); err == nil {
				exist++
			}
		}
	}

	// Whatever is left of changes that broke off, lists have what there is.
	listed := 0
	q := apitoken.Query{Environment: "production", Order: apitoken.ByName, Limit: 100}
	for more := true; more; more = q.After != nil {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if page.Count != min(exist, 1000) {
			t.Errorf("a list counts %d where there are %d", page.Count, exist)
		}
		listed += len(page.Records)
		q.After = page.Next
	}
	all, err := s.Scan(t.Context(), "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if listed != exist || len(all) != exist {
		t.Errorf("of %d tokens, %d are listed and %d scanned", exist, listed, len(all))
	}
}

func TestUsesAreThoseOfTheTokenThatIsThere(t *testing.T) {
	server := testserver.Redis(t)
	s := open(t, server)
	rec := record("token")
	use := apitoken.Use{ID: rec.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: noon}
	used := func() int {
		t.Helper()
		got, err := s.Get(t.Context(), rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Uses)
	}
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if err := s.Touch(t.Context(), []apitoken.Use{use}); err != nil || used() != 1 {
		t.Fatalf("after Touch there are %d uses, %v", used(), err)
	}

	// Deleted by hand, and made again with the same secret.
	do(t, server, "DEL", recordKey(rec.ID))
	if err := s.Create(t.Context(), rec); err != nil || used() != 0 {
		t.Fatalf("a token that was made again has %d uses, %v", used(), err)
	}
	if err := s.Touch(t.Context(), []apitoken.Use{use}); err != nil || used() != 1 {
		t.Fatalf("after Touch there are %d uses, %v", used(), err)
	}
	do(t, server, "SET", usesKey(rec.ID), "by hand")
	if used() != 0 {
		t.Error("damaged uses are some")
	}

	// Deleted while Touch is at work.
	if err := s.Delete(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context(), call{&touchScript, []string{recordKey(rec.ID), usesKey(rec.ID)}, []string{"", "uses"}})[0].Error(); err != nil {
		t.Fatal(err)
	}
	if left := do(t, server, "KEYS", "apitoken-uses:*"); left != "" {
		t.Errorf("of a deleted token there is left %q", left)
	}
}

func TestADamagedRecordIsAnError(t *testing.T) {
	server := testserver.Redis(t)
	s := open(t, server)
	rec := record("token")
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	value := do(t, server, "GET", recordKey(rec.ID))
	other := stored{rec: record("other"), stamp: newStamp(), birth: newStamp()}
	otherValue, err := other.encode()
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string]string{
		"nothing": "", "of another token": otherValue, "in another format": "\x02" + value[1:],
		"with another version": value[:8] + "\xff" + value[9:], "longer": value + "\x00",
	}
	for n := 1; n < len(value); n += 7 {
		damaged[fmt.Sprint("cut to ", n)] = value[:n]
	}
	for what, v := range damaged {
		do(t, server, "SET", recordKey(rec.ID), v)
		_, err := s.Get(t.Context(), rec.ID)
		unavailable(t, "Get of a record that is "+what, err)
	}
	do(t, server, "DEL", recordKey(rec.ID))
	do(t, server, "HSET", recordKey(rec.ID), "a", "b")
	_, err = s.Get(t.Context(), rec.ID)
	unavailable(t, "Get of something else", err)
}
