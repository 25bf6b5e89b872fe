package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var escape = url.QueryEscape

const form = "Content-Type: application/x-www-form-urlencoded"

func (n *node) login(user, password string, headers ...string) answer {
	n.t.Helper()
	return n.do("POST", "/login", "user="+escape(user)+"&password="+escape(password), append(headers, form)...)
}

// session returns the Cookie header that an answer's session cookie asks for.
func (a answer) session(t *testing.T) string {
	t.Helper()
	require.Len(t, a.Cookies(), 1)
	return "Cookie: session=" + a.Cookies()[0].Value
}

func TestUsersSignInAndOut(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	in := n.login("ada", n.password)
	assert.Equal(t, 303, in.StatusCode)
	assert.Equal(t, "/manage/", in.Header.Get("Location"))
	require.Len(t, in.Cookies(), 1)
	cookie := in.Cookies()[0]
	assert.True(t, cookie.HttpOnly)
	assert.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
	assert.False(t, cookie.Secure, "over plain HTTP the browser would not send it back")
	session := in.session(t)
	assert.Contains(t, n.do("GET", "/", "", session).body, "Signed in as ada")
	assert.NotContains(t, n.do("GET", "/", "").body, "Signed in")

	again := n.login("ada", n.password, session)
	assert.NotEqual(t, session, again.session(t), "the token of a session is renewed")
	assert.NotContains(t, n.do("GET", "/", "", session).body, "Signed in")
	assert.NotEqual(t, "Cookie: session=chosen", n.login("ada", n.password, "Cookie: session=chosen").session(t))

	out := n.do("POST", "/logout", "", again.session(t))
	assert.Equal(t, 303, out.StatusCode)
	assert.Negative(t, out.Cookies()[0].MaxAge)
	assert.NotContains(t, n.do("GET", "/", "", again.session(t)).body, "Signed in")
	assert.Equal(t, 303, n.do("POST", "/logout", "").StatusCode, "who is out may sign out")
	assert.Equal(t, 405, n.do("GET", "/logout", "").StatusCode)
}

func TestASessionIsNoToken(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	session := n.login("ada", n.password).session(t)
	assert.Equal(t, 401, n.do("GET", "/api/devices", "", session).StatusCode)
}

func TestAWrongPasswordDoesNotSignIn(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	for _, c := range []struct{ name, body string }{
		{"a wrong password", "user=ada&password=wrong"},
		{"an empty password", "user=ada&password="},
		{"no password", "user=ada"},
		{"somebody else's", "user=admin&password=" + n.password},
		{"a user that there is not", "user=nobody&password=" + n.password},
		{"no user with no password", "user=&password="},
		{"an API token", "user=ada&password=" + n.reader},
		{"other case", "user=Ada&password=" + n.password},
		{"nothing", ""},
	} {
		a := n.do("POST", "/login", c.body, form)
		assert.Equal(t, 401, a.StatusCode, c.name)
		assert.Contains(t, a.body, "Wrong user or password.", c.name)
		assert.Empty(t, a.Cookies(), c.name)
	}
	inQuery := n.do("POST", "/login?user=ada&password="+n.password, "", form)
	assert.Equal(t, 401, inQuery.StatusCode, "a password in the URL is not one")
	long := n.do("POST", "/login", "user=ada&password="+strings.Repeat("x", 5000), form)
	assert.Equal(t, 400, long.StatusCode)
	broken := n.do("POST", "/login", "user=%", form)
	assert.Equal(t, 400, broken.StatusCode)
}

func TestOtherSitesCannotSignInOrOut(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:")
	session := n.login("ada", n.password).session(t)
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example"} {
		in := n.login("ada", n.password, header)
		assert.Equal(t, 403, in.StatusCode, header)
		assert.Empty(t, in.Cookies(), header)
		assert.Equal(t, 403, n.do("POST", "/logout", "", header, session).StatusCode, header)
	}
	assert.Contains(t, n.do("GET", "/", "", session).body, "Signed in as ada")
	assert.Equal(t, 303, n.login("ada", n.password, "Sec-Fetch-Site: same-origin", "Origin: "+n.url).StatusCode)
}

