package apitoken_test

import (
	"bytes"
	"context"
	"fmt"
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

func TestAnActorWhoCameByATokenGrantsNoMoreThanTheOwnerOfThatTokenHasNow(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
			return []apitoken.Permission{wireRead}, nil
		}
	})
	_, secret := g.generate(t, func(p *apitoken.GenerateParams) { p.Permissions = []apitoken.Permission{wireRead, wireWrite} })
	actor := ada
	var err error
	actor.Token, err = g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(wireRead))
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{wireRead}, g.As(actor).Grantable())
}

func TestWhatAnOwnerHasInOneRequestDoesNotHoldForTheNext(t *testing.T) {
	var catalog apitoken.Catalog
	var all []apitoken.Permission
	for i := range 70 {
		all = append(all, catalog.Define(fmt.Sprintf("p:%d", i), "For the test"))
	}
	has := all
	g := newRig(t, func(c *apitoken.Config) {
		c.Permissions = &catalog
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return has, nil }
	})
	actor := ada
	actor.Grants = all
	_, secret, err := g.As(actor).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: all, Expiry: apitoken.Never()})
	require.NoError(t, err)
	check := func(p apitoken.Permission) error {
		_, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(p))
		return err
	}
	require.NoError(t, check(all[69]))
	has = all[:66]
	require.ErrorIs(t, check(all[69]), apitoken.ErrMissingPermission)
	has = all
	assert.NoError(t, check(all[69]))
}
