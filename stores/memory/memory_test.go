package memory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func TestMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		return memory.New()
	})
}

func TestTheZeroStoreIsReady(t *testing.T) {
	var store memory.Store
	if err := store.Create(t.Context(), apitoken.Record{ID: "token"}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), "token"); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryIsAWatcher(t *testing.T) {
	storetest.RunWatch(t, func(*testing.T) storetest.Nodes {
		store := memory.New()
		return storetest.Nodes{Open: func(*testing.T) apitoken.Store { return store }}
	})
}

// A slowFeed does not return from its first Changed until that is done.
type slowFeed struct {
	until func()
	calls chan string
}

func (f *slowFeed) Interval() time.Duration { return time.Hour }
func (f *slowFeed) CaughtUp(time.Time)      {}
func (f *slowFeed) Reset()                  { f.calls <- "Reset" }
func (f *slowFeed) Changed(ids ...string) {
	f.calls <- fmt.Sprint("Changed ", len(ids))
	if f.until != nil {
		f.until()
		f.until = nil
	}
}

func TestChangesThatNobodyTakesAreDroppedForAReset(t *testing.T) {
	for _, c := range []struct {
		n    int
		then []string
	}{
		{10_000, []string{"Changed 10000"}},
		{10_001, []string{"Reset", "Changed 1"}},
		{35_000, []string{"Reset", "Changed 5000"}},
	} {
		store := memory.New()
		create := func(id string) {
			if err := store.Create(t.Context(), apitoken.Record{ID: id}); err != nil {
				t.Error(err)
			}
		}
		feed := &slowFeed{calls: make(chan string, 100), until: func() {
			for i := range c.n {
				create(fmt.Sprint("token ", i))
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- store.Watch(ctx, feed) }()
		said := []string{<-feed.calls}
		create("first")
		for range 1 + len(c.then) {
			said = append(said, <-feed.calls)
		}
		if want := append([]string{"Reset", "Changed 1"}, c.then...); fmt.Sprint(said) != fmt.Sprint(want) {
			t.Errorf("with %d changes, the feed is told %q, not %q", c.n, said, want)
		}
		cancel()
		<-done
	}
}

// A busyContext does something in each call of Err.
type busyContext struct {
	context.Context
	each func()
}

func (c *busyContext) Err() error {
	c.each()
	return c.Context.Err()
}

func TestAChangeAndAGetDoNotWaitForAList(t *testing.T) {
	store := memory.New()
	rec := apitoken.Record{ID: "token", Version: 1, Environment: "default"}
	for _, id := range []string{"token", "a", "b", "c"} {
		one := rec
		one.ID = id
		if err := store.Create(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	changes := 0
	ctx := &busyContext{t.Context(), func() {
		rec.Version++
		changes++
		if err := store.Replace(t.Context(), rec); err != nil {
			t.Error(err)
		}
		if _, err := store.Get(t.Context(), "token"); err != nil {
			t.Error(err)
		}
	}}
	page, err := store.List(ctx, apitoken.Query{Environment: "default", Order: apitoken.ByName, Limit: 10})
	if err != nil || len(page.Records) != 4 || changes < 4 {
		t.Errorf("%d records, %d changes while they were listed, %v", len(page.Records), changes, err)
	}
}

func TestAListEndsWithItsContext(t *testing.T) {
	store := memory.New()
	if err := store.Create(t.Context(), apitoken.Record{ID: "token", Environment: "default"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	_, err := store.List(&busyContext{ctx, func() {
		if asked++; asked == 2 {
			cancel()
		}
	}}, apitoken.Query{Environment: "default", Order: apitoken.ByName, Limit: 10})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAWalkSortsTheTokensOnce(t *testing.T) {
	const tokens = 20_000
	store := memory.New()
	for i := range tokens {
		if err := store.Create(t.Context(), apitoken.Record{ID: fmt.Sprintf("token %05d", i*7919%tokens)}); err != nil {
			t.Fatal(err)
		}
	}
	page := func(after string) (bytes uint64) {
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		recs, err := store.Scan(t.Context(), after, 1)
		runtime.ReadMemStats(&now)
		if err != nil || len(recs) != 1 {
			t.Fatalf("after %q: %d records, %v", after, len(recs), err)
		}
		return now.TotalAlloc - before.TotalAlloc
	}
	page("")
	if bytes := page("token 00007"); bytes > tokens {
		t.Errorf("the second page allocated %d bytes", bytes)
	}
}

func TestAWalkSeesEveryTokenThatStays(t *testing.T) {
	store := memory.New()
	create := func(id string) {
		if err := store.Create(t.Context(), apitoken.Record{ID: id}); err != nil {
			t.Error(err)
		}
	}
	for i := range 300 {
		create(fmt.Sprintf("stays %03d", i))
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for n := range 2 {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("stays %03d goes %d", i%300, n)
				create(id)
				if err := store.Delete(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		stay, last := 0, ""
		for {
			recs, err := store.Scan(t.Context(), last, 7)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range recs {
				if rec.ID <= last {
					t.Fatalf("%q after %q", rec.ID, last)
				}
				if last = rec.ID; len(last) == len("stays 000") {
					stay++
				}
			}
			if len(recs) < 7 {
				break
			}
		}
		if stay != 300 {
			t.Errorf("a walk saw %d of 300 tokens", stay)
		}
	}
	close(stop)
	others.Wait()
}
