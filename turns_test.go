package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// admin manages the tokens of others in production, and grants nothing.
var admin = apitoken.Actor{User: "admin", Environment: "production", ManageOthers: true}

// A distantStore takes a millisecond for each call.
type distantStore struct{ apitoken.Store }

func (s distantStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	time.Sleep(time.Millisecond)
	return s.Store.Get(ctx, id)
}

func (s distantStore) Replace(ctx context.Context, rec apitoken.Record) error {
	time.Sleep(time.Millisecond)
	err := s.Store.Replace(ctx, rec)
	time.Sleep(time.Millisecond)
	return err
}

// renaming renames a token again and again, on each of the nodes from so many
// goroutines, until the function that it returns is called.
func renaming(id string, goroutines int, nodes ...*rig) (stop func()) {
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for _, g := range nodes {
		for i := range goroutines {
			wg.Go(func() {
				for n := 0; !stopped.Load(); n++ {
					name := fmt.Sprintf("%d %d", i, n)
					g.As(ada).Update(context.Background(), id, apitoken.UpdateParams{Name: &name})
				}
			})
		}
	}
	return func() { stopped.Store(true); wg.Wait() }
}

func TestARevocationIsNotLostToAnOwnerWhoRenames(t *testing.T) {
	rounds := 20
	if apitoken.RaceEnabled {
		rounds = 2
	}
	for what, revoke := range map[string]func(g *rig, id string) error{
		"deactivate": func(g *rig, id string) error { _, err := g.As(admin).Deactivate(context.Background(), id); return err },
		"narrow": func(g *rig, id string) error {
			_, err := g.As(admin).Update(context.Background(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}})
			return err
		},
		"rotate": func(g *rig, id string) error {
			_, _, err := g.As(ada).Rotate(context.Background(), id, 0, "")
			return err
		},
		"end an overlap": func(g *rig, id string) error {
			_, err := g.As(ada).EndOverlap(context.Background(), id)
			return err
		},
		"delete": func(g *rig, id string) error { return g.As(admin).Delete(context.Background(), id) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{c.Store} })
				another := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{g.store} })
				for range rounds {
					in, _ := g.generate(t)
					if what == "end an overlap" {
						_, _, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
						require.NoError(t, err)
					}
					stop := renaming(in.ID, 50, g, another)
					time.Sleep(100 * time.Millisecond)
					began := time.Now()
					assert.NoError(t, revoke(g, in.ID))
					assert.Less(t, time.Since(began), 2*time.Second)
					stop()
				}
			})
		})
	}
}

// An owner whose secret has leaked ends it. The thief has called first, many times.
func TestEndingASecretGoesBeforeTheOtherChangesOfAnOwner(t *testing.T) {
	for what, end := range map[string]func(g *rig, id string) error{
		"rotate": func(g *rig, id string) error {
			_, _, err := g.As(ada).Rotate(context.Background(), id, 0, "")
			return err
		},
		"end an overlap": func(g *rig, id string) error {
			_, err := g.As(ada).EndOverlap(context.Background(), id)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{c.Store} })
				in, _ := g.generate(t)
				if what == "end an overlap" {
					_, _, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
					require.NoError(t, err)
				}
				var wg sync.WaitGroup
				for i := range 500 {
					wg.Go(func() { g.As(ada).Update(context.Background(), in.ID, apitoken.UpdateParams{Name: new(fmt.Sprint(i))}) })
				}
				time.Sleep(100 * time.Millisecond)
				began := time.Now()
				assert.NoError(t, end(g, in.ID))
				assert.Less(t, time.Since(began), 100*time.Millisecond)
				wg.Wait()
			})
		})
	}
}

// To take a rotation back gives the old secret a longer life, and has no rank.
func TestTakingARotationBackIsNoRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{c.Store} })
		in, _ := g.generate(t)
		_, _, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
		require.NoError(t, err)
		var wg sync.WaitGroup
		var made atomic.Int64
		for i := range 50 {
			wg.Go(func() {
				_, err := g.As(ada).Update(context.Background(), in.ID, apitoken.UpdateParams{Name: new(fmt.Sprint(i))})
				assert.NoError(t, err)
				made.Add(1)
			})
		}
		time.Sleep(10 * time.Millisecond)
		_, err = g.As(ada).UndoRotation(t.Context(), in.ID)
		assert.NoError(t, err)
		assert.EqualValues(t, 50, made.Load(), "who came first is first")
		wg.Wait()
	})
}

func TestAllOrdinaryChangesOfATokenAreMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{c.Store} })
		in, _ := g.generate(t)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				name := fmt.Sprint(i)
				_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Name: &name})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		after, err := g.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, in.Version+100, after.Version)
	})
}

// An audit that hangs keeps the turn of the change that it was asked about.
func TestARevocationDoesNotWaitForAChangeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		g := newRig(t, func(c *apitoken.Config) {
			c.Audit = func(ctx context.Context, ev apitoken.Event) error {
				if ev.Actor == "ada" && ev.Action == "update" {
					<-hang
				}
				return nil
			}
		})
		in, _ := g.generate(t)
		var wg sync.WaitGroup
		wg.Go(func() { g.As(ada).Update(context.Background(), in.ID, apitoken.UpdateParams{Name: new("x")}) })
		synctest.Wait()
		began := time.Now()
		_, err := g.As(admin).Update(t.Context(), in.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Hour)}) // of a token that had none
		assert.NoError(t, err)
		_, err = g.As(admin).Deactivate(t.Context(), in.ID)
		assert.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		close(hang)
		wg.Wait()
	})
}

func TestACallerWhoGoesAwayLeavesTheTurnToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{c.Store} })
		in, _ := g.generate(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := g.As(ada).Update(ctx, in.ID, apitoken.UpdateParams{Name: new("x" + time.Now().String())})
				assert.True(t, err == nil || errors.Is(err, apitoken.ErrUnavailable), err)
			})
		}
		time.Sleep(3 * time.Millisecond / 2) // one has the turn, and the others wait for it
		cancel()
		wg.Wait()
		began := time.Now()
		_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Name: new("last")})
		assert.NoError(t, err)
		assert.Less(t, time.Since(began), 100*time.Millisecond)
	})
}

func TestATokenRestsAfterAnOrdinaryChangeForAsLongAsThatTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.Store = distantStore{c.Store} })
		in, _ := g.generate(t)
		began := time.Now()
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			wg.Go(func() {
				_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Name: &name})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		// Both read for 1 ms. One writes for 2 ms, the token rests for 2 ms, and the other reads anew and writes.
		assert.Equal(t, 8*time.Millisecond, time.Since(began))
	})
}
