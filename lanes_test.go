package apitoken_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A hangingStore never answers, for all but one token, until hang is closed.
type hangingStore struct {
	apitoken.Store
	hang    chan struct{}
	spared  string // the ID of a token
	running atomic.Int64
}

func (s *hangingStore) wait() {
	s.running.Add(1)
	defer s.running.Add(-1)
	<-s.hang
}

func (s *hangingStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if id != s.spared && s.spared != "" {
		s.wait()
	}
	return s.Store.Get(ctx, id)
}

func (s *hangingStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	s.wait()
	return s.Store.List(ctx, q)
}

// A flood is many calls of Managers that nobody answers, beside which one token is
// rotated, deactivated and deleted.
func TestRevocationsPassAFloodThatTheStoreDoesNotAnswer(t *testing.T) {
	for what, test := range map[string]struct {
		call func(m *apitoken.Manager, id string) error
		most int64 // calls that run in the store, of 64 MaxConcurrentLookups
	}{
		"get": {func(m *apitoken.Manager, id string) error { _, err := m.Get(context.Background(), id); return err }, 64},
		"list": {func(m *apitoken.Manager, _ string) error {
			_, err := m.List(context.Background(), apitoken.ListParams{})
			return err
		}, 8},
		"update": {func(m *apitoken.Manager, id string) error {
			_, err := m.Update(context.Background(), id, apitoken.UpdateParams{Name: new("x")})
			return err
		}, 64},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &hangingStore{hang: make(chan struct{})}
				g := newRig(t, func(c *apitoken.Config) { s.Store, c.Store = c.Store, s })
				in, _ := g.generate(t)
				other, _ := g.generate(t)
				s.spared = in.ID
				var wg sync.WaitGroup
				for range 500 {
					wg.Go(func() { assert.ErrorIs(t, test.call(g.As(ada), other.ID), apitoken.ErrUnavailable) })
				}
				synctest.Wait()
				assert.LessOrEqual(t, s.running.Load(), test.most)
				began := time.Now()
				_, _, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
				assert.NoError(t, err)
				_, err = g.As(ada).EndOverlap(t.Context(), in.ID)
				assert.NoError(t, err)
				_, err = g.As(admin).Deactivate(t.Context(), in.ID)
				assert.NoError(t, err)
				_, err = g.As(admin).Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{in.ID}})
				assert.NoError(t, err)
				assert.NoError(t, g.As(admin).Delete(t.Context(), in.ID))
				assert.Zero(t, time.Since(began))
				wg.Wait()
				assert.LessOrEqual(t, s.running.Load(), test.most, "what is left behind")
				close(s.hang)
				synctest.Wait()
			})
		})
	}
}

func TestFloodsOfRevocationsAreBoundedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &hangingStore{hang: make(chan struct{}), spared: "none"}
		g := newRig(t, func(c *apitoken.Config) { s.Store, c.Store = c.Store, s })
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				_, err := g.As(ada).Deactivate(t.Context(), goodToken.id)
				assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			})
		}
		wg.Wait()
		assert.LessOrEqual(t, s.running.Load(), int64(16))
		close(s.hang)
		synctest.Wait()
	})
}

func TestRevocationsPassAFloodThatTheAuditDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var running atomic.Int64
		g := newRig(t, func(c *apitoken.Config) {
			c.Audit = func(_ context.Context, ev apitoken.Event) error {
				if ev.Before == nil || strings.HasPrefix(ev.Before.Name, "spared") {
					return nil
				}
				running.Add(1)
				defer running.Add(-1)
				<-hang
				return nil
			}
		})
		in, _ := g.generate(t, func(p *apitoken.GenerateParams) { p.Name = "spared" })
		var others []string
		for range 300 {
			other, _ := g.generate(t)
			others = append(others, other.ID)
		}
		var wg sync.WaitGroup
		for _, id := range others {
			wg.Go(func() {
				_, err := g.As(ada).Update(t.Context(), id, apitoken.UpdateParams{Name: new("x")})
				assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			})
		}
		synctest.Wait()
		assert.LessOrEqual(t, running.Load(), int64(64))
		began := time.Now()
		_, _, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
		require.NoError(t, err)
		_, err = g.As(ada).EndOverlap(t.Context(), in.ID)
		require.NoError(t, err)
		_, err = g.As(ada).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
		wg.Wait()
		close(hang)
		synctest.Wait()
	})
}
