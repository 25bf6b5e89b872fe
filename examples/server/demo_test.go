package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestALargeDemoHasTheTokensOfALargeService(t *testing.T) {
	n := start(t, t.TempDir(), []string{"DEMO_PASSWORD=secret"}, "-store", "memory:", "-demo", "300")
	session := n.login("admin", "secret").session(t)
	get := func(path string, into any) {
		t.Helper()
		a := n.do("GET", "/manage/api/"+path, "", session)
		require.Equal(t, 200, a.StatusCode, a.body)
		require.NoError(t, json.Unmarshal([]byte(a.body), into))
	}
	var known struct {
		Permissions []struct{ Name, Group string }
	}
	get("permissions", &known)
	assert.Len(t, known.Permissions, 120)
	groups := map[string]bool{}
	for _, p := range known.Permissions {
		groups[p.Group] = true
	}
	assert.Len(t, groups, 15)

	var page struct {
		Tokens []struct {
			Owner, Name  string
			Owner_access string
		}
		Count int
	}
	get("tokens?owner=@all&limit=200", &page)
	assert.Equal(t, 305, page.Count, "300 beside those of the small demo")
	longest, addresses, ids := 0, 0, 0
	for _, token := range page.Tokens {
		longest = max(longest, utf8.RuneCountInString(token.Name))
		if strings.Contains(token.Owner, "@") {
			addresses++
		} else if len(token.Owner) == 36 {
			ids++
		}
		assert.Equal(t, "ok", token.Owner_access, token.Owner)
	}
	assert.Positive(t, addresses)
	assert.Positive(t, ids)
	assert.GreaterOrEqual(t, longest, 60)
	assert.Contains(t, n.greeting, "admin  $DEMO_PASSWORD  in demo: all 120 permissions; manages the tokens of others")
	assert.Equal(t, 200, n.do("GET", "/api/devices", "", "Authorization: apiToken "+n.full).StatusCode)
}
