package apitoken_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestTokensThatAreGoneLeaveTheMemoryOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.CacheEntries, c.MaxStaleness = 200, 3*time.Second })
		const n = 150
		for i := range n {
			tok := mint(fmt.Sprint("room", i))
			require.NoError(t, g.store.Create(t.Context(), tok.record(wireRead)))
			require.Equal(t, 204, g.get(tok.text))
		}
		time.Sleep(3*time.Second + 1)
		for i := range n {
			tok := mint(fmt.Sprint("room", i))
			require.NoError(t, g.store.Delete(t.Context(), tok.record(wireRead).ID))
			require.Equal(t, 401, g.get(tok.text))
			require.EqualValues(t, n-1-i, g.Stats().CacheEntries)
		}
		assert.Zero(t, g.Stats().CacheEntries)
	})
}
