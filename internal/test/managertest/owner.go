package managertest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestATokenLosesWhatItsOwnerLosesOnTheNextRequest(t *testing.T) {
	var answer struct {
		perms []apitoken.Permission
		err   error
		panic bool
	}
	calls := 0
	w := s.newWorld(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(_ context.Context, environment, owner string) ([]apitoken.Permission, error) {
			calls++
			if environment != "demo" || owner != "ada" {
				return nil, errors.New("asked for someone else")
			}
			if answer.panic {
				panic("owner")
			}
			return answer.perms, answer.err
		}
	})
	answer.perms = []apitoken.Permission{w.read, w.write}
	info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Permissions = w.ada.Grants })
	foreignPermission := new(apitoken.Catalog).Define("devices:read", "of another service")
	for _, c := range []struct {
		what   string
		perms  []apitoken.Permission
		err    error
		panic  bool
		status int
		reason apitoken.Reason
	}{
		{"all", []apitoken.Permission{w.read, w.write}, nil, false, 200, ""},
		{"other ones", []apitoken.Permission{w.write, w.reports}, nil, false, 403, apitoken.ErrMissingPermission},
		{"back again", []apitoken.Permission{w.read}, nil, false, 200, ""},
		{"none", nil, nil, false, 403, apitoken.ErrMissingPermission},
		{"gone", nil, apitoken.ErrNoOwner, false, 401, apitoken.ErrNoOwner},
		{"gone, wrapped", []apitoken.Permission{w.read}, errors.Join(errors.New("ldap"), apitoken.ErrNoOwner), false, 401, apitoken.ErrNoOwner},
		{"an error", []apitoken.Permission{w.read}, errors.New("ldap down"), false, 503, apitoken.ErrUnavailable},
		{"a panic", []apitoken.Permission{w.read}, nil, true, 503, apitoken.ErrUnavailable},
		{"of another catalog", []apitoken.Permission{foreignPermission}, nil, false, 503, apitoken.ErrUnavailable},
		{"the zero permission", []apitoken.Permission{w.read, {}}, nil, false, 503, apitoken.ErrUnavailable},
	} {
		answer.perms, answer.err, answer.panic = c.perms, c.err, c.panic
		before := calls
		status, called := w.get(secret)
		require.Equal(t, c.status, status, c.what)
		require.Equal(t, c.status == 200, called, c.what)
		require.Equal(t, c.reason, w.lastEvent().Reason, c.what)
		require.Equal(t, before+1, calls, "asked on every request")
	}
	answer.perms, answer.err, answer.panic = nil, nil, false
	_, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.ErrorIs(t, err, apitoken.ErrMissingPermission, "an owner without any permission has no valid request")

	answer.perms = []apitoken.Permission{w.read, w.reports}
	tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.All(w.read))
	require.NoError(t, err)
	require.Equal(t, []apitoken.Permission{w.read}, tok.Permissions())
	require.Equal(t, []string{"devices:read", "devices:write"}, tok.Assigned())
	require.False(t, tok.Has(w.write))
	require.False(t, tok.Has(w.reports), "the owner's, but not the token's")

	x, err := w.auth.As(w.admin).Explain(t.Context(), info.ID, apitoken.All(w.read, w.write, w.reports), netip.Addr{})
	require.NoError(t, err)
	require.Equal(t, []apitoken.Reason{apitoken.ErrMissingPermission}, x.Reasons)
	require.Equal(t, []string{"devices:write"}, x.MissingFromOwner)
	require.Equal(t, []string{"reports:read"}, x.MissingFromToken)
	require.Equal(t, []apitoken.Permission{w.read}, x.Effective)
	x, err = w.auth.As(w.admin).Explain(t.Context(), info.ID, apitoken.Any(w.write, w.reports), netip.Addr{})
	require.NoError(t, err)
	require.Equal(t, []string{"devices:write"}, x.MissingFromOwner)
	require.Equal(t, []string{"reports:read"}, x.MissingFromToken)
	x, err = w.auth.As(w.admin).Explain(t.Context(), info.ID, apitoken.Any(w.read, w.reports), netip.Addr{})
	require.NoError(t, err)
	require.Empty(t, x.Reasons)
	require.Empty(t, x.MissingFromToken, "one of them is enough")
}

func (s Suite) TestASlowOwnerLookUpIs503WithinItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) {
			c.OwnerTimeout = 300 * time.Millisecond
			c.OwnerPermissions = func(ctx context.Context, _, _ string) ([]apitoken.Permission, error) {
				time.Sleep(time.Minute) // and ignores ctx
				return nil, nil
			}
		})
		_, secret := w.generate(w.ada)
		start := time.Now()
		status, called := w.get(secret)
		require.Equal(t, 503, status)
		require.False(t, called)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
		time.Sleep(time.Minute)
	})
}
