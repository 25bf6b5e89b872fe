//go:build unix

package soak

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

var (
	duration = flag.Duration("duration", 20*time.Second, "how long")
	storeIs  = flag.String("store", "sqlite", "memory, sqlite, postgres, mysql or redis")
	clients  = flag.Int("clients", 8, "how many clients")
)

func open(t *testing.T) apitoken.Store {
	ctx := context.Background()
	switch *storeIs {
	case "memory":
		return memory.New()
	case "sqlite":
		s, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "tokens.db"))
		must(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	case "postgres":
		s, err := postgres.Open(ctx, testserver.PostgresDatabase(t))
		must(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	case "mysql":
		db, err := sql.Open("mysql", testserver.MariaDBDatabase(t))
		must(t, err)
		t.Cleanup(func() { db.Close() })
		s, err := mysql.Use(ctx, db)
		must(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	case "redis":
		u := url.URL{Scheme: "redis", Host: testserver.Redis(t).Addr()}
		s, err := valkey.Open(ctx, u.String())
		must(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	t.Fatalf("-store=%s", *storeIs)
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A service is a node with its HTTP server, and what it counts.
type service struct {
	auth        *apitoken.Authority
	read, write apitoken.Permission
	url         string
	client      *http.Client

	requests, changes, wrong atomic.Int64
	rest                     sync.RWMutex // held while samples are taken: what is under way is no growth
	mu                       sync.Mutex
	answers                  map[int]int64
	firstWrong, because      []string
}

// A client owns some tokens, so that it knows what each of its requests has to
// get: nobody else changes them.
type client struct {
	*service
	m       *apitoken.Manager
	tokens  []*owned
	answers map[int]int64
}

type owned struct {
	id, secret string
	retired    []string
	inactive   bool
}

func (s *service) wrongf(format string, args ...any) {
	s.wrong.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.firstWrong) < 5 {
		s.firstWrong = append(s.firstWrong, fmt.Sprintf(format, args...))
	}
}

// observe keeps why a store was not believed: the client counts the answer.
func (s *service) observe(_ context.Context, ev apitoken.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ev.Action == "use" && ev.Reason == apitoken.ErrUnavailable && len(s.because) < 5 {
		s.because = append(s.because, ev.Err.Error())
	}
}

// ask sends a request and compares the status.
func (c *client) ask(what, path string, want int, header string) {
	r, _ := http.NewRequest("GET", c.url+path, nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	res, err := c.client.Do(r)
	if err != nil {
		c.wrongf("%s: %v", what, err)
		return
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	c.requests.Add(1)
	c.answers[res.StatusCode]++
	if res.StatusCode != want {
		c.wrongf("%s: status %d, not %d", what, res.StatusCode, want)
	}
}

func (c *client) request() {
	t := c.tokens[rand.IntN(len(c.tokens))]
	state := func(good int) int {
		if t.inactive {
			return 401
		}
		return good
	}
	switch n := rand.IntN(100); {
	case n < 55:
		c.ask("a token", "/read", state(200), "apiToken "+t.secret)
	case n < 70:
		c.ask("a token in the query", "/read?x=1&apiToken="+t.secret, state(200), "")
	case n < 78:
		c.ask("a permission that is missing", "/write", state(403), "apiToken "+t.secret)
	case n < 84:
		c.ask("nothing", "/read", 401, "")
	case n < 88:
		c.ask("two of them", "/read?apiToken="+t.secret, 400, "apiToken "+t.secret)
	case n < 92:
		c.ask("a token with a typing error", "/read", 401, "apiToken "+t.secret[:len(t.secret)-1]+"_")
	case len(t.retired) > 0:
		c.ask("a secret that was rotated away", "/read", 401, "apiToken "+t.retired[rand.IntN(len(t.retired))])
	}
}

func (c *client) change() {
	i := rand.IntN(len(c.tokens))
	t := c.tokens[i]
	ctx := context.Background()
	var err error
	switch n := rand.IntN(10); {
	case t.inactive:
		_, err = c.m.Activate(ctx, t.id)
		t.inactive = false
	case n < 6:
		_, err = c.m.Deactivate(ctx, t.id)
		t.inactive = true
	case n < 8:
		var s apitoken.Secret
		_, s, err = c.m.Rotate(ctx, t.id, 0, "")
		t.retired, t.secret = append(t.retired, t.secret), s.Reveal()
	default:
		err = c.m.Delete(ctx, t.id)
		c.ask("a token that was deleted", "/read", 401, "apiToken "+t.secret)
		c.tokens[i] = c.generate()
	}
	c.changes.Add(1)
	if err != nil {
		c.wrongf("a change: %v", err)
	}
}

func (c *client) generate() *owned {
	info, s, err := c.m.Generate(context.Background(), apitoken.GenerateParams{Name: "soak", Permissions: []apitoken.Permission{c.read}, Expiry: apitoken.In(24 * time.Hour)})
	if err != nil {
		c.wrongf("generate: %v", err)
		return &owned{inactive: true}
	}
	return &owned{id: info.ID, secret: s.Reveal()}
}

// add adds what a client was answered.
func (s *service) add(answers map[int]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for status, n := range answers {
		s.answers[status] += n
	}
}

func take(began time.Time) sample {
	runtime.GC()
	runtime.GC() // what finalizers have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, _ := os.ReadDir("/proc/self/fd")
	descriptors := 0
	for _, fd := range fds {
		// The pool of SQLite closes what was idle for a minute: how many files it has open follows the load.
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); !strings.HasPrefix(filepath.Base(to), "tokens.db") {
			descriptors++
		}
	}
	return sample{time.Since(began), float64(m.HeapAlloc), float64(runtime.NumGoroutine()), float64(descriptors)}
}

func TestAServiceThatRunsForLongAnswersRightAndDoesNotGrow(t *testing.T) {
	length := *duration
	if testing.Short() {
		length = min(length, 4*time.Second)
	}
	s := &service{answers: map[int]int64{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *clients, MaxConnsPerHost: *clients}}}
	var catalog apitoken.Catalog
	s.read = catalog.Define("devices:read", "See devices")
	s.write = catalog.Define("devices:write", "Change devices")
	var err error
	// On a busy machine a read of the store may wait for a processor for longer than the default MaxStaleness.
	s.auth, err = apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: open(t), StoreTimeout: time.Minute, MaxStaleness: 10 * time.Second, KeepDeleted: -1, Observe: s.observe})
	must(t, err)
	defer s.auth.Close()
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	mux := http.NewServeMux()
	mux.Handle("/read", s.auth.Require(s.read)(ok))
	mux.Handle("/write", s.auth.Require(s.write)(ok))
	var all sync.WaitGroup
	all.Add(*clients)
	mux.HandleFunc("/all", func(w http.ResponseWriter, r *http.Request) { // answers when all clients have asked
		all.Done()
		all.Wait()
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s.url = server.URL

	// More at once than the clients will ever ask for: the pool of the store opens a
	// connection when it first needs one more, which is no growth.
	var wg sync.WaitGroup
	for range 4 * *clients {
		wg.Go(func() {
			m := s.auth.As(apitoken.Actor{User: "nobody", Environment: "default"})
			for range 100 {
				if _, err := m.List(t.Context(), apitoken.ListParams{Limit: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()

	// So does the pool of the clients. And every one gets every answer once, however
	// few requests the machine has time for.
	var ready sync.WaitGroup
	ready.Add(*clients)
	start, stop := make(chan struct{}), make(chan struct{})
	for n := range *clients {
		wg.Go(func() {
			c := &client{service: s, answers: map[int]int64{}, m: s.auth.As(apitoken.Actor{
				User: fmt.Sprint("user ", n), Environment: "default", Grants: []apitoken.Permission{s.read},
			})}
			for range 20 {
				c.tokens = append(c.tokens, c.generate())
			}
			c.ask("everyone at once", "/all", 200, "")
			c.ask("a token", "/read", 200, "apiToken "+c.tokens[0].secret)
			c.ask("a permission that is missing", "/write", 403, "apiToken "+c.tokens[0].secret)
			c.ask("nothing", "/read", 401, "")
			c.ask("two of them", "/read?apiToken="+c.tokens[0].secret, 400, "apiToken "+c.tokens[0].secret)
			ready.Done()
			<-start
			for {
				select {
				case <-stop:
					s.add(c.answers)
					return
				default:
				}
				s.rest.RLock()
				if rand.IntN(200) == 0 {
					c.change()
				} else {
					c.request()
				}
				s.rest.RUnlock()
				for _, t := range c.tokens { // the oldest are as good as the newest
					t.retired = t.retired[max(0, len(t.retired)-10):]
				}
			}
		})
	}
	ready.Wait()
	close(start)
	began := time.Now()
	var samples []sample
	for time.Since(began) < length-length/50 || len(samples) < 8 {
		time.Sleep(length / 40)
		if time.Since(began) > length/5 { // caches and pools have filled
			s.rest.Lock()
			samples = append(samples, take(began))
			s.rest.Unlock()
		}
	}
	close(stop)
	wg.Wait()

	t.Logf("%d requests and %d changes in %v on %s: %d wrong; answers %v", s.requests.Load(), s.changes.Load(), length, *storeIs, s.wrong.Load(), s.answers)
	for _, w := range append(s.firstWrong, s.because...) {
		t.Error(w)
	}
	for _, status := range []int{200, 400, 401, 403} {
		if s.answers[status] == 0 {
			t.Errorf("no request got %d", status)
		}
	}
	for name, value := range map[string]func(sample) float64{
		"heap bytes":  func(s sample) float64 { return s.heap },
		"goroutines":  func(s sample) float64 { return s.goroutines },
		"descriptors": func(s sample) float64 { return s.descriptors },
	} {
		first, last := quarters(samples, value)
		least, middle := slope(samples, value)
		t.Logf("%s: %.0f in the first quarter, %.0f in the last, slope %+.1f an hour, at least %+.1f, over %d samples", name, first, last, middle, least, len(samples))
	}
	for _, what := range growth(samples) {
		t.Error(what)
	}
}
