//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

const nodes = 3

var (
	catalog apitoken.Catalog
	use     = catalog.Define("use", "Use the service")
	owner   = apitoken.Actor{User: "ada", Environment: "proof", Grants: []apitoken.Permission{use}}
)

// A fleet is three nodes of a service, each with connections of its own to one
// engine. Nothing is asserted while it runs: every request leaves its trace at
// its token, and judge looks at all of them afterwards.
type fleet struct {
	zero  time.Time // of all moments, which are in nanoseconds since
	nodes [nodes]*node

	bound time.Duration // how long after its acknowledgement a deactivation may be unknown elsewhere

	mu     sync.Mutex
	tokens []*token

	requests  atomic.Int64
	malformed atomic.Int64 // answers that are neither 200, 401 nor 503
}

type node struct {
	auth    *apitoken.Authority
	db      database
	handler http.Handler
}

// A nodeStore hears of changes by another way than it reads and writes, so that
// the feed alone can fail.
type nodeStore struct {
	database
	feed apitoken.Watcher
}

func (s nodeStore) Watch(ctx context.Context, feed apitoken.Feed) error {
	return s.feed.Watch(ctx, feed)
}

// newFleet starts nodes whose feed goes through the address via.
func newFleet(t testing.TB, e *engine, via string, maxStaleness, timeout time.Duration, edit ...func(*apitoken.Config)) *fleet {
	f := &fleet{zero: time.Now(), bound: maxStaleness}
	for i := range f.nodes {
		db, err := e.open(t.Context(), e.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		feed := db
		if via != e.addr {
			if feed, err = e.open(t.Context(), via); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { feed.Close() })
		}
		f.nodes[i] = newNode(t, nodeStore{db, feed}, maxStaleness, timeout, edit...)
	}
	return f
}

// keys are what a careful operator has: rows have a MAC, secrets are encrypted.
var keys = func() (ring [2][]apitoken.Key) {
	for i := range ring {
		key, err := apitoken.NewKey("proof", bytes.Repeat([]byte{byte(i + 1)}, 32))
		if err != nil {
			panic(err)
		}
		ring[i] = []apitoken.Key{key}
	}
	return ring
}()

func newNode(t testing.TB, store nodeStore, maxStaleness, timeout time.Duration, edit ...func(*apitoken.Config)) *node {
	config := apitoken.Config{
		Prefix: "proof", Permissions: &catalog, Store: store, IntegrityKeys: keys[0], EncryptionKeys: keys[1],
		MaxStaleness: maxStaleness, StoreTimeout: timeout,
	}
	for _, e := range edit {
		e(&config)
	}
	auth, err := apitoken.New(config)
	for end := time.Now().Add(time.Minute); errors.Is(err, context.DeadlineExceeded) && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		auth, err = apitoken.New(config) // the store is given little time, and the machine may be busy
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { auth.Close() })
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	return &node{auth, store, auth.Require(use)(accept)}
}

// awaitFeeds waits until all nodes hear of changes.
func (f *fleet) awaitFeeds(t testing.TB) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !slices.ContainsFunc(f.nodes[:], func(n *node) bool { return !n.auth.Stats().Feed }) {
			return
		}
	}
	t.Fatal("the feeds do not begin")
}

func (f *fleet) now() int64 { return int64(time.Since(f.zero)) }

// A token is followed from when it was generated.
type token struct {
	id, credentials string

	by            int          // the node that deactivates it
	called, acked atomic.Int64 // when Deactivate was called, and when it had returned nil; 0: never

	seen [nodes]struct {
		accepted atomic.Int64 // when the last accepted request began
		refused  atomic.Int64 // when the first request that was refused had its answer
	}
}

// generate makes a token on a node.
func (f *fleet) generate(ctx context.Context, on int) (*token, error) {
	info, secret, err := f.nodes[on].auth.As(owner).Generate(ctx, apitoken.GenerateParams{
		Name: "Proof", Permissions: []apitoken.Permission{use}, Expiry: apitoken.Never(),
	})
	if err != nil {
		return nil, err
	}
	tok := &token{id: info.ID, credentials: "apiToken " + secret.Reveal()}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = append(f.tokens, tok)
	return tok, nil
}

