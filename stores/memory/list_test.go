package memory_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	someTime = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	digest   = sha256.Sum256([]byte("secret"))
)

// change makes one of all changes that there are, to one of n tokens.
func change(t *testing.T, store *memory.Store, n int) {
	ctx, id := context.Background(), fmt.Sprint("token ", rand.IntN(n))
	at := someTime.Add(time.Duration(rand.IntN(100)) * time.Hour)
	rec, err := store.Get(ctx, id)
	switch {
	case err != nil:
		store.Create(ctx, apitoken.Record{ID: id, Version: 1, Environment: "default", Owner: "ada", Name: fmt.Sprint("Name ", rand.IntN(100)),
			Status: apitoken.StatusActive, CreatedAt: at, Secrets: []apitoken.SecretRecord{{Digest: digest[:]}}})
	case rand.IntN(4) == 0:
		store.Delete(ctx, id)
	case rand.IntN(2) == 0:
		rec.Version, rec.Name, rec.ExpiresAt = rec.Version+1, fmt.Sprint("Name ", rand.IntN(100)), at
		store.Replace(ctx, rec)
	default:
		if err := store.Touch(ctx, []apitoken.Use{{ID: id, Digest: digest[:], Source: apitoken.Bearer(), At: at}}); err != nil {
			t.Error(err)
		}
	}
}

// sameLists compares the lists of a store with those of one that is new and has the same tokens.
func sameLists(t *testing.T, store *memory.Store) {
	t.Helper()
	recs, err := store.Scan(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	fresh := memory.New()
	for _, rec := range recs {
		uses := rec.Uses
		if err := fresh.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		fresh.Touch(t.Context(), uses)
	}
	for _, order := range []apitoken.Order{apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed} {
		for _, descending := range []bool{false, true} {
			q := apitoken.Query{Environment: "default", Order: order, Descending: descending, Limit: 7}
			for n := 0; ; n += q.Limit {
				got, err := store.List(t.Context(), q)
				want, err2 := fresh.List(t.Context(), q)
				if err != nil || err2 != nil || got.Count != len(recs) || !reflect.DeepEqual(got, want) {
					t.Fatalf("by %s, descending %v, after %d of %d: %v, %v, not %v, %v", order, descending, n, len(recs), got, err, want, err2)
				}
				if q.After = got.Next; q.After == nil {
					break
				}
			}
		}
	}
}

func TestAListHasEveryChange(t *testing.T) {
	testserver.Unwatched(t)
	store := memory.New()
	for range 20 {
		for range 30 {
			change(t, store, 60)
		}
		sameLists(t, store)
	}
	for range 10_001 { // more than lists are kept for
		change(t, store, 60)
	}
	sameLists(t, store)
}

func TestAListHasEveryChangeThatWasMadeBesideLists(t *testing.T) {
	store := memory.New()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				change(t, store, 60)
			}
		})
		all.Go(func() {
			for range 100 {
				if _, err := store.List(t.Context(), apitoken.Query{Environment: "default", Order: apitoken.ByName, Limit: 10}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	sameLists(t, store)
}

func TestATokenIsFoundInAnyCase(t *testing.T) {
	store := memory.New()
	for i, name := range []string{"Ökostrom ÄÖÜ", "\xc3\x28 broken", "Straße"} {
		store.Create(t.Context(), apitoken.Record{ID: fmt.Sprint(i), Environment: "default", Owner: "Ada", Name: name})
	}
	for text, want := range map[string]int{"ada": 3, "ökostrom": 1, "äöü": 1, "broken": 1, "straße": 1, "nothing": 0} {
		page, err := store.List(t.Context(), apitoken.Query{Environment: "default", Order: apitoken.ByName, Limit: 10, Text: text})
		if err != nil || page.Count != want {
			t.Errorf("%q: %d tokens, not %d, %v", text, page.Count, want, err)
		}
	}
}
