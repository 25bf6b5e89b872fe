package apitoken_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Another node has recorded a use, of which the feed does not tell.
func TestATokenThatLooksIdleInMemoryIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		g := newRig(t, func(c *apitoken.Config) { c.Store, c.MaxIdle, c.MaxCacheAge = store, 2*time.Hour, 24*time.Hour })
		defer g.Close()
		in, secret := g.generate(t)
		synctest.Wait() // for the feed, which is to say nothing afterwards
		require.Equal(t, 204, g.get(secret.Reveal()))
		time.Sleep(time.Hour)
		rec, err := store.Get(t.Context(), in.ID)
		require.NoError(t, err)
		require.NoError(t, store.Touch(t.Context(), []apitoken.Use{
			{ID: in.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: time.Now()},
		}))
		time.Sleep(time.Hour + time.Minute)
		before := g.Stats()
		assert.Equal(t, 204, g.get(secret.Reveal()))
		assert.Equal(t, int64(1), before.CacheEntries, "it was in memory until then")
		time.Sleep(2*time.Hour + time.Minute)
		assert.Equal(t, 401, g.get(secret.Reveal()))
	})
}

func TestAnIdleTokenIsNotReadAnewForEachRequest(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.MaxIdle = time.Hour
		c.Store = &touchStore{Store: c.Store, touch: func(context.Context, []apitoken.Use) error { return nil }}
	})
	for range 50 {
		assert.Equal(t, 401, g.get(goodToken.text))
	}
	assert.Less(t, len(g.store.gets), 10, "one, or one more for each second")
}
