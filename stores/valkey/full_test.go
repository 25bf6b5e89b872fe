package valkey

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// heard is a feed that notes which tokens changed.
type heard struct {
	mu     sync.Mutex
	resets int
	ids    []string
	at     time.Time
}

func (h *heard) Interval() time.Duration { return 50 * time.Millisecond }

func (h *heard) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *heard) Reset()                { h.note(func() { h.resets++ }) }
func (h *heard) Changed(ids ...string) { h.note(func() { h.ids = append(h.ids, ids...) }) }
func (h *heard) CaughtUp(at time.Time) { h.note(func() { h.at = at }) }

// all returns what it was told of everything up to now.
func (h *heard) all(t *testing.T) (ids string, resets int) {
	t.Helper()
	now := time.Now()
	for end := now.Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		h.mu.Lock()
		ids, resets, at := strings.Join(h.ids, " "), h.resets, h.at
		h.mu.Unlock()
		if at.After(now) {
			return ids, resets
		}
	}
	t.Fatal("the feed does not go on")
	return "", 0
}

// watchIn watches until the test ends, again after each error.
func watchIn(t *testing.T, s *Store) *heard {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h, ended := &heard{}, make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			s.Watch(ctx, h)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	h.all(t)
	return h
}

// fillUp leaves a server no memory to take from.
func fillUp(t *testing.T, server *testserver.RedisServer) {
	t.Helper()
	for line := range strings.Lines(do(t, server, "INFO", "memory")) {
		if used, found := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); found {
			n, err := strconv.Atoi(used)
			if err != nil {
				t.Fatal(err)
			}
			do(t, server, "CONFIG", "SET", "maxmemory", strconv.Itoa(n/2))
			return
		}
	}
	t.Fatal("the server does not say how much memory it uses")
}

func TestAFullServerTakesWhatEndsOrNarrowsATokenAndNothingElse(t *testing.T) {
	server := testserver.Redis(t)
	s, other := open(t, server), open(t, server)
	for _, id := range []string{"kept", "ended", "narrowed", "resealed", "deleted"} {
		if err := s.Create(t.Context(), record(id)); err != nil {
			t.Fatal(err)
		}
	}
	fillUp(t, server)
	change := func(id string, f func(*apitoken.Record)) error {
		t.Helper()
		rec, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		rec.Version++
		rec.History = append(rec.History, apitoken.HistoryEntry{At: noon, By: "administrator", Action: "change"})
		f(&rec)
		return s.Replace(t.Context(), rec)
	}
	for doing, err := range map[string]error{
		"Create":   s.Create(t.Context(), record("new")),
		"renaming": change("kept", func(r *apitoken.Record) { r.Name = "a name that was not there" }),
	} {
		if unavailable(t, doing, err); !strings.Contains(err.Error(), "no memory left (maxmemory)") {
			t.Errorf("%s: %v", doing, err)
		}
	}

	h := watchIn(t, other) // begins in a full server
	for doing, err := range map[string]error{
		"deactivating": change("ended", func(r *apitoken.Record) { r.Status = apitoken.StatusInactive }),
		"narrowing":    change("narrowed", func(r *apitoken.Record) { r.ExpiresAt, r.Permissions = noon, []string{"x"} }),
		"deactivating under another key": change("resealed", func(r *apitoken.Record) {
			r.Status, r.MACKeyID, r.MAC = apitoken.StatusInactive, "new", make([]byte, 32)
		}),
		"deleting": s.Delete(t.Context(), "deleted"),
	} {
		if err != nil {
			t.Errorf("%s: %v", doing, err)
		}
	}
	told, resets := h.all(t)
	for _, id := range []string{"ended", "narrowed", "resealed", "deleted"} {
		if !strings.Contains(told, id) {
			t.Errorf("the other node hears of %s only", told)
		}
	}
	if resets != 1 {
		t.Errorf("there are %d Resets", resets)
	}
	if ids, n := s.idsByName(t); len(ids) != 4 || n != 4 {
		t.Errorf("%d tokens are listed, %d counted", len(ids), n)
	}
	if macs, _, err := s.KeysInUse(t.Context()); err != nil || macs["new"] != 1 {
		t.Errorf("keys in use are %v, %v", macs, err)
	}
}

func TestAServerThatIsTooOldIsRefused(t *testing.T) {
	for version, fits := range map[string]bool{
		"7.0.15": true, "7.2.4": true, "8.0.1": true, "10.0.0": true, "255.255.255": true,
		"6.2.14": false, "6.3.4": false, "": false, "x": false,
	} {
		if err := checkVersion(version); (err == nil) != fits {
			t.Errorf("of version %q the error is %v", version, err)
		}
	}
}
