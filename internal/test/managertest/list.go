package managertest

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestListsShowOnesOwnTokensAndWithTheRightEverybodys(t *testing.T) {
	w := s.newWorld(t)
	for _, actor := range []apitoken.Actor{w.ada, w.grace, w.admin, w.eve} {
		for _, name := range []string{"b", "A", "c"} {
			w.generate(actor, func(g *apitoken.GenerateParams) { g.Name = actor.User + " " + name })
		}
	}
	list := func(actor apitoken.Actor, l apitoken.ListParams) ([]string, error) {
		page, err := w.auth.As(actor).List(t.Context(), l)
		if err != nil {
			return nil, err
		}
		require.Equal(t, len(page.Tokens), page.Count)
		require.False(t, page.More)
		return nameList(page), nil
	}
	got, err := list(w.ada, apitoken.ListParams{})
	require.NoError(t, err)
	require.Equal(t, []string{"ada A", "ada b", "ada c"}, got)
	got, err = list(w.ada, apitoken.ListParams{Owner: "ada", Descending: true})
	require.NoError(t, err)
	require.Equal(t, []string{"ada c", "ada b", "ada A"}, got)
	for _, l := range []apitoken.ListParams{{AllOwners: true}, {Owner: "grace"}, {Owner: "Ada"}} {
		_, err = list(w.ada, l)
		require.True(t, isForbidden(err), "%+v: %v", l, err)
	}
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, got, 9)
	require.NotContains(t, strings.Join(got, " "), "eve")
	got, err = list(w.admin, apitoken.ListParams{Owner: "grace", Order: apitoken.ByCreated})
	require.NoError(t, err)
	require.Len(t, got, 3)
	got, err = list(w.eve, apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, got, 3)
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true, Text: "GRA"})
	require.NoError(t, err)
	require.Len(t, got, 3)
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true, Text: "race"})
	require.NoError(t, err)
	require.Empty(t, got, "in the middle of a word")
	got, err = list(w.admin, apitoken.ListParams{AllOwners: true, Text: "%"})
	require.NoError(t, err)
	require.Empty(t, got)
}

func nameList(page *apitoken.TokenPage) []string {
	var names []string
	for _, tok := range page.Tokens {
		names = append(names, tok.Name)
	}
	return names
}

func (s Suite) TestListsFilterByStatusAndRefuseWhatTheyDoNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "active" })
		w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "expired"; g.Expiry = apitoken.In(time.Minute) })
		w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "pending"; g.NotBefore = time.Now().Add(time.Hour) })
		inactive, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Name = "inactive"; g.Expiry = apitoken.In(time.Minute) })
		m := w.auth.As(w.ada)
		_, err := m.Deactivate(t.Context(), inactive.ID)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		for _, status := range []apitoken.Status{apitoken.StatusActive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusInactive} {
			page, err := m.List(t.Context(), apitoken.ListParams{Status: status})
			require.NoError(t, err)
			require.Equal(t, []string{string(status)}, nameList(page))
			require.Equal(t, status, page.Tokens[0].Status)
		}
		for field, l := range map[string]apitoken.ListParams{
			"status": {Status: "gone"},
			"sort":   {Order: "size"},
			"limit":  {Limit: 201},
			"owner":  {AllOwners: true, Owner: "ada"},
			"cursor": {Cursor: "AAAA"},
		} {
			_, err := w.auth.As(w.admin).List(t.Context(), l)
			require.Equal(t, field, fieldOf(err), "%v", err)
		}
		_, err = m.List(t.Context(), apitoken.ListParams{Limit: -1})
		require.Equal(t, "limit", fieldOf(err))
	})
}

func (s Suite) TestListsRefuseTextsThatNothingCanHave(t *testing.T) {
	w := s.newWorld(t)
	for _, text := range []string{"a\x00b", "\xff", strings.Repeat("x", 201)} {
		for field, l := range map[string]apitoken.ListParams{"owner": {Owner: text}, "q": {Text: text}, "permission": {Permission: text}} {
			_, err := w.auth.As(w.admin).List(t.Context(), l)
			require.Equal(t, field, fieldOf(err), "%q: %v", text, err)
		}
	}
}

func (s Suite) TestAListWithATokenThatWasNotAskedForIsRefused(t *testing.T) {
	lying := &lyingStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = lying })
	w.generate(w.eve)
	w.generate(w.grace)
	lying.environment = "other"
	_, err := w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	_, err = w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	lying.environment = "demo"
	_, err = w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	page, err := w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Len(t, page.Tokens, 1)
	for field, l := range map[string]apitoken.ListParams{
		"status": {Status: apitoken.StatusExpired}, "permission": {Permission: "devices:write"}, "text": {Text: "no such token"},
	} {
		l.AllOwners = true
		_, err = w.auth.As(w.admin).List(t.Context(), l)
		require.ErrorIs(t, err, apitoken.ErrUnavailable, field)
	}
	lying.halves = true
	page, err = w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusDamaged, page.Tokens[0].Status)
	_, err = w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{})
	require.ErrorIs(t, err, apitoken.ErrUnavailable, "a damaged token of another owner")
	lying.environment = "other"
	_, err = w.auth.As(w.admin).List(t.Context(), apitoken.ListParams{AllOwners: true})
	require.ErrorIs(t, err, apitoken.ErrUnavailable, "a damaged token of another environment")
}

// A lyingStore ignores the filters of a list, or returns incomplete records.
type lyingStore struct {
	apitoken.Store
	environment string
	halves      bool
}

func (s *lyingStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	page, err := s.Store.List(ctx, apitoken.Query{Environment: s.environment, Order: q.Order, Limit: q.Limit})
	for i := range page.Records {
		if s.halves {
			page.Records[i].Secrets = nil
		}
	}
	return page, err
}
