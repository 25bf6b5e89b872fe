package apitoken_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestATokenExpiresWhileItsOwnerIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Second)
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				time.Sleep(1500 * time.Millisecond)
				return wire.All(), nil
			}
		})
		g.store.get = func(context.Context, string) (apitoken.Record, error) {
			rec := goodToken.record(wireRead)
			rec.ExpiresAt = end
			return rec, nil
		}
		assert.Equal(t, 401, g.get(goodToken.text))
		require.NoError(t, g.Close())
	})
}

func TestAnOverlapEndsWhileTheOwnerIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Second)
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				time.Sleep(1500 * time.Millisecond)
				return wire.All(), nil
			}
		})
		g.store.get = func(context.Context, string) (apitoken.Record, error) {
			rec := goodToken.record(wireRead)
			old := rec.Secrets[0]
			old.ValidUntil = end
			rec.Secrets[0].Digest = bytes.Repeat([]byte{1}, 32)
			rec.Secrets = append(rec.Secrets, old)
			return rec, nil
		}
		_, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.All(wireRead))
		require.ErrorIs(t, err, apitoken.ErrRetiredSecret)
		require.NoError(t, g.Close())
	})
}
