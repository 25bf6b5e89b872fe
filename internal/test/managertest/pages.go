package managertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestPagesComeOneAfterTheOtherInEveryOrder(t *testing.T) {
	w := s.newWorld(t)
	for i := range 23 {
		w.generate(w.ada, func(g *apitoken.GenerateParams) {
			g.Name = fmt.Sprint("token ", i%5)
			if i%3 > 0 {
				g.Expiry = apitoken.In(time.Duration(1+i%4) * time.Hour)
			}
		})
	}
	for _, order := range []apitoken.Order{"", apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed} {
		for _, desc := range []bool{false, true} {
			l := apitoken.ListParams{Order: order, Descending: desc, Limit: 4}
			seen := map[string]int{}
			for pages := 0; ; pages++ {
				require.Less(t, pages, 10)
				page, err := w.auth.As(w.ada).List(t.Context(), l)
				require.NoError(t, err)
				require.Equal(t, 23, page.Count)
				for _, tok := range page.Tokens {
					seen[tok.ID]++
				}
				if l.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			require.Len(t, seen, 23)
			for _, n := range seen {
				require.Equal(t, 1, n)
			}
		}
	}
}

func (s Suite) TestCursorsCannotBeForgedOrCarriedElsewhere(t *testing.T) {
	w := s.newWorld(t)
	for _, actor := range []apitoken.Actor{w.admin, w.eve} {
		for range 3 {
			w.generate(actor)
		}
	}
	list := apitoken.ListParams{AllOwners: true, Limit: 1}
	page, err := w.auth.As(w.admin).List(t.Context(), list)
	require.NoError(t, err)
	require.NotEmpty(t, page.Next)

	with := func(edit func(*apitoken.ListParams)) apitoken.ListParams {
		l := list
		l.Cursor = page.Next
		edit(&l)
		return l
	}
	_, err = w.auth.As(w.admin).List(t.Context(), with(func(*apitoken.ListParams) {}))
	require.NoError(t, err)
	_, err = w.auth.As(w.eve).List(t.Context(), with(func(*apitoken.ListParams) {}))
	require.Equal(t, "cursor", fieldOf(err), "in another environment")
	for what, l := range map[string]apitoken.ListParams{
		"another owner":      with(func(l *apitoken.ListParams) { l.AllOwners = false }),
		"another status":     with(func(l *apitoken.ListParams) { l.Status = apitoken.StatusActive }),
		"another permission": with(func(l *apitoken.ListParams) { l.Permission = "devices:read" }),
		"another text":       with(func(l *apitoken.ListParams) { l.Text = "c" }),
		"another order":      with(func(l *apitoken.ListParams) { l.Order = apitoken.ByCreated }),
		"another direction":  with(func(l *apitoken.ListParams) { l.Descending = true }),
	} {
		_, err := w.auth.As(w.admin).List(t.Context(), l)
		require.Equal(t, "cursor", fieldOf(err), what)
	}
	for i := range page.Next {
		for _, c := range []byte("A_") {
			forged := []byte(page.Next)
			if forged[i] == c {
				continue
			}
			forged[i] = c
			_, err := w.auth.As(w.admin).List(t.Context(), with(func(l *apitoken.ListParams) { l.Cursor = string(forged) }))
			require.Equal(t, "cursor", fieldOf(err), "byte %d", i)
		}
	}
	for _, cursor := range []string{"x", page.Next[1:], page.Next + "A", page.Next + "=", page.Next + "\n", strings.Repeat("A", 1<<16)} {
		_, err := w.auth.As(w.admin).List(t.Context(), with(func(l *apitoken.ListParams) { l.Cursor = cursor }))
		require.Equal(t, "cursor", fieldOf(err), "%.20q", cursor)
	}
}

func (s Suite) TestCursorsOutliveTheKeyTheyWereMadeWith(t *testing.T) {
	store := s.open(t)
	old := s.newWorldOn(t, store, withKeys(t, "a"))
	for range 3 {
		old.generate(old.ada)
	}
	l := apitoken.ListParams{Limit: 1}
	page, err := old.auth.As(old.ada).List(t.Context(), l)
	require.NoError(t, err)
	l.Cursor = page.Next
	_, err = s.newWorldOn(t, store, withKeys(t, "b", "a")).auth.As(old.ada).List(t.Context(), l)
	require.NoError(t, err)
	without := s.newWorldOn(t, struct{ apitoken.Store }{store})
	_, err = without.auth.As(old.ada).List(t.Context(), l)
	require.Equal(t, "cursor", fieldOf(err), "made by somebody with a key, for somebody without")
}