// mustGenerate makes n tokens before it begins, for which it is patient.
func (f *fleet) mustGenerate(t testing.TB, n int) {
	errs := make([]error, min(n, 8))
	var group sync.WaitGroup
	for w := range errs {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				for range 20 {
					if _, errs[w] = f.generate(t.Context(), i%nodes); errs[w] == nil {
						break
					}
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// deactivate revokes a token on a node. After an error nobody knows what became
// of it.
func (f *fleet) deactivate(ctx context.Context, on int, tok *token) error {
	tok.by = on
	tok.called.CompareAndSwap(0, f.now()) // the first time, of several
	_, err := f.nodes[on].auth.As(owner).Deactivate(ctx, tok.id)
	if err == nil {
		tok.acked.Store(f.now())
	}
	return err
}

// request sends a request with a token to a node, and notes what came of it.
func (f *fleet) request(on int, tok *token) (status int, took time.Duration) {
	r, _ := http.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", tok.credentials)
	w := answer{header: make(http.Header)}
	began := f.now()
	f.nodes[on].handler.ServeHTTP(&w, r)
	ended := f.now()
	f.requests.Add(1)
	switch w.status {
	case http.StatusOK:
		raise(&tok.seen[on].accepted, began)
	case http.StatusUnauthorized:
		tok.seen[on].refused.CompareAndSwap(0, ended)
	case http.StatusServiceUnavailable:
	default:
		f.malformed.Add(1)
	}
	return w.status, time.Duration(ended - began)
}

func raise(a *atomic.Int64, to int64) {
	for {
		old := a.Load()
		if old >= to || a.CompareAndSwap(old, to) {
			return
		}
	}
}

// hammer sends requests with a token to a node, one each pause, until enough
// says so of the last answer.
func (f *fleet) hammer(on int, tok *token, pause time.Duration, enough func(status int) bool) {
	for {
		if status, _ := f.request(on, tok); enough(status) {
			return
		}
		time.Sleep(pause)
	}
}

func (f *fleet) anyToken() *token {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tokens[rand.IntN(len(f.tokens))]
}

// An answer is a response of which only the status matters.
type answer struct {
	header http.Header
	status int
}

func (w *answer) Header() http.Header         { return w.header }
func (w *answer) Write(b []byte) (int, error) { return len(b), nil }
func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// A verdict is what the traces say.
type verdict struct {
	revoked int
	other   times // from the acknowledgement to the first refusal on each other node, which may be before it
	latest  time.Duration

	wrong []string // what breaks the promise
}

// judge looks at the traces of all tokens, while nothing runs any more.
func (f *fleet) judge() verdict {
	var v verdict
	wrong := func(format string, args ...any) { v.wrong = append(v.wrong, fmt.Sprintf(format, args...)) }
	for _, tok := range f.tokens {
		called, acked := tok.called.Load(), tok.acked.Load()
		if acked > 0 {
			v.revoked++
		}
		for n := range nodes {
			accepted, refused := tok.seen[n].accepted.Load(), tok.seen[n].refused.Load()
			if refused > 0 && (called == 0 || refused < called) {
				wrong("a token was refused by node %d before anybody had deactivated it", n)
			}
			if acked == 0 {
				continue
			}
			late := time.Duration(accepted - acked)
			if n == tok.by {
				if late > 0 {
					wrong("node %d accepted a token %v after it had acknowledged its deactivation", n, late)
				}
				continue
			}
			if accepted > 0 {
				v.latest = max(v.latest, late)
			}
			if late > f.bound {
				wrong("node %d accepted a token %v after another node had acknowledged its deactivation; the bound is %v", n, late, f.bound)
			}
			if refused > 0 {
				v.other = append(v.other, time.Duration(refused-acked))
			}
		}
	}
	if n := f.malformed.Load(); n > 0 {
		wrong("%d answers were neither 200, 401 nor 503", n)
	}
	return v
}

// settled checks, once all is well again, that nothing which was acknowledged is
// lost: in the store, and at every node.
func (f *fleet) settled(ctx context.Context) (wrong []string) {
	for _, tok := range f.tokens {
		called, acked := tok.called.Load() > 0, tok.acked.Load() > 0
		if called && !acked {
			continue // either way
		}
		rec, err := f.nodes[0].db.Get(ctx, tok.id)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("a token whose generation was acknowledged: %v", err))
			continue
		}
		if (rec.Status == apitoken.StatusInactive) != acked {
			wrong = append(wrong, fmt.Sprintf("the store has a token as %s; its deactivation was acknowledged: %t", rec.Status, acked))
		}
		want := http.StatusOK
		if acked {
			want = http.StatusUnauthorized
			// Nodes may not have heard of it until then.
			time.Sleep(time.Duration(tok.acked.Load()-f.now()) + f.bound + time.Millisecond)
		}
		for n := range nodes {
			status, _ := f.request(n, tok)
			for begun := time.Now(); status == http.StatusServiceUnavailable && time.Since(begun) < time.Minute; {
				time.Sleep(50 * time.Millisecond) // a busy machine: the store took longer than a request waits
				status, _ = f.request(n, tok)
			}
			if status != want {
				wrong = append(wrong, fmt.Sprintf("node %d answers %d for a token where it has to be %d", n, status, want))
			}
		}
	}
	return wrong
}

// times are durations of the same thing.
type times []time.Duration

// at returns a quantile: the median for 0.5, the longest for 1.
func (d times) at(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
