package apitoken_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// What somebody has written into the database by hand is sealed only if an operator,
// who is shown the token as it would be, says so.
func TestADamagedRecordIsAdoptedAsItIsShown(t *testing.T) {
	store := memory.New()
	g := newRig(t, func(c *apitoken.Config) {
		c.Store, c.IntegrityKeys = store, []apitoken.Key{testKeyNamed(t, "a")}
	})
	damaged, secret := g.generate(t)
	sound, _ := g.generate(t)
	tamper := func(name string) {
		rec, err := store.Get(t.Context(), damaged.ID)
		require.NoError(t, err)
		rec.Version++
		rec.Name = name
		require.NoError(t, store.Replace(t.Context(), rec))
	}
	tamper("by hand")
	require.Equal(t, 503, g.get(secret.Reveal()))

	var shown []string
	rekey := func(adopt func(*apitoken.TokenInfo) bool) (apitoken.RekeyProgress, error) {
		shown = nil
		return g.Rekey(context.Background(), apitoken.RekeyParams{Adopt: func(in *apitoken.TokenInfo) bool {
			shown = append(shown, in.ID+" "+in.Name)
			return adopt(in)
		}})
	}
	p, err := rekey(func(*apitoken.TokenInfo) bool { return false })
	require.Error(t, err)
	assert.Equal(t, 1, p.Refused)
	assert.Equal(t, []string{damaged.ID + " by hand"}, shown)
	require.Equal(t, 503, g.get(secret.Reveal()))

	g.events = nil
	once := false
	p, err = rekey(func(in *apitoken.TokenInfo) bool {
		assert.Equal(t, apitoken.StatusActive, in.Status)
		assert.Equal(t, []apitoken.Permission{wireRead}, in.Permissions)
		if !once {
			once = true
			tamper("by hand again") // while the operator looks
		}
		return true
	})
	require.NoError(t, err)
	assert.Equal(t, 1, p.Rekeyed)
	assert.Equal(t, []string{damaged.ID + " by hand", damaged.ID + " by hand again"}, shown)
	require.NotEmpty(t, g.events)
	assert.Equal(t, damaged.ID, g.events[0].TokenID)
	assert.Equal(t, "by hand again", g.events[0].After.Name)
	assert.Equal(t, 204, g.get(secret.Reveal()))
	in, err := g.As(ada).Get(t.Context(), sound.ID)
	require.NoError(t, err)
	assert.Equal(t, sound.Version, in.Version)

	// One that a later version has to judge is not shown.
	rec, err := store.Get(t.Context(), damaged.ID)
	require.NoError(t, err)
	rec.Version++
	rec.Unknown = "\x20\x01x"
	require.NoError(t, store.Replace(t.Context(), rec))
	_, err = rekey(func(*apitoken.TokenInfo) bool { return true })
	require.Error(t, err)
	assert.Empty(t, shown)
}

func TestARecordThatOnlyPretendsToBeOfALaterVersionIsDamaged(t *testing.T) {
	store := memory.New()
	g := newRig(t, func(c *apitoken.Config) { c.Store, c.IntegrityKeys = store, []apitoken.Key{testKeyNamed(t, "a")} })
	in, secret := g.generate(t)
	rec, err := store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	rec.Version++
	rec.Unknown = unknown(32, "even")
	require.NoError(t, store.Replace(t.Context(), rec))
	require.Equal(t, 503, g.get(secret.Reveal()))
	shown, err := g.As(ada).Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, apitoken.StatusDamaged, shown.Status)
	assert.NoError(t, g.As(admin).Delete(t.Context(), in.ID), "which one of a later version would not be")
}

// One token that its owner changes all the time does not stop all others.
func TestARekeyGoesOnPastARecordThatChangesAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		g := newRig(t, func(c *apitoken.Config) {
			c.Store, c.IntegrityKeys = store, []apitoken.Key{testKeyNamed(t, "a")}
		})
		busy, _ := g.generate(t)
		for range 20 {
			g.generate(t)
		}
		g = newRig(t, func(c *apitoken.Config) {
			c.Store = conflictingFor{store, busy.ID}
			c.IntegrityKeys = []apitoken.Key{testKeyNamed(t, "b"), testKeyNamed(t, "a")}
		})
		p, err := g.Rekey(t.Context(), apitoken.RekeyParams{})
		assert.ErrorContains(t, err, "1 tokens could not be rekeyed")
		assert.Equal(t, apitoken.RekeyProgress{Seen: 21, Rekeyed: 20, Refused: 1, Last: p.Last}, p)
	})
}

// A conflictingFor always has a conflict for one token.
type conflictingFor struct {
	*memory.Store
	id string
}

func (s conflictingFor) Replace(ctx context.Context, rec apitoken.Record) error {
	if rec.ID == s.id {
		return apitoken.ErrConflict
	}
	return s.Store.Replace(ctx, rec)
}
