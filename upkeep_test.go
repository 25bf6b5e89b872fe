package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A cluster is a store in memory and the notices that its nodes have sent.
type cluster struct {
	t     *testing.T
	store apitoken.Store

	mu     sync.Mutex
	sent   []apitoken.Event // notices, in the order in which they were sent
	events []apitoken.Event // what observers were told
}

func newCluster(t *testing.T) *cluster { return &cluster{t: t, store: memory.New()} }

// node starts a node of the cluster that sends notices.
func (c *cluster) node(edit ...func(*apitoken.Config)) *apitoken.Authority {
	c.t.Helper()
	config := apitoken.Config{
		Prefix: "acme", Permissions: &wire, Store: c.store, MaxStaleness: apitoken.NoCache, // a feed would be polled for days
		Notify: func(_ context.Context, ev apitoken.Event) error { c.send(ev); return nil },
		Observe: func(_ context.Context, ev apitoken.Event) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.events = append(c.events, ev)
		},
	}
	for _, e := range edit {
		e(&config)
	}
	auth, err := apitoken.New(config)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { auth.Close() })
	return auth
}

// send is what a notice comes to: a mail that has been sent.
func (c *cluster) send(ev apitoken.Event) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, ev)
	return len(c.sent)
}

// notices returns what was sent, as "action name", and forgets it.
func (c *cluster) notices() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ev := range c.sent {
		list = append(list, string(ev.Action)+" "+ev.After.Name)
	}
	c.sent = nil
	return list
}

// observed returns the events with an action.
func (c *cluster) observed(action apitoken.Action) (list []apitoken.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.events), func(ev apitoken.Event) bool { return ev.Action != action })
}

// generate makes a token of ada in production.
func (c *cluster) generate(auth *apitoken.Authority, name string, expiry apitoken.Expiry) (*apitoken.TokenInfo, apitoken.Secret) {
	c.t.Helper()
	in, secret, err := auth.As(ada).Generate(c.t.Context(), apitoken.GenerateParams{Name: name, Permissions: []apitoken.Permission{wireRead}, Expiry: expiry})
	require.NoError(c.t, err)
	return in, secret
}

// A mortalStore is that of a node which can be killed: then it reaches the store no more.
type mortalStore struct {
	*memory.Store
	dead atomic.Bool
}

func (s *mortalStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.dead.Load() {
		return errors.New("the node is dead")
	}
	return s.Store.Replace(ctx, rec)
}

func TestANodeThatDiesBetweenANoticeAndItsMarkLeavesOneMore(t *testing.T) {
	const day = 24 * time.Hour
	for name, die := range map[string]func(ctx context.Context, kill func(), hang <-chan struct{}) error{
		"it lives":             func(context.Context, func(), <-chan struct{}) error { return nil },
		"it is cut off":        func(_ context.Context, kill func(), _ <-chan struct{}) error { kill(); return nil },
		"Notify fails":         func(context.Context, func(), <-chan struct{}) error { return errors.New("no answer after DATA") },
		"Notify panics":        func(context.Context, func(), <-chan struct{}) error { panic("broken") },
		"Notify obeys its end": func(ctx context.Context, _ func(), _ <-chan struct{}) error { <-ctx.Done(); return ctx.Err() },
		"Notify hangs":         func(_ context.Context, _ func(), hang <-chan struct{}) error { <-hang; return nil },
	} {
		for _, notice := range []string{"expiring", "expired", "reuse"} {
			t.Run(name+", "+notice, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t)
					hang := make(chan struct{})
					defer close(hang)
					var died atomic.Bool
					var nodes []*apitoken.Authority
					for range 3 {
						mortal := &mortalStore{Store: c.store.(*memory.Store)}
						nodes = append(nodes, c.node(func(config *apitoken.Config) {
							config.Store = mortal
							config.Notify = func(ctx context.Context, ev apitoken.Event) error {
								c.send(ev)
								if ev.Action == apitoken.Action(notice) && died.CompareAndSwap(false, true) {
									return die(ctx, func() { mortal.dead.Store(true) }, hang)
								}
								return nil
							}
						}))
					}
					in, first := c.generate(nodes[0], "deploy", apitoken.In(25*time.Hour))
					if notice == "reuse" {
						for range 2 {
							_, _, err := nodes[0].As(ada).Rotate(t.Context(), in.ID, 0, "")
							require.NoError(t, err)
						}
						for _, node := range slices.Concat(nodes, nodes) {
							_, err := node.Verify(t.Context(), apitoken.Credential{Secret: first}, apitoken.AnyToken())
							require.ErrorIs(t, err, apitoken.ErrRetiredSecret)
						}
					}
					time.Sleep(3 * day)
					want := map[string]int{"expiring deploy": 1, "expired deploy": 1}
					if notice == "reuse" {
						want["reuse deploy"] = 1
					}
					if name != "it lives" {
						want[notice+" deploy"]++
					}
					got := map[string]int{}
					for _, n := range c.notices() {
						got[n]++
					}
					assert.Equal(t, want, got)
				})
			})
		}
	}
}

func TestCloseWaitsForTheNoticeThatIsBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		sending := make(chan struct{})
		auth := c.node(func(config *apitoken.Config) {
			config.Notify = func(ctx context.Context, ev apitoken.Event) error {
				c.send(ev)
				close(sending)
				time.Sleep(time.Second)
				return ctx.Err()
			}
		})
		c.generate(auth, "deploy", apitoken.In(25*time.Hour))
		<-sending
		require.NoError(t, auth.Close())
		c.node()
		time.Sleep(3 * time.Hour)
		assert.Equal(t, []string{"expiring deploy"}, c.notices(), "the store knows of it")
	})
}

func TestANoticeThatFailsIsSentAgainAtTheNextWalkForAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		refused := errors.New("mailbox full")
		auth := c.node(func(config *apitoken.Config) {
			config.Notify = func(_ context.Context, ev apitoken.Event) error { c.send(ev); return refused }
		})
		c.generate(auth, "deploy", apitoken.In(time.Hour))
		time.Sleep(time.Hour + 7*24*time.Hour)
		n := len(c.notices())
		assert.Greater(t, n, 7*24*10/11-1)
		events := c.observed("expired")
		assert.Len(t, events, n, "the observer is told of each call")
		assert.Equal(t, refused, events[0].Err)
		time.Sleep(24 * time.Hour)
		assert.Empty(t, c.notices())
	})
}

func TestARenewalBeginsTheNoticesAnew(t *testing.T) {
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		auth := c.node()
		in, _ := c.generate(auth, "deploy", apitoken.In(50*day))
		time.Sleep(50*day - 2*time.Hour)
		assert.Equal(t, []string{"expiring deploy", "expiring deploy", "expiring deploy"}, c.notices(), "30, 7 and 1 days before")
		now, err := auth.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, in.ChangedAt, now.ChangedAt)
		assert.Equal(t, in.History, now.History)
		_, err = auth.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: apitoken.In(8 * day), IfVersion: now.Version})
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, []string{"expiring deploy"}, c.notices(), "8 days left of 58")
		time.Sleep(8*day + time.Hour)
		assert.Equal(t, []string{"expiring deploy", "expiring deploy", "expired deploy"}, c.notices())
		_, err = auth.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: apitoken.Never()})
		require.NoError(t, err)
		time.Sleep(day)
		_, err = auth.As(ada).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		_, err = auth.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Hour)})
		require.NoError(t, err)
		time.Sleep(day)
		assert.Empty(t, c.notices(), "nobody waits for an inactive token")
	})
}

func TestAWalkPassesOverAllTokensAndOverWhatItCannotJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		auth := c.node(func(config *apitoken.Config) { config.IntegrityKeys = []apitoken.Key{testKey(t)} })
		var want []string
		for i := range 600 {
			name := fmt.Sprint("token ", i)
			c.generate(auth, name, apitoken.In(25*time.Hour))
			want = append(want, "expiring "+name)
		}
		forged, _ := c.generate(auth, "forged", apitoken.In(25*time.Hour))
		rec, err := c.store.Get(t.Context(), forged.ID)
		require.NoError(t, err)
		rec.Version, rec.Owner = rec.Version+1, "grace"
		require.NoError(t, c.store.Replace(t.Context(), rec))
		time.Sleep(4 * time.Hour)
		got := c.notices()
		assert.ElementsMatch(t, want, got)
		after, err := c.store.Get(t.Context(), forged.ID)
		require.NoError(t, err)
		assert.Equal(t, rec, after)
	})
}

func TestAReuseIsANoticeOnceADayWithItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		auth := c.node()
		in, first := c.generate(auth, "deploy", apitoken.Never())
		_, second, err := auth.As(ada).Rotate(t.Context(), in.ID, 0, "")
		require.NoError(t, err)
		client := netip.MustParseAddr("192.0.2.7")
		present := func(secret apitoken.Secret) {
			t.Helper()
			_, err := auth.Verify(t.Context(), apitoken.Credential{Secret: secret, Address: client}, apitoken.AnyToken())
			require.Equal(t, secret.Reveal() == second.Reveal(), err == nil)
			synctest.Wait()
		}
		present(second)
		assert.Empty(t, c.notices())
		for range 1000 {
			present(first)
		}
		require.Len(t, c.sent, 1)
		ev := c.sent[0]
		assert.Equal(t, []string{in.ID, "ada", "production", "deploy"}, []string{ev.TokenID, ev.Owner, ev.Environment, ev.After.Name})
		assert.Equal(t, client, ev.Address)
		assert.True(t, ev.Time.Equal(time.Now()))
		time.Sleep(24*time.Hour - time.Second)
		present(first)
		assert.Equal(t, []string{"reuse deploy"}, c.notices())
		time.Sleep(time.Second)
		present(first)
		assert.Equal(t, []string{"reuse deploy"}, c.notices())
		require.NoError(t, auth.As(ada).Delete(t.Context(), in.ID))
		time.Sleep(48 * time.Hour)
		present(first)
		assert.Empty(t, c.notices())
	})
}

// A request does not wait for Notify, nor for the store.
func TestARequestWithARetiredSecretDoesNotWaitForItsNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		hang := make(chan struct{})
		defer close(hang)
		auth := c.node(func(config *apitoken.Config) {
			config.Notify = func(context.Context, apitoken.Event) error { <-hang; return nil }
		})
		var secrets []apitoken.Secret
		for range 200 {
			in, first := c.generate(auth, "deploy", apitoken.Never())
			_, _, err := auth.As(ada).Rotate(t.Context(), in.ID, 0, "")
			require.NoError(t, err)
			secrets = append(secrets, first)
		}
		began := time.Now()
		for _, secret := range secrets {
			_, err := auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
			require.ErrorIs(t, err, apitoken.ErrRetiredSecret)
		}
		assert.Zero(t, time.Since(began))
	})
}

func TestTokensThatExpiredLongAgoAreDeleted(t *testing.T) {
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var hold atomic.Bool
		hold.Store(true)
		auth := c.node(func(config *apitoken.Config) {
			config.Notify, config.KeepExpired, config.MaxLifetime = nil, 90*day, 20*day
			config.ForeignTokens = apitoken.ForeignTokens{MinLen: 32, MaxLen: 32}
			config.Audit = func(_ context.Context, ev apitoken.Event) error {
				if ev.Action == "delete" && hold.Load() {
					return &apitoken.ForbiddenError{Rule: "there is a legal hold"}
				}
				return nil
			}
		})
		gone, secret := c.generate(auth, "gone", apitoken.In(10*day))
		blocked, _ := c.generate(auth, "deactivated by an administrator", apitoken.In(10*day))
		_, err := auth.As(admin).Deactivate(t.Context(), blocked.ID)
		require.NoError(t, err)
		unlimited := goodToken.record(wireRead) // ends by MaxLifetime only
		unlimited.CreatedAt = time.Now()
		require.NoError(t, c.store.Create(t.Context(), unlimited))
		status := func(id string) apitoken.Status {
			t.Helper()
			in, err := auth.As(admin).Get(t.Context(), id)
			require.NoError(t, err)
			return in.Status
		}
		time.Sleep(100*day - time.Minute)
		assert.Equal(t, apitoken.StatusExpired, status(gone.ID))
		time.Sleep(3 * time.Hour)
		assert.Equal(t, apitoken.StatusExpired, status(gone.ID), "the audit keeps it")
		hold.Store(false)
		time.Sleep(2 * time.Hour)
		in, err := auth.As(admin).Get(t.Context(), gone.ID)
		require.NoError(t, err)
		assert.Equal(t, apitoken.StatusDeleted, in.Status)
		assert.Equal(t, "Config.KeepExpired", in.DeletedBy)
		assert.Equal(t, apitoken.HistoryEntry{At: in.DeletedAt, By: "Config.KeepExpired", Action: "delete", As: "system"}, in.History[0])
		_, err = auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
		require.ErrorIs(t, err, apitoken.ErrUnknownToken)
		time.Sleep(31 * day)
		_, err = auth.As(admin).Get(t.Context(), gone.ID)
		assert.Equal(t, apitoken.ErrNotFound, err, "purged")
		assert.Equal(t, apitoken.StatusInactive, status(blocked.ID), "its owner could import it again")
		assert.Equal(t, apitoken.StatusExpired, status(unlimited.ID), "the policy can be another tomorrow")
	})
}