func TestDEMO_PASSWORDIsThePasswordOfAllUsers(t *testing.T) {
	dir, env := t.TempDir(), []string{"DEMO_PASSWORD=p&ss 'word%"}
	first := start(t, dir, env)
	for _, u := range users {
		assert.Equal(t, 303, first.login(u.User, "p&ss 'word%").StatusCode, u.User)
		assert.Equal(t, 401, first.login(u.User, "$DEMO_PASSWORD").StatusCode, u.User)
	}
	first.stop()
	said := first.stdout.String()
	assert.Contains(t, said, "DEMO_PASSWORD is set")
	assert.NotContains(t, said, "p&ss")
	assert.NotContains(t, files(t, dir), "apitoken-demo.json")

	second := start(t, dir, env)
	assert.Equal(t, 200, second.do("GET", "/api/whoami?apiToken="+first.reader, "").StatusCode)
	assert.NotContains(t, second.output(), "demo_")
	assert.Contains(t, refuseToStart(t, dir, []string{"DEMO_PASSWORD="}), "apitoken-demo.json", "empty is not set")
}

func TestDEMO_PASSWORDStandsInForThePasswordsOfTheDemoFile(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil)
	first.stop()
	env := []string{"DEMO_PASSWORD=secret"}
	with := start(t, dir, env)
	assert.Equal(t, 200, with.do("GET", "/api/devices?apiToken="+first.reader, "").StatusCode)
	assert.Equal(t, 303, with.login("ada", "secret").StatusCode)
	assert.Equal(t, 401, with.login("ada", first.password).StatusCode)
	with.stop()

	require.NoError(t, os.Remove(filepath.Join(dir, "apitoken-demo.json")))
	assert.Contains(t, refuseToStart(t, dir, env), "Config.IntegrityKeys lacks keys", "nothing can stand in for its keys")
	assert.NotContains(t, files(t, dir), "apitoken-demo.json")
}

func TestKeysDerivedFromAPasswordAreTheSameEverywhereAndDiffer(t *testing.T) {
	one, same, other := derivedSecrets("one"), derivedSecrets("one"), derivedSecrets("other")
	assert.Equal(t, one.RowKey, same.RowKey)
	assert.Equal(t, one.EncryptionKey, same.EncryptionKey)
	assert.NotEqual(t, one.RowKey, one.EncryptionKey)
	assert.NotEqual(t, one.RowKey, other.RowKey)
	assert.NotEqual(t, one.Passwords["ada"].Hash, same.Passwords["ada"].Hash, "salted")
	assert.Len(t, one.RowKey, keySize)
	assert.Len(t, one.EncryptionKey, keySize)
}

func TestFewPasswordsAreCheckedAtOnce(t *testing.T) {
	s := newSignIn(derivedSecrets("secret").Passwords, noFront(t))
	synctest.Test(t, func(t *testing.T) { // nobody waits too long while others compute
		s.turns = newTurns(maxChecks)
		var wg sync.WaitGroup
		for i := range 3 * maxChecks {
			wg.Go(func() {
				good, err := s.check(context.Background(), netip.AddrFrom4([4]byte{192, 0, 2, byte(i / 2)}), "ada", "secret")
				assert.True(t, good)
				assert.NoError(t, err)
			})
		}
		wg.Wait()

		for range maxChecks {
			s.turns.all <- struct{}{}
		}
		gone, cancel := context.WithCancel(context.Background())
		cancel() // rather than wait
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(gone, "POST", "/login", strings.NewReader("user=ada&password=secret"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		s.page(http.HandlerFunc(s.login)).ServeHTTP(w, r)
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "5", w.Header().Get("Retry-After"))
		assert.Empty(t, w.Result().Cookies())
		assert.Empty(t, s.turns.share, "nothing is kept of clients who are gone")
	})
}

func TestTheCookieIsSecureOverTLS(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{Prefix: "demo", Permissions: &catalog, Store: memory.New()})
	require.NoError(t, err)
	h, err := newHandler(auth, newSignIn(derivedSecrets("secret").Passwords, noFront(t)), nil)
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/login", strings.NewReader("user=ada&password=secret"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.TLS = new(tls.ConnectionState)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Len(t, w.Result().Cookies(), 1)
	assert.True(t, w.Result().Cookies()[0].Secure)
}
