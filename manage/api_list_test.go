package manage_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestAPageLeadsToTheNextAndNowhereElse(t *testing.T) {
	w := newAPIWorld(t)
	var want []string
	for i := range 7 {
		info, _ := w.generate("ada", func(g *apitoken.GenerateParams) { g.Name = fmt.Sprintf("t%d", i) })
		want = append(want, info.ID)
	}
	w.generate("eve")
	var got, cursors []string
	for next := ""; ; {
		path := "tokens?limit=3&sort=name"
		if next != "" {
			path += "&cursor=" + url.QueryEscape(next)
		}
		a := w.do("GET", path, "", apiAs("ada"))
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, 7, apiInt(a.at("count")))
		assert.Equal(t, false, a.at("count_more"))
		for _, token := range a.at("tokens").([]any) {
			got = append(got, token.(map[string]any)["id"].(string))
		}
		if a.at("next") == nil {
			break
		}
		next = a.text("next")
		cursors = append(cursors, next)
	}
	assert.Equal(t, want, got)
	require.Len(t, cursors, 2)

	refused := func(query, cursor string, edit func(*http.Request)) {
		t.Helper()
		a := w.do("GET", "tokens?"+query+"&cursor="+url.QueryEscape(cursor), "", edit)
		assert.Equal(t, http.StatusBadRequest, a.status, a.body)
		assert.Equal(t, "cursor", a.text("field"))
	}
	cursor := cursors[0]
	for i := range cursor { // every change of a character
		for _, c := range "A_" {
			forged := cursor[:i] + string(c) + cursor[i+1:]
			if forged != cursor {
				refused("limit=3&sort=name", forged, apiAs("ada"))
			}
		}
	}
	for _, forged := range []string{cursor[:len(cursor)-1], cursor + "A", cursor + "=", cursor + "\u00a0", strings.Repeat("A", 5000)} {
		refused("limit=3&sort=name", forged, apiAs("ada"))
	}
	for _, query := range []string{"sort=created", "sort=name&order=desc", "sort=name&q=t", "sort=name&status=active", "sort=name&permission=devices:read"} {
		refused("limit=3&"+query, cursor, apiAs("ada"))
	}
	refused("limit=3&sort=name", cursor, apiAs("grace"))
	refused("limit=3&sort=name&owner=@all", cursor, apiAs("admin"))
	refused("limit=3&sort=name&owner=@all", cursor, apiAs("eve"))
	refused("limit=3&sort=name&owner=ada", cursor, apiAs("eve"))
}

func TestCountsStopAtAThousand(t *testing.T) {
	w := newAPIWorld(t)
	for range 1001 {
		w.generate("ada")
	}
	a := w.do("GET", "tokens?limit=1", "", apiAs("ada"))
	assert.Equal(t, 1000, apiInt(a.at("count")))
	assert.Equal(t, true, a.at("count_more"))
}

func TestAPartialPageSaysSo(t *testing.T) {
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = hastyStore{c.Store} })
	for range 3 {
		w.generate("ada")
	}
	a := w.do("GET", "tokens?limit=1", "", apiAs("ada"))
	assert.Equal(t, false, a.at("partial"))
	path := "tokens?limit=3&q=ada"
	for page := range 3 {
		a := w.do("GET", path, "", apiAs("ada"))
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, page < 2, a.at("partial"))
		assert.Equal(t, true, a.at("count_more"))
		if page < 2 {
			assert.Empty(t, a.at("tokens"))
			path = "tokens?limit=3&q=ada&cursor=" + url.QueryEscape(a.text("next"))
		} else {
			assert.Len(t, a.at("tokens"), 1)
			assert.Nil(t, a.at("next"))
		}
	}
}
