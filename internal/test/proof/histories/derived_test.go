//go:build unix

package histories

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// staleness is the promise of the nodes that do not make the changes.
const staleness = 100 * time.Millisecond

// newFleetService returns three nodes over one store. The first makes the changes. The second is
// rolling back to an earlier key: its derived tokens are made under that one. The third does not
// have the earlier key, as after a restart without it, and follows the store's feed.
func newFleetService(t *testing.T, store, second apitoken.Store) *service {
	catalog := new(apitoken.Catalog)
	f := newFleet(catalog)
	key := func(id string) apitoken.Key {
		k, err := apitoken.NewKey(id, bytes.Repeat([]byte(id), 32)[:32])
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	add := func(s apitoken.Store, n node, age time.Duration, keys ...apitoken.Key) {
		n.Authority = newAuthority(t, s, catalog, func(c *apitoken.Config) {
			c.IntegrityKeys, c.OwnerPermissions, c.CacheEntries, c.MaxStaleness = keys, f.ownerPermissions, tokens-2, age
		})
		f.nodes = append(f.nodes, n)
	}
	add(unwatched{store}, node{own: true, newKey: true, all: true}, 1000*time.Hour, key("new"), key("old"))
	add(unwatched{second}, node{all: true}, staleness, key("old"), key("new"))
	add(store, node{newKey: true}, staleness, key("new"))
	return &service{change: f.nodes[0].Authority, perms: f.perms, fleet: f, pace: 100 * time.Microsecond}
}

// What is done to the parent, to its owner and to keys on one node holds for derived tokens on
// every node within MaxStaleness, on the node itself at once; and until then they are accepted.
func TestADerivedTokenIsAcceptedAsLongAsItsParentAndNoLonger(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			store := s.open(t)
			sv := newFleetService(t, store, store)
			start := time.Now()
			var checked, changes, behind, stale int
			seen := map[outcome]int{}
			missing := func() (left []outcome) {
				for _, o := range []outcome{accepted, sawUnknown, sawInactive, sawRetired, sawExpired, sawNoOwner, sawMissing, sawOutside} {
					if seen[o] == 0 {
						left = append(left, o)
					}
				}
				return left
			}
			for round := 0; checked < int(*ops/10) || len(missing()) > 0 && round < 100; round++ {
				for _, history := range sv.run(t.Context(), 4, 2, 2000, 20*time.Millisecond) {
					late, err := check(history, 0, sv.fleet.rights...)
					if err != nil {
						t.Fatal(err)
					}
					wrong, err := check(history, staleness, sv.fleet.rights...)
					if err != nil {
						t.Fatal(err)
					}
					for _, w := range wrong {
						if stale++; stale <= 5 {
							t.Error(w)
						}
					}
					behind += len(late)
					for _, o := range history {
						if o.kind == present {
							checked++
							seen[o.outcome]++
						} else {
							changes++
						}
					}
				}
			}
			t.Logf("%d derived tokens and parents presented beside %d changes in %v: %d saw a version that had been replaced, %d for longer than %v; %s",
				checked, changes, time.Since(start).Round(time.Second), behind, stale, staleness, fmt.Sprint(seen))
			if missing := missing(); len(missing) > 0 {
				t.Errorf("nobody ever got %q", missing)
			}
		})
	}
}

// The control: a node that keeps what it has read once.
func TestANodeThatKeepsParentsForeverIsCaught(t *testing.T) {
	store := memory.New()
	sv := newFleetService(t, store, &naive{Store: store, cache: map[string]apitoken.Record{}})
	for range 100 {
		for _, history := range sv.run(t.Context(), 4, 2, 2000, 20*time.Millisecond) {
			wrong, err := check(history, staleness, sv.fleet.rights...)
			if err != nil {
				t.Fatal(err)
			}
			if len(wrong) > 0 {
				return
			}
		}
	}
	t.Error("the checker finds nothing")
}
