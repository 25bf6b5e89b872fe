package apitoken_test

import (
	"cmp"
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

func TestListsSayWhatTheOwnersOfTokensStillHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked, running, most := map[string]int{}, 0, 0
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(ctx context.Context, _, owner string) ([]apitoken.Permission, error) {
				mu.Lock()
				asked[owner]++
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
				switch owner {
				case "all":
					return wire.All(), nil
				case "other":
					return []apitoken.Permission{wireReports}, nil
				case "none":
					return nil, nil
				case "gone":
					return nil, apitoken.ErrNoOwner
				case "broken":
					return nil, errors.New("ldap down")
				case "panics":
					panic("ldap")
				case "hangs":
					time.Sleep(time.Minute)
				}
				return []apitoken.Permission{wireRead}, nil
			}
		})
		both := []apitoken.Permission{wireRead, wireWrite}
		want := map[string]struct {
			effective []apitoken.Permission
			reason    apitoken.Reason
		}{
			"all":    {both, ""},
			"some":   {both[:1], ""},
			"other":  {both[:0], apitoken.ErrMissingPermission},
			"none":   {both[:0], apitoken.ErrMissingPermission},
			"gone":   {both[:0], apitoken.ErrNoOwner},
			"broken": {nil, apitoken.ErrUnavailable},
			"panics": {nil, apitoken.ErrUnavailable},
			"hangs":  {nil, apitoken.ErrUnavailable},
		}
		ids := map[string]string{}
		for owner := range want {
			for range 3 {
				actor := ada
				actor.User = owner
				in, _, err := g.As(actor).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: both, Expiry: apitoken.Never()})
				require.NoError(t, err)
				assert.Nil(t, in.Effective, "not asked for a change")
				assert.Empty(t, in.OwnerReason)
				ids[owner] = in.ID
			}
		}
		times := func(owner string) int {
			mu.Lock()
			defer mu.Unlock()
			return asked[owner]
		}
		for owner := range want {
			require.Zero(t, times(owner))
		}
		check := func(in *apitoken.TokenInfo) {
			w, ok := want[in.Owner]
			if !ok {
				return
			}
			assert.Equal(t, w.effective, in.Effective, in.Owner)
			assert.Equal(t, w.reason, in.OwnerReason, in.Owner)
			assert.Equal(t, apitoken.StatusActive, in.Status)
			assert.Equal(t, both, in.Permissions)
		}
		start := time.Now()
		page, err := g.As(admin).List(t.Context(), apitoken.ListParams{AllOwners: true, Limit: 200})
		require.NoError(t, err)
		assert.Greater(t, len(page.Tokens), 24)
		for _, in := range page.Tokens {
			check(in)
		}
		assert.Equal(t, 2*time.Second, time.Since(start), "OwnerTimeout, for the one that hangs")
		for owner := range want {
			assert.Equal(t, 1, times(owner), owner)
		}
		mu.Lock()
		assert.LessOrEqual(t, most, 8)
		mu.Unlock()

		for owner, id := range ids {
			in, err := g.As(admin).Get(t.Context(), id)
			require.NoError(t, err)
			check(in)
			assert.Equal(t, 2, times(owner))
		}
		require.NoError(t, g.As(admin).Delete(t.Context(), ids["all"]))
		in, err := g.As(admin).Get(t.Context(), ids["all"])
		require.NoError(t, err)
		assert.Nil(t, in.Effective, "of a deleted token nobody asks")
		assert.Equal(t, 2, times("all"))
		time.Sleep(time.Minute)
		require.NoError(t, g.Close())
	})
}

func TestWithoutOwnerPermissionsAllOfATokenIsEffective(t *testing.T) {
	g := newRig(t)
	made, _ := g.generate(t)
	in, err := g.As(ada).Get(t.Context(), made.ID)
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{wireRead}, in.Effective)
	_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	require.NoError(t, err)
	none, err := g.As(ada).Get(t.Context(), made.ID)
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{}, none.Effective)
	assert.Empty(t, none.OwnerReason)
}

// To take all permissions of a token away is not the doing of its owner.
func TestATokenWithoutPermissionsDoesNotSayThatItsOwnerHasNoAccess(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return wire.All(), nil }
	})
	in, _ := g.generate(t)
	_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	require.NoError(t, err)
	in, err = g.As(ada).Get(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{}, in.Effective)
	assert.Empty(t, in.OwnerReason)
}

func TestAListHasTheTokensOfOwnersWithoutAccess(t *testing.T) {
	var broken error
	g := newRig(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(_ context.Context, _, owner string) ([]apitoken.Permission, error) {
			switch owner {
			case "gone":
				return nil, cmp.Or[error](broken, apitoken.ErrNoOwner)
			case "none":
				return []apitoken.Permission{wireReports}, nil
			}
			return wire.All(), nil
		}
	})
	var want []string
	for i, owner := range []string{"ada", "gone", "ada", "ada", "none", "gone", "ada"} {
		actor := apitoken.Actor{User: owner, Environment: "production", Grants: wire.All()}
		in, _, err := g.As(actor).Generate(t.Context(), apitoken.GenerateParams{
			Name: fmt.Sprint(i), Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(),
		})
		require.NoError(t, err)
		if owner != "ada" {
			want = append(want, in.ID)
		}
	}
	in, _, err := g.As(apitoken.Actor{User: "gone", Environment: "production", Grants: wire.All()}).Generate(t.Context(), apitoken.GenerateParams{
		Name: "deactivated", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(),
	})
	require.NoError(t, err)
	_, err = g.As(admin).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)

	l := apitoken.ListParams{AllOwners: true, Status: apitoken.StatusNoAccess, Limit: 2}
	var got []string
	for {
		page, err := g.As(admin).List(t.Context(), l)
		require.NoError(t, err)
		got = append(got, idsOf(page.Tokens)...)
		assert.Equal(t, len(page.Tokens), page.Count)
		assert.Equal(t, page.Next != "", page.Partial)
		assert.Equal(t, page.Next != "", page.More)
		if l.Cursor = page.Next; l.Cursor == "" {
			break
		}
	}
	assert.Equal(t, want, got)

	broken = errors.New("ldap down")
	_, err = g.As(admin).List(t.Context(), apitoken.ListParams{AllOwners: true, Status: apitoken.StatusNoAccess})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
}

func TestListsOfManyOwnersLeaveRoomForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				defer running.Add(-1)
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(20 * time.Millisecond)
				return wire.All(), nil
			}
		})
		for i := range 12 { // so few that no list takes as long as OwnerTimeout: what it leaves behind runs on
			actor := apitoken.Actor{User: fmt.Sprint("owner ", i), Environment: "production", Grants: wire.All()}
			_, _, err := g.As(actor).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
			require.NoError(t, err)
		}
		var lists sync.WaitGroup
		for range 64 {
			lists.Go(func() {
				_, err := g.As(admin).List(t.Context(), apitoken.ListParams{AllOwners: true, Limit: 200})
				assert.NoError(t, err)
			})
		}
		lists.Wait()
		time.Sleep(time.Second)
		assert.LessOrEqual(t, most.Load(), int64(16), "of 64")
		require.NoError(t, g.Close())
	})
}