func TestAnExpiredTokenThatIsExtendedMeanwhileStays(t *testing.T) {
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		auth := c.node(func(config *apitoken.Config) {
			config.Notify, config.KeepExpired = nil, 90*day
			config.Audit = func(ctx context.Context, ev apitoken.Event) error {
				if ev.Action != "delete" {
					return nil
				}
				rec, err := c.store.Get(ctx, ev.TokenID)
				require.NoError(t, err)
				rec.Version++
				rec.ExpiresAt = time.Now().Add(day)
				return c.store.Replace(ctx, rec)
			}
		})
		in, _ := c.generate(auth, "extended", apitoken.In(10*day))
		time.Sleep(100*day + 3*time.Hour)
		after, err := auth.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, apitoken.StatusActive, after.Status)
		assert.Empty(t, c.observed("delete"), "nobody deleted it")
	})
}

// A scanFault is a store that cannot be read from end to end for a while.
type scanFault struct {
	*memory.Store
	broken atomic.Bool
}

func (s *scanFault) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	if s.broken.Load() {
		return nil, errors.New("disk on fire")
	}
	return s.Store.Scan(ctx, after, limit)
}

func TestAWalkThatFailsIsObservedAndComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		store := &scanFault{Store: c.store.(*memory.Store)}
		store.broken.Store(true)
		auth := c.node(func(config *apitoken.Config) { config.Store = store })
		c.generate(auth, "deploy", apitoken.In(25*time.Hour))
		time.Sleep(150 * time.Minute)
		failed := c.observed("upkeep")
		require.Len(t, failed, 3)
		assert.Equal(t, apitoken.ErrUnavailable, failed[0].Reason)
		assert.ErrorContains(t, failed[0].Err, "disk on fire")
		assert.Empty(t, c.notices())
		store.broken.Store(false)
		time.Sleep(90 * time.Minute)
		assert.Equal(t, []string{"expiring deploy"}, c.notices())
		assert.Len(t, c.observed("upkeep"), 3, "what goes well is no event")
	})
}

// A store that cannot be read from end to end.
type unscannable struct{ apitoken.Store }

func TestUpkeepNeedsAStoreThatCanBeReadFromEndToEnd(t *testing.T) {
	notify := func(context.Context, apitoken.Event) error { return nil }
	for want, c := range map[string]apitoken.Config{
		"Config.Store is no Scanner, which Notify": {Notify: notify, Store: unscannable{memory.New()}},
		"Config.Store is no Scanner":               {KeepExpired: time.Hour, Store: unscannable{memory.New()}},
		"Config.KeepExpired is negative":           {KeepExpired: -1, Store: memory.New()},
	} {
		c.Prefix, c.Permissions = "acme", &wire
		_, err := apitoken.New(c)
		require.ErrorContains(t, err, want)
	}
}
