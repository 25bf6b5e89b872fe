package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// generate adds a token to the database of a server, while that runs.
func generate(t *testing.T, dir, user string, perms ...apitoken.Permission) string {
	t.Helper()
	store, err := sqlite.Open(context.Background(), filepath.Join(dir, "apitoken.db"))
	require.NoError(t, err)
	defer store.Close()
	text, err := os.ReadFile(filepath.Join(dir, "apitoken-demo.json"))
	require.NoError(t, err)
	kept := new(secrets)
	require.NoError(t, json.Unmarshal(text, kept))
	keys, err := kept.keyring()
	require.NoError(t, err)
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "demo", Permissions: &catalog, Store: store, IntegrityKeys: keys.rows, EncryptionKeys: keys.secrets})
	require.NoError(t, err)
	defer auth.Close()
	_, secret, err := auth.As(userNamed(user)).Generate(context.Background(), apitoken.GenerateParams{
		Name: "A test's", Permissions: perms, Expiry: apitoken.Never(),
	})
	require.NoError(t, err)
	return secret.Reveal()
}

func TestEveryRouteIsServedOnlyToTokensWithItsPermissions(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	reports := generate(t, dir, "grace", readReports)

	routes := []struct {
		method, path, body string
		lacking            string // a token without the permissions, "" if any will do
		status             int    // with them
		required           string
	}{
		{"GET", "/api/devices", "", reports, 200, "devices:read"},
		{"HEAD", "/api/devices", "", reports, 200, "devices:read"},
		{"POST", "/api/devices", `{"name":"Lamp"}`, n.reader, 201, "devices:read devices:write"},
		{"DELETE", "/api/devices/{id}", "", n.reader, 204, "devices:write"},
		{"GET", "/api/reports", "", n.reader, 200, "reports:read reports:admin"},
		{"GET", "/api/whoami", "", "", 200, ""},
	}
	devices := []string{"1", "2", "4"} // to delete; 3 is in the other environment
	for _, r := range routes {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			n.t = t
			send := func(query string, headers ...string) answer {
				path := strings.Replace(r.path, "{id}", devices[0], 1)
				a := n.do(r.method, path+query, r.body, append(headers, "Content-Type: application/json")...)
				if a.StatusCode == 204 && len(devices) > 1 {
					devices = devices[1:]
				}
				return a
			}
			cases := []struct {
				name   string
				answer answer
				status int
				error  string
			}{
				{"no token", send(""), 401, ""},
				{"a foreign scheme", send("", "Authorization: Bearer "+n.full), 401, ""},
				{"a deactivated token", send("", "Authorization: apiToken "+n.disabled), 401, "invalid_token"},
				{"a deactivated token in the query", send("?apiToken=" + n.disabled), 401, "invalid_token"},
				{"a token with a typing error", send("", "Authorization: apiToken "+n.full+"x"), 401, "invalid_token"},
				{"a token twice", send("?apiToken="+n.full, "Authorization: apiToken "+n.full), 400, "invalid_request"},
				{"a good token", send("", "Authorization: apiToken "+n.full), r.status, ""},
				{"a good token, scheme in capitals", send("", "Authorization: APITOKEN "+n.full), r.status, ""},
				{"a good token in the query", send("?apiToken=" + n.full), r.status, ""},
			}
			for _, c := range cases {
				assert.Equal(t, c.status, c.answer.StatusCode, c.name)
				challenge := c.answer.Header.Get("WWW-Authenticate")
				if c.status < 300 {
					assert.Empty(t, challenge, c.name)
					continue
				}
				assert.Contains(t, challenge, `apiToken realm="api"`, c.name)
				assert.Equal(t, c.error != "", strings.Contains(challenge, `error="`+c.error+`"`), "%s: %s", c.name, challenge)
				assert.Equal(t, "application/problem+json", c.answer.Header.Get("Content-Type"), c.name)
			}
			if r.lacking != "" {
				a := send("", "Authorization: apiToken "+r.lacking)
				assert.Equal(t, 403, a.StatusCode)
				assert.Contains(t, a.Header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="`+r.required+`"`)
			}
		})
	}
}

func TestEitherPermissionOfReportsWillDoAndTheStrongerShowsMore(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	reader, admin := generate(t, dir, "grace", readReports), generate(t, dir, "admin", adminReports)
	assert.JSONEq(t, `{"devices":2}`, n.do("GET", "/api/reports?apiToken="+reader, "").body)
	assert.JSONEq(t, `{"devices":2,"added_by":{"ada":1,"grace":1}}`, n.do("GET", "/api/reports?apiToken="+admin, "").body)
}

func TestWhoamiShowsWhatTheTokenIsAndMayDo(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	check := func(token, owner, environment, name, permissions string) {
		a := n.do("GET", "/api/whoami", "", "Authorization: apiToken "+token)
		assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
		assert.JSONEq(t, fmt.Sprintf(`{"id":%q,"owner":%q,"environment":%q,"name":%q,"permissions":%s}`,
			token[5:22], owner, environment, name, permissions), a.body)
	}
	check(n.reader, "ada", "demo", "Dashboard", `["devices:read"]`)
	check(n.full, "admin", "demo", "Maintenance", `["devices:read","devices:write","reports:read","reports:admin","tokens:manage"]`)
	check(generate(t, dir, "eve", adminReports), "eve", "other", "A test's", `["reports:admin"]`)
}

func TestATokenManagesTokensOnlyWithThePermissionForIt(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	list := func(token string) answer {
		return n.do("GET", "/manage/api/tokens", "", "Authorization: apiToken "+token)
	}
	refused := list(n.reader)
	assert.Equal(t, 403, refused.StatusCode)
	assert.Contains(t, refused.body, `"token_not_allowed"`)
	assert.Equal(t, 200, n.do("GET", "/manage/api/self", "", "Authorization: apiToken "+n.reader).StatusCode)
	assert.Equal(t, 200, list(generate(t, dir, "admin", manageTokens)).StatusCode)
}

func TestTheTableOfPermissionsIsOpenAndListsEveryRoute(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	a := n.do("GET", "/api/permissions", "")
	require.Equal(t, 200, a.StatusCode)
	var table struct{ Routes []apitoken.Route }
	require.NoError(t, json.Unmarshal([]byte(a.body), &table))
	var lines []string
	for _, r := range table.Routes {
		lines = append(lines, strings.TrimSpace(r.Method+" "+r.Pattern+" "+r.Match+" "+strings.Join(r.Permissions, " ")))
		assert.NotEmpty(t, r.Description)
	}
	assert.Equal(t, []string{
		"GET /api/devices all devices:read",
		"POST /api/devices all devices:read devices:write",
		"DELETE /api/devices/{id} all devices:write",
		"GET /api/reports any reports:read reports:admin",
		"GET /api/whoami token",
		"GET /api/permissions open",
		"GET /healthz open", "GET /metrics open",
		"GET /{$} open",
		"POST /login open",
		"POST /logout open",
		"/manage/api/ open",
		"/manage/ open",
	}, lines)
	assert.Equal(t, "ok\n", n.do("GET", "/healthz", "").body)
}

func TestEnvironmentsDoNotSeeEachOthersDevices(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	eve := "Authorization: apiToken " + generate(t, dir, "eve", everything...)
	admin := "Authorization: apiToken " + n.full
	assert.JSONEq(t, `{"devices":[{"id":"3","name":"Lift","added_by":"eve"}]}`, n.do("GET", "/api/devices", "", eve).body)
	assert.Equal(t, 404, n.do("DELETE", "/api/devices/1", "", eve).StatusCode)
	assert.Contains(t, n.do("GET", "/api/devices", "", admin).body, "Boiler")
	assert.NotContains(t, n.do("GET", "/api/devices", "", admin).body, "Lift")
}

func TestDevicesAreAddedListedAndRemoved(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	token, asJSON := "Authorization: apiToken "+n.full, "Content-Type: application/json; charset=utf-8"
	added := n.do("POST", "/api/devices", `{"name":"Lämp 💡"}`, token, asJSON)
	assert.Equal(t, 201, added.StatusCode)
	assert.JSONEq(t, `{"id":"4","name":"Lämp 💡","added_by":"admin"}`, added.body)
	assert.Equal(t, "/api/devices/4", added.Header.Get("Location"))
	assert.Contains(t, n.do("GET", "/api/devices", "", token).body, "Lämp 💡")
	assert.Equal(t, 204, n.do("DELETE", "/api/devices/4", "", token).StatusCode)
	assert.Equal(t, 404, n.do("DELETE", "/api/devices/4", "", token).StatusCode)

	for _, c := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"a form", "application/x-www-form-urlencoded", "name=Lamp", 415},
		{"no type", "", `{"name":"Lamp"}`, 415},
		{"no body", "application/json", "", 400},
		{"half an object", "application/json", `{"name":"Lamp"`, 400},
		{"two objects", "application/json", `{"name":"Lamp"}{}`, 400},
		{"a list", "application/json", `["Lamp"]`, 400},
		{"null", "application/json", `null`, 400},
		{"a number as name", "application/json", `{"name":1}`, 400},
		{"no name", "application/json", `{}`, 400},
		{"a blank name", "application/json", `{"name":" "}`, 400},
		{"a control character", "application/json", `{"name":"a\u0007b"}`, 400},
		{"broken UTF-8", "application/json", "{\"name\":\"\xff\"}", 400},
		{"201 characters", "application/json", `{"name":"` + strings.Repeat("ä", 201) + `"}`, 400},
		{"a large body", "application/json", `{"name":"Lamp","x":"` + strings.Repeat("x", 5000) + `"}`, 413},
	} {
		a := n.do("POST", "/api/devices", c.body, token, "Content-Type: "+c.contentType)
		assert.Equal(t, c.status, a.StatusCode, c.name)
		assert.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), c.name)
		var problem struct{ Title, Detail string }
		assert.NoError(t, json.Unmarshal([]byte(a.body), &problem), c.name)
		assert.NotEmpty(t, problem.Detail, c.name)
	}

	for i := range maxDevices - 2 {
		require.Equal(t, 201, n.do("POST", "/api/devices", fmt.Sprintf(`{"name":"%d"}`, i), token, asJSON).StatusCode)
	}
	assert.Equal(t, 409, n.do("POST", "/api/devices", `{"name":"one too many"}`, token, asJSON).StatusCode)
}

func TestARedirectDoesNotRepeatTheToken(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	a := n.do("GET", "//api/devices?apiToken="+n.reader+"&page=2", "")
	assert.Equal(t, http.StatusTemporaryRedirect, a.StatusCode)
	assert.Equal(t, "/api/devices?page=2", a.Header.Get("Location"))
	assert.NotContains(t, fmt.Sprint(a.Header, a.body), n.reader)
}

func TestThePrintedCurlLinesDoWhatTheySay(t *testing.T) {
	line := regexp.MustCompile(`(?m)^  # ([0-9]{3}): .*\n  (curl .*)$`)
	for _, env := range [][]string{nil, {"DEMO_PASSWORD=p&ss 'word%"}} {
		n := start(t, t.TempDir(), env, "-store", "memory:")
		found := line.FindAllStringSubmatch(n.greeting, -1)
		require.Len(t, found, 8)
		for _, m := range found {
			assert.Equal(t, m[1], fmt.Sprint(fromShell(t, m[2], env).StatusCode), m[2])
			if _, err := exec.LookPath("curl"); err == nil {
				sh := exec.Command("sh", "-c", m[2])
				sh.Env = append(os.Environ(), env...)
				out, err := sh.Output()
				require.NoError(t, err)
				assert.Regexp(t, `^HTTP/1\.1 `+m[1]+` `, string(out), m[2])
			}
		}
	}
}

// fromShell sends the request that a curl line describes, for machines without
// curl.
func fromShell(t *testing.T, line string, env []string) answer {
	t.Helper()
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		expanded := os.Expand(m[2], func(name string) string {
			for _, v := range env {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value
				}
			}
			return ""
		})
		words = append(words, m[1]+expanded+m[3])
	}
	method, target, body, header := "GET", "", "", http.Header{}
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-i":
		case "-H":
			i++
			name, value, _ := strings.Cut(words[i], ": ")
			header.Set(name, value)
		case "-d", "--data-urlencode":
			i++
			data := words[i]
			if words[i-1] != "-d" {
				name, value, _ := strings.Cut(data, "=")
				data = name + "=" + escape(value)
			}
			if body != "" {
				body += "&"
			}
			body, method = body+data, "POST"
			if header.Get("Content-Type") == "" {
				header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		default:
			require.Empty(t, target, words[i])
			target = words[i]
		}
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	return send(t, req)
}
