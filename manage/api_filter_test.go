package manage_test

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// listed follows a list to its end and returns the names of its tokens, and the number of
// its pages.
func (w *apiWorld) listed(t *testing.T, query string) (names []string, pages int) {
	t.Helper()
	for cursor := ""; ; pages++ {
		path := "tokens?" + query
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		// Not by do, which would compare each of a thousand answers with the document.
		r, rec := httptest.NewRequest("GET", apiPrefix+"/"+path, nil), httptest.NewRecorder()
		apiAs("admin")(r)
		w.handler.ServeHTTP(rec, r)
		require.Equal(t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body)
		var page struct {
			Tokens []struct{ Name string }
			Next   string
		}
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &page))
		for _, token := range page.Tokens {
			names = append(names, token.Name)
		}
		if page.Next == "" {
			return names, pages + 1
		}
		cursor = page.Next
	}
}

// Four tokens, one a day, are used two days later, all but the last; the first two expire
// 30 and 60 days after they were created.
func TestAListCanBeNarrowedByTimesAndByWhatMadeATokenInEveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) { c.MaxStaleness = apitoken.NoCache })
		begin := time.Now()
		day := func(n int) string { return begin.Add(time.Duration(n) * 24 * time.Hour).UTC().Format(time.RFC3339Nano) }
		var secrets []apitoken.Secret
		for i, name := range []string{"a", "b", "c", "d"} {
			time.Sleep(24 * time.Hour)
			_, secret := w.generate("ada", func(g *apitoken.GenerateParams) {
				if g.Name = name; i < 2 {
					g.Expiry = apitoken.In(time.Duration(30*(i+1)) * 24 * time.Hour)
				}
			})
			secrets = append(secrets, secret)
		}
		for _, secret := range secrets[:3] { // at the days 5, 6, 7
			time.Sleep(24 * time.Hour)
			require.True(t, w.works(secret.Reveal()))
		}
		time.Sleep(5 * time.Minute) // uses are written
		by := w.do("POST", "tokens", `{"name":"e","permissions":["devices:read"],"never":true}`, apiWith(secrets[3].Reveal()))
		require.Equal(t, http.StatusCreated, by.status, by.body)
		time.Sleep(5 * time.Minute)

		for query, want := range map[string]string{
			"":                         "abcde",
			"created_before=" + day(1): "",
			"created_after=" + day(1):  "abcde",
			"created_after=" + day(2):  "bcde",
			"created_before=" + day(3): "ab",
			"created_after=" + day(2) + "&created_before=" + day(4):     "bc",
			"expires_before=" + day(31):                                 "",
			"expires_after=" + day(31):                                  "ab",
			"expires_before=" + day(62):                                 "a",
			"expires_after=" + day(32):                                  "b",
			"never_expires=true":                                        "cde",
			"last_used_before=" + day(6):                                "a",
			"last_used_after=" + day(6):                                 "bcd",
			"last_used_after=" + day(6) + "&last_used_before=" + day(7): "b",
			"never_used=true":                                           "e",
			"never_used=true&never_expires=true":                        "e",
			"created_with=" + by.text("token", "created_with"):          "e",
			"created_with=00000000000000000":                            "",
			"created_after=" + day(3) + "&status=active&q=d&permission=devices:read&owner=ada":                                "d",
			"created_after=" + url.QueryEscape(begin.Add(48*time.Hour).In(time.FixedZone("", 7200)).Format(time.RFC3339Nano)): "bcde",
		} {
			if !strings.Contains(query, "owner=") {
				query = strings.TrimPrefix(query+"&owner=@all", "&")
			}
			for _, order := range []string{"", "&sort=name&order=desc", "&sort=created", "&sort=created&order=desc", "&sort=expires", "&sort=expires&order=desc", "&sort=last_used", "&sort=last_used&order=desc"} {
				for _, limit := range []string{"&limit=1", "&limit=3"} {
					names, _ := w.listed(t, query+order+limit)
					slices.Sort(names)
					assert.Equal(t, want, strings.Join(names, ""), "%s%s%s", query, order, limit)
				}
			}
		}

		for query, want := range map[string]int{ // pages of one token
			"sort=created&created_before=" + day(2):               2,
			"sort=created&order=desc&created_after=" + day(4):     3,
			"sort=expires&expires_before=" + day(32):              2,
			"sort=expires&order=desc&never_expires=true":          4,
			"sort=last_used&never_used=true":                      2,
			"sort=last_used&order=desc&last_used_after=" + day(7): 3,
			"sort=name&never_used=true":                           5,
		} {
			_, pages := w.listed(t, query+"&limit=1&owner=@all")
			assert.Equal(t, want, pages, query)
		}
	})
}

func TestACursorOfAnotherFilterIsRefused(t *testing.T) {
	w := newAPIWorld(t)
	for range 3 {
		w.generate("ada")
	}
	const filter = "never_used=true"
	cursor := w.do("GET", "tokens?limit=1&"+filter, "", apiAs("ada")).text("next")
	plain := w.do("GET", "tokens?limit=1", "", apiAs("ada")).text("next")
	require.NotEmpty(t, cursor)
	assert.Equal(t, http.StatusOK, w.do("GET", "tokens?limit=200&"+filter+"&cursor="+cursor, "", apiAs("ada")).status)
	for query, cursor := range map[string]string{
		"":                            cursor,
		"never_expires=true":          cursor,
		filter + "&sort=created":      cursor,
		filter + "&status=damaged":    cursor,
		filter + "&created_with=x":    cursor,
		filter:                        plain,
		filter + "&q=c":               cursor,
		"never_used=true&limit=2":     cursor[:len(cursor)-1],
		"never_used=true&limit=3":     cursor[len(cursor)-9:],
		"never_used=true&limit=4":     "." + cursor,
		"expires_after=" + moment2030: cursor,
	} {
		a := w.do("GET", "tokens?"+query+"&cursor="+url.QueryEscape(cursor), "", apiAs("ada"))
		assert.Equal(t, http.StatusBadRequest, a.status, "%s: %s", query, a.body)
		assert.Equal(t, []string{"cursor"}, a.fieldsOf(t), query)
	}
}

const moment2030 = "2030-01-01T00:00:00Z"

func TestDamagedTokensAreListedAlone(t *testing.T) {
	store := memory.New()
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		key, err := apitoken.NewKey("k", []byte(strings.Repeat("k", 32)))
		require.NoError(t, err)
		c.Store, c.IntegrityKeys = store, []apitoken.Key{key}
	})
	w.store.Store = store
	w.generate("ada")
	info, _ := w.generate("ada", func(g *apitoken.GenerateParams) { g.Name = "forged" })
	rec, err := store.Get(context.Background(), info.ID)
	require.NoError(t, err)
	rec.Version++
	rec.Permissions = append(rec.Permissions, "devices:write")
	require.NoError(t, store.Replace(context.Background(), rec))
	for query, want := range map[string]string{
		"status=damaged": "forged", "status=newer": "", "status=active": "ci,forged", "": "ci,forged",
		"status=damaged&never_expires=true":            "", // nobody can vouch for that
		"status=damaged&sort=expires&limit=1&q=forged": "forged",
	} {
		names, _ := w.listed(t, cmp.Or(query, "q=")+"&owner=@all")
		slices.Sort(names)
		assert.Equal(t, want, strings.Join(names, ","), query)
	}
}
