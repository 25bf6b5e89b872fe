package managertest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// patience is how long a condition may take to become true on a busy machine.
const patience = 3 * time.Minute

// RunReadOnly revokes tokens while an engine can be read and not written, which it is
// between begin and end. The node that was asked says that the tokens may still be
// accepted, refuses them at once, and revokes them when the engine can be written
// again, unless somebody has changed them meanwhile.
func RunReadOnly(t *testing.T, store apitoken.Store, begin, end func()) {
	s := Suite{func(*testing.T) apitoken.Store { return store }}
	var audited atomic.Int64
	w := s.newWorld(t, withPatience, func(c *apitoken.Config) {
		c.Audit = func(_ context.Context, ev apitoken.Event) error {
			if ev.Action != "generate" {
				audited.Add(1)
			}
			return nil
		}
	})
	other := s.newWorldOn(t, store, withPatience, func(c *apitoken.Config) { c.MaxStaleness = apitoken.NoCache })

	type revoked struct {
		what   string
		revoke func(id string) error
		id     string
		secret apitoken.Secret
	}
	deactivateAs := func(actor apitoken.Actor) func(id string) error {
		return func(id string) error {
			_, err := w.auth.As(actor).Deactivate(t.Context(), id)
			return err
		}
	}
	tokens := []revoked{
		{what: "deactivated by its owner", revoke: deactivateAs(w.ada)},
		{what: "deactivated by an administrator", revoke: deactivateAs(w.admin)},
		{what: "deleted", revoke: func(id string) error { return w.auth.As(w.admin).Delete(t.Context(), id) }},
		{what: "deactivated, and then changed by another node", revoke: deactivateAs(w.admin)},
	}
	for i := range tokens {
		k := &tokens[i]
		info, secret := w.generate(w.ada)
		k.id, k.secret = info.ID, secret
		require.True(t, w.works(k.secret), k.what)
	}

	begin()
	var revocations sync.WaitGroup
	for _, k := range tokens {
		revocations.Go(func() {
			err := k.revoke(k.id)
			assert.ErrorIs(t, err, apitoken.ErrUnavailable, k.what)
			assert.ErrorContains(t, err, "the token may still be accepted", k.what)
			status, called := w.get(k.secret)
			assert.Equal(t, 401, status, k.what)
			assert.False(t, called, k.what)
		})
	}
	revocations.Wait()
	for _, k := range tokens {
		assert.True(t, other.works(k.secret), "%s: another node knows nothing of it", k.what)
	}
	w.eventually("a revocation is tried again", func() bool { return audited.Load() > int64(len(tokens)) })
	for _, k := range tokens {
		assert.False(t, w.works(k.secret), k.what)
	}

	end()
	overtaken := tokens[len(tokens)-1]
	tokens = tokens[:len(tokens)-1]
	other.eventually("another node deactivates", func() bool {
		_, err := other.auth.As(other.admin).Deactivate(t.Context(), overtaken.id)
		return err == nil
	})
	other.eventually("another node activates", func() bool {
		_, err := other.auth.As(other.admin).Activate(t.Context(), overtaken.id)
		return err == nil
	})
	for _, k := range tokens {
		w.eventually(k.what+" in the store", func() bool {
			rec, err := store.Get(t.Context(), k.id)
			return err == nil && rec.Status != apitoken.StatusActive
		})
		for _, node := range []*world{w, other} {
			node.eventually(k.what+" is refused", func() bool {
				status, called := node.get(k.secret)
				require.False(t, called, k.what)
				return status == 401
			})
		}
	}
	w.eventually("the newer change holds", func() bool { return w.works(overtaken.secret) })
	require.Equal(t, apitoken.StatusActive, w.stored(overtaken.id).Status)
}

// RunRevocations revokes tokens after begin, which has an engine refuse other changes, or
// look as if it would. The store must write every change that ends or narrows a token at once.
func RunRevocations(t *testing.T, store apitoken.Store, begin func()) {
	s := Suite{func(*testing.T) apitoken.Store { return store }}
	w := s.newWorld(t, withPatience)
	other := s.newWorldOn(t, store, withPatience, func(c *apitoken.Config) { c.MaxStaleness = apitoken.NoCache })
	both := func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{w.read, w.write} }
	revocations := map[string]func(m *apitoken.Manager, id string) error{
		"Deactivate": func(m *apitoken.Manager, id string) error {
			_, err := m.Deactivate(t.Context(), id)
			return err
		},
		"Bulk": func(m *apitoken.Manager, id string) error {
			_, err := m.Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
			return err
		},
		"Update to fewer permissions": func(m *apitoken.Manager, id string) error {
			_, err := m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{w.write}})
			return err
		},
		"Delete": func(m *apitoken.Manager, id string) error { return m.Delete(t.Context(), id) },
	}
	ids, secrets := make(map[string]string), make(map[string]apitoken.Secret)
	for what := range revocations {
		info, secret := w.generate(w.ada, both)
		ids[what], secrets[what] = info.ID, secret
		require.True(t, w.works(secret), what)
	}
	begin()
	for what, revoke := range revocations {
		require.NoError(t, revoke(w.auth.As(w.admin), ids[what]), what)
		for _, node := range []*world{w, other} {
			assert.False(t, node.works(secrets[what]), what)
		}
	}
}

// withPatience makes a slow machine no failure of the store.
func withPatience(c *apitoken.Config) {
	c.StoreTimeout, c.MaxStaleness = 10*time.Second, time.Minute
}

// eventually waits until something is so.
func (w *world) eventually(what string, so func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			require.FailNow(w.t, "after "+patience.String()+" it is not so that "+what)
		}
	}
}
