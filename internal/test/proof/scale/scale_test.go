//go:build unix

// Package scale measures what docs/scale.md calculates with, on private servers:
//
//	go test -run '^$' -bench . ./internal/test/proof/scale
//
// With -store mysql the server is MariaDB.
package scale

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
)

var (
	catalog apitoken.Catalog
	use     = catalog.Define("use", "Use the service")
	owner   = apitoken.Actor{User: "ada", Environment: "scale", Grants: []apitoken.Permission{use}}
)

var storeIs = flag.String("store", "postgres", "postgres or mysql")

// A rig is a server with some tokens.
type rig struct {
	store interface {
		apitoken.Store
		apitoken.Toucher
		apitoken.Watcher
	}
	auth  *apitoken.Authority
	ids   []string
	spent func(testing.TB) time.Duration // what the server's processes have used of the processors
}

func newRig(t testing.TB, tokens int) *rig {
	r := new(rig)
	switch *storeIs {
	case "postgres":
		url := testserver.Postgres(t).URL("postgres")
		s, err := postgres.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		r.store, r.spent = s, func(t testing.TB) time.Duration { return postgresTime(t, url) }
	case "mysql":
		server := testserver.MariaDB(t)
		db, err := sql.Open("mysql", server.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		db.SetMaxIdleConns(200) // as a service has them that is busy
		s, err := mysql.Use(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		r.store, r.spent = s, func(t testing.TB) time.Duration { return threadsTime(t, server.PID()) }
	default:
		t.Fatalf("-store=%s", *storeIs)
	}
	var err error
	r.auth, err = apitoken.New(apitoken.Config{Prefix: "scale", Permissions: &catalog, Store: r.store, MaxStaleness: apitoken.NoCache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.auth.Close() })
	for range tokens {
		info, _, err := r.auth.As(owner).Generate(t.Context(), apitoken.GenerateParams{
			Name: "Scale", Permissions: []apitoken.Permission{use}, Expiry: apitoken.Never(),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.ids = append(r.ids, info.ID)
	}
	return r
}

// BenchmarkRead is a look-up that memory cannot answer, by as many at once as
// the pool has connections.
func BenchmarkRead(b *testing.B) {
	r := newRig(b, 100)
	b.SetParallelism(4)
	before := r.spent(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := r.store.Get(context.Background(), r.ids[i%len(r.ids)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((r.spent(b)-before).Microseconds())/float64(b.N), "server-µs/op")
}

// BenchmarkFeed is what nodes that watch an idle log cost the server: time of its
// processors per node and second, at a MaxStaleness of one second. Other work on the machine
// makes that more, so that the 10th percentile of the seconds is what counts.
func BenchmarkFeed(b *testing.B) {
	for _, nodes := range []int{10, 100} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			r := newRig(b, 1)
			watch(b, r, nodes, nil)
			var costs []float64
			for b.Loop() {
				before, began := r.spent(b), time.Now()
				time.Sleep(time.Second)
				spent := float64((r.spent(b) - before).Microseconds())
				costs = append(costs, spent/float64(nodes)/time.Since(began).Seconds())
			}
			slices.Sort(costs)
			b.ReportMetric(costs[len(costs)/10], "server-µs/node/s")
		})
	}
}

// BenchmarkChange is a change of a token until all nodes have heard of it.
func BenchmarkChange(b *testing.B) {
	for _, nodes := range []int{10, 100} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			r := newRig(b, 1)
			heard := make(chan struct{}, 10*nodes)
			var change atomic.Int64
			watch(b, r, nodes, func() func() {
				var last int64
				return func() { // a change comes twice, as a notification and in the log
					if now := change.Load(); now != last {
						last = now
						heard <- struct{}{}
					}
				}
			})
			before := r.spent(b)
			active := true
			for b.Loop() {
				change.Add(1)
				var err error
				if active = !active; active {
					_, err = r.auth.As(owner).Activate(b.Context(), r.ids[0])
				} else {
					_, err = r.auth.As(owner).Deactivate(b.Context(), r.ids[0])
				}
				if err != nil {
					b.Fatal(err)
				}
				for range nodes {
					<-heard
				}
			}
			b.ReportMetric(float64((r.spent(b)-before).Microseconds())/float64(b.N), "server-µs/op")
		})
	}
}

// BenchmarkUse writes that tokens were used, a thousand at once.
func BenchmarkUse(b *testing.B) {
	const batch = 1000
	r := newRig(b, batch)
	uses := make([]apitoken.Use, batch)
	for i, id := range r.ids {
		rec, err := r.store.Get(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		uses[i] = apitoken.Use{ID: id, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken")}
	}
	before, at := r.spent(b), time.Now().UTC().Truncate(time.Microsecond)
	for b.Loop() {
		at = at.Add(time.Minute)
		for i := range uses {
			uses[i].At = at
		}
		if err := r.store.Touch(b.Context(), uses); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((r.spent(b)-before).Microseconds())/float64(b.N)/batch, "server-µs/use")
}

// watch has as many nodes follow the changes, and returns when all do.
func watch(t testing.TB, r *rig, nodes int, changed func() func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var begun, running sync.WaitGroup
	for range nodes {
		begun.Add(1)
		running.Go(func() {
			f := &feed{begun: sync.OnceFunc(begun.Done), changed: func() {}}
			if changed != nil {
				f.changed = changed()
			}
			if err := r.store.Watch(ctx, f); ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	begun.Wait()
}

// A feed is that of a node with a MaxStaleness of one second.
type feed struct{ begun, changed func() }

func (f *feed) Reset()                  {}
func (f *feed) CaughtUp(time.Time)      { f.begun() }
func (f *feed) Interval() time.Duration { return time.Second / 4 }
func (f *feed) Changed(...string)       { f.changed() }

// threadsTime returns what the threads of a process have used. Those that have ended no longer count; a server with many clients
// keeps them.
func threadsTime(t testing.TB, pid int) (sum time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if len(threads) == 0 {
		t.Skip("needs /proc/self/schedstat (Linux)")
	}
	for _, name := range threads {
		sum += timeIn(name)
	}
	return sum
}

// timeIn returns the time of a process or a thread, nothing if it has just ended.
func timeIn(schedstat string) time.Duration {
	stat, _ := os.ReadFile(schedstat)
	spent, _, _ := strings.Cut(string(stat), " ")
	ns, _ := strconv.Atoi(spent)
	return time.Duration(ns)
}

// postgresTime returns what the processes of PostgreSQL that serve somebody have used.
func postgresTime(t testing.TB, url string) time.Duration {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, _ := conn.Query(t.Context(), `SELECT pid FROM pg_stat_activity`)
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("needs /proc/self/schedstat (Linux)")
	}
	var sum time.Duration
	for _, pid := range pids {
		sum += timeIn(fmt.Sprintf("/proc/%d/schedstat", pid))
	}
	return sum
}
