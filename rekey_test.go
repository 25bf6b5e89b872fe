package apitoken_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Re-keying.

func testKeyNamed(t *testing.T, id string) apitoken.Key {
	key, err := apitoken.NewKey(id, sha256Of(id))
	require.NoError(t, err)
	return key
}

// secretKeyNamed is another key with the same ID, as a key has one purpose.
func secretKeyNamed(t testing.TB, id string) apitoken.Key {
	key, err := apitoken.NewKey(id, sha256Of("secret "+id))
	require.NoError(t, err)
	return key
}

// rekeyedRig returns a rig with the keys b and a, over a store with a token that is
// authenticated under a.
func rekeyedRig(t *testing.T, wrap func(apitoken.Store) apitoken.Store) (g *rig, id string) {
	old := newRig(t, func(c *apitoken.Config) {
		c.Store = c.Store.(*tapStore).Store
		c.IntegrityKeys, c.EncryptionKeys = []apitoken.Key{testKeyNamed(t, "a")}, []apitoken.Key{secretKeyNamed(t, "a")}
	})
	for _, rec := range wireRecords() {
		require.NoError(t, old.store.Delete(t.Context(), rec.ID))
	}
	info, _ := old.generate(t)
	g = newRig(t, func(c *apitoken.Config) {
		c.Store = wrap(old.store.Store)
		c.IntegrityKeys = []apitoken.Key{testKeyNamed(t, "b"), testKeyNamed(t, "a")}
		c.EncryptionKeys = []apitoken.Key{secretKeyNamed(t, "b"), secretKeyNamed(t, "a")}
	})
	g.store = old.store
	return g, info.ID
}

func TestARekeyIsDoneOnceAndToldToTheObserver(t *testing.T) {
	g, id := rekeyedRig(t, func(s apitoken.Store) apitoken.Store { return s })
	p, err := g.Rekey(t.Context(), apitoken.RekeyParams{})
	require.NoError(t, err)
	assert.Equal(t, apitoken.RekeyProgress{Seen: 1, Rekeyed: 1, Last: id}, p)
	ev := g.event(t)
	assert.Equal(t, "rekey", string(ev.Action))
	assert.NoError(t, ev.Err)
	rec, err := g.store.Get(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "b", rec.MACKeyID)
	assert.Equal(t, "b", rec.Secrets[0].EncryptionKeyID)

	p, err = g.Rekey(t.Context(), apitoken.RekeyParams{})
	require.NoError(t, err)
	assert.Equal(t, apitoken.RekeyProgress{Seen: 1, Last: id}, p)
	again, err := g.store.Get(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, rec.Version, again.Version)
}

// A scannedStore is a store that can be rekeyed.
type scannedStore interface {
	apitoken.Store
	apitoken.Scanner
}

// An overtakenStore is one where others are faster with the first change.
type overtakenStore struct {
	scannedStore
	overtake func(rec apitoken.Record)
	was      atomic.Bool
}

func (s *overtakenStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.was.CompareAndSwap(false, true) {
		s.overtake(rec)
	}
	return s.scannedStore.Replace(ctx, rec)
}

func TestARekeyThatIsOvertakenByAChangeKeepsTheChange(t *testing.T) {
	s := new(overtakenStore)
	g, id := rekeyedRig(t, func(store apitoken.Store) apitoken.Store {
		s.scannedStore = store.(scannedStore)
		return s
	})
	s.overtake = func(apitoken.Record) {
		s.was.Store(true)
		_, err := g.As(ada).Deactivate(t.Context(), id)
		require.NoError(t, err)
	}
	p, err := g.Rekey(t.Context(), apitoken.RekeyParams{})
	require.NoError(t, err)
	assert.Equal(t, 1, p.Seen)
	rec, err := g.store.Get(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, apitoken.StatusInactive, rec.Status)
	assert.Equal(t, "b", rec.MACKeyID)
	assert.Equal(t, "b", rec.Secrets[0].EncryptionKeyID)
}

