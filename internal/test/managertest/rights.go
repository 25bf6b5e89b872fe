package managertest

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestAnActorThatIsNobodyMayDoNothing(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	for what, actor := range map[string]apitoken.Actor{
		"the zero actor":          {},
		"one without environment": {User: "ada", ManageOthers: true, Grants: w.admin.Grants},
		"one without user":        {Environment: "demo", ManageOthers: true, Grants: w.admin.Grants},
		"a user with a NUL":       {User: "ada\x00", Environment: "demo", ManageOthers: true},
		"an over-long user":       {User: strings.Repeat("a", 201), Environment: "demo", ManageOthers: true},
	} {
		t.Run(what, func(t *testing.T) {
			for name, err := range attempts(w, actor, info.ID) {
				assert.True(t, isForbidden(err), "%s: %v", name, err)
			}
		})
	}
	require.True(t, w.works(secret))
}

func (s Suite) TestAnAuthorityThatNewDidNotMakeDoesNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	for what, auth := range map[string]*apitoken.Authority{"nil": nil, "zero": {}} {
		none := &world{t: t, auth: auth, read: w.read}
		for name, err := range attempts(none, w.ada, info.ID) {
			require.ErrorIs(t, err, apitoken.ErrUnavailable, "%s: %s", what, name)
		}
		m := auth.As(w.admin)
		_, _, err := m.Rotate(t.Context(), info.ID, 0, "")
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.EndOverlap(t.Context(), info.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Reveal(t.Context(), info.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Import(t.Context(), apitoken.ImportParams{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Explain(t.Context(), info.ID, apitoken.AnyToken(), netip.Addr{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = preview(t, m, apitoken.Policy{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = m.Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{info.ID}})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		_, err = auth.Rekey(t.Context(), apitoken.RekeyParams{})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		require.Empty(t, m.Grantable())
		require.NoError(t, auth.Close())
	}
	require.Equal(t, info.Version, w.stored(info.ID).Version)
}

// attempts tries all that a Manager can do to a token and returns the
// errors by name.
func attempts(w *world, actor apitoken.Actor, id string) map[string]error {
	ctx, m := w.t.Context(), w.auth.As(actor)
	errs := make(map[string]error)
	_, _, errs["generate"] = m.Generate(ctx, apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()})
	_, errs["list"] = m.List(ctx, apitoken.ListParams{AllOwners: actor.ManageOthers})
	for name, err := range attemptsOn(w, actor, id) {
		errs[name] = err
	}
	return errs
}

// attemptsOn is like attempts for what names a token. It deletes the token last.
func attemptsOn(w *world, actor apitoken.Actor, id string) map[string]error {
	ctx, m := w.t.Context(), w.auth.As(actor)
	errs := make(map[string]error)
	_, errs["get"] = m.Get(ctx, id)
	_, errs["rename"] = m.Update(ctx, id, apitoken.UpdateParams{Name: new("stolen")})
	_, errs["narrow"] = m.Update(ctx, id, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	_, errs["update nothing"] = m.Update(ctx, id, apitoken.UpdateParams{})
	_, errs["deactivate"] = m.Deactivate(ctx, id)
	_, errs["activate"] = m.Activate(ctx, id)
	errs["delete"] = m.Delete(ctx, id)
	return errs
}

func (s Suite) TestTokensThatAreNotOnesOwnDoNotExist(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	before := w.stored(info.ID)
	for who, actor := range map[string]apitoken.Actor{
		"another user": w.grace,
		"the administrator of another environment":   w.eve,
		"a user of the same name elsewhere":          {User: "ada", Environment: "other", Grants: w.admin.Grants, ManageOthers: true},
		"an environment that differs in case":        {User: "ada", Environment: "Demo", Grants: w.admin.Grants, ManageOthers: true},
		"an environment that differs in white space": {User: "ada", Environment: "demo ", Grants: w.admin.Grants, ManageOthers: true},
		"a user that differs in case":                {User: "Ada", Environment: "demo", Grants: w.admin.Grants},
	} {
		for name, err := range attemptsOn(w, actor, info.ID) {
			require.Equal(t, apitoken.ErrNotFound, err, "%s: %s", who, name)
		}
	}
	require.Equal(t, before, w.stored(info.ID))
	require.True(t, w.works(secret))
}

func (s Suite) TestIDsThatCannotBeNeverReachTheStore(t *testing.T) {
	store := &countingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = store })
	for _, id := range []string{"", "x", strings.Repeat("a", 1<<20), strings.Repeat("a", 16) + "\x00", strings.Repeat("a", 16) + "%", "../../../../etc/p"} {
		_, err := w.auth.As(w.admin).Get(t.Context(), id)
		require.Equal(t, apitoken.ErrNotFound, err)
	}
	require.Zero(t, store.gets)
}

type countingStore struct {
	apitoken.Store
	gets int
}

func (s *countingStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.gets++
	return s.Store.Get(ctx, id)
}

func (s Suite) TestAdministratorsDoNotRenameWidenOrTakeOverTokensOfOthers(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) {
		g.Expiry = apitoken.In(time.Hour)
		g.NotBefore = time.Now().Add(-time.Minute)
		g.Networks = prefixes("192.0.2.0/24")
	})
	before := w.stored(info.ID)
	for what, u := range map[string]apitoken.UpdateParams{
		"rename":             {Name: new("mine")},
		"describe":           {Description: new("mine")},
		"add a permission":   {Permissions: new([]apitoken.Permission{w.read, w.write})},
		"swap a permission":  {Permissions: new([]apitoken.Permission{w.write})},
		"later expiry":       {Expiry: apitoken.In(2 * time.Hour)},
		"no expiry":          {Expiry: apitoken.Never()},
		"earlier not-before": {NotBefore: new(time.Time{})},
		"wider networks":     {Networks: new(prefixes("192.0.0.0/16"))},
		"no networks":        {Networks: new([]netip.Prefix{})},
		"narrow and rename":  {Permissions: new([]apitoken.Permission{}), Name: new("mine")},
	} {
		_, err := w.auth.As(w.admin).Update(t.Context(), info.ID, u)
		require.True(t, isForbidden(err), "%s: %v", what, err)
	}
	require.Equal(t, before, w.stored(info.ID))
	require.True(t, w.works(secret)) // httptest requests come from 192.0.2.1
}
