//go:build unix

package scale

import (
	"context"
	"flag"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var hot = flag.Int("tokens", 2000, "how many tokens are in use at once")

// A countingStore counts the reads of tokens.
type countingStore struct {
	*memory.Store
	reads atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, id)
}

// Each token is used once a second for five minutes of virtual time, the first time all in
// the same second, as after a start.
func TestTokensInUseAreReadAgainEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = time.Minute
		store := &countingStore{Store: memory.New()}
		auth, err := apitoken.New(apitoken.Config{Prefix: "scale", Permissions: &catalog, Store: store, MaxCacheAge: age})
		if err != nil {
			t.Fatal(err)
		}
		defer auth.Close()
		synctest.Wait() // for the feed
		var secrets []apitoken.Secret
		for range *hot {
			_, secret, err := auth.As(owner).Generate(t.Context(), apitoken.GenerateParams{
				Name: "hot", Permissions: []apitoken.Permission{use}, Expiry: apitoken.Never(),
			})
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, secret)
		}
		var seconds []int64 // reads in each
		for range 300 {
			before := store.reads.Load()
			for _, secret := range secrets {
				if _, err := auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.All(use)); err != nil {
					t.Fatal(err)
				}
			}
			seconds = append(seconds, store.reads.Load()-before)
			time.Sleep(time.Second)
		}
		if seconds[0] != int64(*hot) {
			t.Fatalf("%d tokens were read in the first second", seconds[0])
		}
		most := func(seconds []int64) (most, sum int64) {
			for _, n := range seconds {
				most, sum = max(most, n), sum+n
			}
			return most, sum
		}
		start, _ := most(seconds[1:120])
		last, sum := most(seconds[240:])
		t.Logf("%d tokens in use, MaxCacheAge %v: at most %d reads a second in the first two minutes after all were read at once, at most %d in the fifth, %.0f on average",
			*hot, age, start, last, float64(sum)/60)
		// Spread evenly over half of a minute are a 30th in each second; twice as many is a heap.
		if limit := int64(*hot) / 15; start > limit || last > limit {
			t.Errorf("at most %d tokens may be read in a second", limit)
		}
		if low, high := int64(*hot), 2*int64(*hot); sum < low || sum > high {
			t.Errorf("in the fifth minute tokens are read %d times; each is to be read once or twice", sum)
		}
	})
}