func TestARekeyThatIsOvertakenByADeletionIsDone(t *testing.T) {
	s := new(overtakenStore)
	g, id := rekeyedRig(t, func(store apitoken.Store) apitoken.Store {
		s.scannedStore = conflictWhenGone{store.(scannedStore)}
		return s
	})
	s.overtake = func(rec apitoken.Record) { require.NoError(t, g.store.Delete(t.Context(), rec.ID)) }
	p, err := g.Rekey(t.Context(), apitoken.RekeyParams{})
	require.NoError(t, err)
	assert.Equal(t, apitoken.RekeyProgress{Seen: 1, Last: id}, p)
}

// conflictWhenGone finds out late that a record is gone.
type conflictWhenGone struct{ scannedStore }

func (s conflictWhenGone) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := s.scannedStore.Replace(ctx, rec); !errors.Is(err, apitoken.ErrNotFound) {
		return err
	}
	return apitoken.ErrConflict
}

func TestARekeyThatIsOvertakenAndThenFindsTheStoreDownSaysSo(t *testing.T) {
	s := new(overtakenStore)
	var down atomic.Bool
	g, id := rekeyedRig(t, func(store apitoken.Store) apitoken.Store {
		s.scannedStore = &downStore{store.(scannedStore), &down}
		return s
	})
	s.overtake = func(rec apitoken.Record) {
		_, err := g.As(ada).Deactivate(t.Context(), id)
		require.NoError(t, err)
		down.Store(true)
	}
	p, err := g.Rekey(t.Context(), apitoken.RekeyParams{})
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.Zero(t, p, "so that the next one begins with the same token")
}

func TestBothSecretsOfARotationAreRekeyed(t *testing.T) {
	g, id := rekeyedRig(t, func(s apitoken.Store) apitoken.Store { return s })
	rec, err := g.store.Get(t.Context(), id)
	require.NoError(t, err)
	_, _, err = g.As(ada).Rotate(t.Context(), id, time.Hour, "")
	require.NoError(t, err)
	_, err = g.Rekey(t.Context(), apitoken.RekeyParams{})
	require.NoError(t, err)
	require.Equal(t, "a", rec.Secrets[0].EncryptionKeyID)
	rec, err = g.store.Get(t.Context(), id)
	require.NoError(t, err)
	for _, s := range rec.Secrets {
		assert.Equal(t, "b", s.EncryptionKeyID)
	}
	_, err = g.As(ada).UndoRotation(t.Context(), id)
	require.NoError(t, err)
	_, err = g.As(ada).Reveal(t.Context(), id)
	assert.NoError(t, err)
}

// scanOnly tells of no keys, so that New does not miss any.
type scanOnly struct{ apitoken.Store }

func (s scanOnly) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	return s.Store.(apitoken.Scanner).Scan(ctx, after, limit)
}

func TestNobodyIsAskedToAdoptAGenuineRecordOfWhichAKeyIsMissing(t *testing.T) {
	g, _ := rekeyedRig(t, func(s apitoken.Store) apitoken.Store { return s })
	without := newRig(t, func(c *apitoken.Config) {
		c.Store = scanOnly{g.store.Store}
		c.IntegrityKeys = []apitoken.Key{testKeyNamed(t, "a")}
		c.EncryptionKeys = []apitoken.Key{secretKeyNamed(t, "b")}
	})
	p, err := without.Rekey(t.Context(), apitoken.RekeyParams{Adopt: func(*apitoken.TokenInfo) bool {
		assert.Fail(t, "it was not changed by anybody")
		return true
	}})
	assert.Error(t, err)
	assert.Equal(t, 1, p.Refused)
}

// A downStore can be down for those who read.
type downStore struct {
	scannedStore
	down *atomic.Bool
}

func (s *downStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if s.down.Load() {
		return apitoken.Record{}, errors.New("down")
	}
	return s.scannedStore.Get(ctx, id)
}
