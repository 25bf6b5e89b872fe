package apitoken_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestEachPageOfAListLeadsBackToThePageBefore(t *testing.T) {
	g := newRig(t, noCache)
	for i := range 7 {
		g.generate(t, func(p *apitoken.GenerateParams) { p.Name = fmt.Sprint("Sensor ", i) })
	}
	m := g.As(apitoken.Actor{User: "admin", Environment: "production", Grants: wire.All(), ManageOthers: true})
	for _, order := range []apitoken.Order{apitoken.ByName, apitoken.ByCreated, apitoken.ByLastUsed} {
		for _, descending := range []bool{false, true} {
			l := apitoken.ListParams{AllOwners: true, Text: "sensor", Order: order, Descending: descending, Limit: 2}
			read := func(cursor string) (names []string, page *apitoken.TokenPage) {
				l.Cursor = cursor
				page, err := m.List(t.Context(), l)
				require.NoError(t, err)
				for _, in := range page.Tokens {
					names = append(names, in.Name)
				}
				return names, page
			}
			var there, back [][]string
			names, page := read("")
			assert.Empty(t, page.Previous, "of the first page")
			for there = append(there, names); page.Next != ""; there = append(there, names) {
				names, page = read(page.Next)
			}
			require.Len(t, there, 4)
			for page.Previous != "" {
				names, page = read(page.Previous)
				back = append(back, names)
			}
			slices.Reverse(back)
			assert.Equal(t, there[:3], back, "%s, descending %t", order, descending)
			names, _ = read(page.Next)
			assert.Equal(t, there[1], names, "on again from where one went back to")

			l.Descending = !descending
			l.Cursor = page.Next
			_, err := m.List(t.Context(), l)
			assert.ErrorContains(t, err, "does not belong to this list")
		}
	}
}
