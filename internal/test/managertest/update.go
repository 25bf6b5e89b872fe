package managertest

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestAnUpdateToWhatIsThereAlreadyChangesNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) {
		g.Expiry = apitoken.In(time.Hour)
		g.Networks = prefixes("10.0.0.0/8")
	})
	w.events = nil
	for who, actor := range map[string]apitoken.Actor{"the owner": w.ada, "an administrator": w.admin} {
		got, err := w.auth.As(actor).Update(t.Context(), info.ID, apitoken.UpdateParams{
			Name: new(info.Name), Description: new(""), Active: new(true), Permissions: new(info.Permissions),
			Expiry: apitoken.At(info.ExpiresAt), NotBefore: new(time.Time{}), Networks: new(prefixes("10.1.2.3/8")),
			IfVersion: info.Version,
		})
		require.NoError(t, err, who)
		require.Equal(t, info, got, who)
	}
	require.Empty(t, w.events)
}

func (s Suite) TestNamesTheCatalogNoLongerKnowsGrantNothingAreShownAndCanOnlyBeKeptOrRemoved(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	rec := w.stored(info.ID)
	rec.Permissions = []string{"devices:read", "legacy:all", "legacy:some"}
	rec.Version++
	require.NoError(t, w.store.Replace(t.Context(), rec))
	m := w.auth.As(w.ada)

	got, err := m.Get(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, []apitoken.Permission{w.read}, got.Permissions)
	require.Equal(t, []string{"legacy:all", "legacy:some"}, got.Unknown)
	tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.NoError(t, err)
	require.Equal(t, []string{"devices:read", "legacy:all", "legacy:some"}, tok.Assigned())
	require.Equal(t, []apitoken.Permission{w.read}, tok.Permissions())

	got, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("kept")})
	require.NoError(t, err)
	require.Equal(t, []string{"legacy:all", "legacy:some"}, got.Unknown, "another change keeps them")

	got, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{
		Permissions: new([]apitoken.Permission{w.write}), Unknown: []string{"legacy:some"}})
	require.NoError(t, err)
	require.Equal(t, []apitoken.Permission{w.write}, got.Permissions)
	require.Equal(t, []string{"legacy:some"}, got.Unknown)

	for _, name := range []string{"legacy:all", "devices:read", "new", ""} {
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{
			Permissions: new([]apitoken.Permission{w.write}), Unknown: []string{name}})
		require.Equal(t, "permissions", fieldOf(err), "%q: %v", name, err)
	}
	_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Unknown: []string{"legacy:some"}})
	require.Equal(t, "unknown", fieldOf(err))
	list, err := m.List(t.Context(), apitoken.ListParams{Permission: "legacy:some"})
	require.NoError(t, err)
	require.Len(t, list.Tokens, 1)
}

func (s Suite) TestAnUpdateIsAllOrNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	before := w.stored(info.ID)
	for what, u := range map[string]apitoken.UpdateParams{
		"a good name and a bad description":    {Name: new("good"), Description: new("bad\x07")},
		"a good name and a past expiry":        {Name: new("good"), Expiry: apitoken.At(time.Unix(1, 0))},
		"a good name and a foreign permission": {Name: new("good"), Permissions: new([]apitoken.Permission{{}})},
		"deactivate and a bad network":         {Active: new(false), Networks: new([]netip.Prefix{{}})},
		"an expiry before its not-before":      {Expiry: apitoken.In(time.Hour), NotBefore: new(time.Now().Add(3 * time.Hour))},
		"an empty name":                        {Name: new("")},
		"a not-before in 1969":                 {NotBefore: new(time.Unix(-1, 0))},
	} {
		_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, u)
		require.NotEmpty(t, fieldOf(err), "%s: %v", what, err)
	}
	require.Equal(t, before, w.stored(info.ID))
}

func (s Suite) TestAStaleVersionIsAConflictAndChangesNothing(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	m := w.auth.As(w.ada)
	second, err := m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("second"), IfVersion: info.Version})
	require.NoError(t, err)
	require.Equal(t, info.Version+1, second.Version)
	_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("third"), IfVersion: info.Version})
	require.ErrorIs(t, err, apitoken.ErrConflict)
	require.Equal(t, "second", w.stored(info.ID).Name)
}

func (s Suite) TestChangesAtTheSameTimeAreAllMade(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			u := apitoken.UpdateParams{Name: new(fmt.Sprint("name ", i))}
			if i%2 == 0 {
				u = apitoken.UpdateParams{Description: new(fmt.Sprint("description ", i))}
			}
			_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, u)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	rec := w.stored(info.ID)
	require.Equal(t, info.Version+8, rec.Version)
	require.Len(t, rec.History, 9)
}
