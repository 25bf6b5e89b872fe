package manage_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestNewUINeedsToKnowWhoIsSignedIn(t *testing.T) {
	s := newUISite(t, nil)
	_, err := manage.NewUI(manage.Config{Authority: s.auth})
	assert.ErrorContains(t, err, "Identify")
	_, err = manage.NewUI(manage.Config{Identify: s.config.Identify})
	assert.ErrorContains(t, err, "Authority")
}

func TestUIWhoIsNotSignedInSeesNothing(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	pages := []string{"", "all", "generate", "bulk?action=delete&id=" + in.ID, "tokens/" + in.ID, "tokens/" + in.ID + "/rotate", "nothing"}
	for _, page := range pages {
		a := s.do("", page, nil)
		a.says(401, "not signed in")
		assert.NotContains(t, a.body, "Laptop")
	}
	s.do("", "generate", s.filled("ada")).says(401)
	s.do("", "tokens/"+in.ID+"/delete", url.Values{}).says(401)
	assert.Len(t, s.tokens("ada"), 1)

	s.do("nobody", "", nil).says(403, "do not belong to an environment")

	asked := 0
	s.config.SignIn = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; w.WriteHeader(418) })
	s.handler = s.page()
	s.do("", "all", nil).says(418)
	s.do("ada", "", nil).says(200, "Laptop")
	assert.Equal(t, 1, asked)

	s.config.Identify = func(*http.Request) (apitoken.Actor, error) { return s.actors["ada"], errors.New("database down") }
	s.handler = s.page()
	a := s.do("ada", "", nil)
	a.says(503, "Try again")
	assert.NotContains(t, a.body, "database down")
	assert.Equal(t, "1", a.Header.Get("Retry-After"))
	assert.Equal(t, 1, asked, "a failure is not an invitation to sign in")
	s.config.Identify = func(*http.Request) (apitoken.Actor, error) { panic("database gone") }
	s.handler = s.page()
	a = s.do("ada", "", nil)
	a.says(503, "Try again")
	assert.NotContains(t, a.body, "database gone")
}

func TestUIEveryAnswerIsGuardedAgainstBrowsers(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	answers := map[string]*uiAnswer{
		"generated": s.do("ada", "generate", s.filled("ada")),
		"error":     s.do("ada", "generate", url.Values{}),
		"done":      s.do("ada", "tokens/"+in.ID+"/deactivate", url.Values{}),
		"foreign":   s.do("ada", "generate", url.Values{}, "Sec-Fetch-Site", "cross-site"),
		"nobody":    s.do("", "", nil),
		"method":    s.do("ada", "all", url.Values{}),
	}
	for _, page := range []string{"", "all", "generate", "bulk", "nothing", "tokens/" + in.ID, "tokens/" + in.ID + "/delete", "assets/page.css"} {
		answers[page] = s.do("ada", page, nil)
	}
	for name, a := range answers {
		policy := a.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			assert.Contains(t, policy, part, name)
		}
		assert.NotContains(t, policy, "unsafe", name)
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"), name)
		assert.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"), name)
		assert.Equal(t, "same-origin", a.Header.Get("Referrer-Policy"), name)
		assert.NotRegexp(t, `(?i)<style|<script[^>]*>[^<]|[\s"'](style|on[a-z]+)=|javascript:`, a.body, name)
	}
	s.do("ada", "all", url.Values{}).says(405)
	assert.Equal(t, "GET, HEAD", s.do("ada", "all", url.Values{}).Header.Get("Allow"))
}

func TestUIFormsOfOtherSitesAreRefused(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	before := s.get("ada", in.ID)
	for _, path := range []string{"generate", "bulk", "tokens/" + in.ID + "/deactivate", "tokens/" + in.ID + "/delete", "tokens/" + in.ID + "/rotate", "tokens/" + in.ID + "/reveal", "tokens/" + in.ID + "/end-overlap"} {
		for _, from := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.acme.example"},
			{"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
			{"Sec-Fetch-Site", "", "Origin", "null"},
		} {
			form := s.filled("ada")
			form.Set("action", "delete")
			form.Set("id", in.ID)
			form.Set("overlap", "0")
			a := s.do("ada", path, form, from...)
			a.says(403, "Nothing was changed")
			assert.Empty(t, a.secret())
		}
	}
	assert.Equal(t, before, s.get("ada", in.ID))
	assert.Len(t, s.tokens("ada"), 1)
}

func TestUIWhoMaySeeAndDoWhat(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	for _, c := range []struct {
		user, path string
		status     int
		says       string
	}{
		{"ada", at, 200, "Show"},
		{"bob", at, 404, "does not exist"},
		{"admin", at, 200, "Only its owner can see the secret"},
		{"eve", at, 404, "does not exist"},
		{"ada", "all", 403, "may not see the tokens of others"},
		{"ada", "all?owner=bob", 403, "may not see the tokens of others"},
		{"admin", "all", 200, "Laptop"},
		{"eve", "all", 200, "There are no API tokens"},
		{"bob", "", 200, "You have no API tokens yet"},
		{"ada", at + "/rotate", 200, "How long does the old secret stay valid"},
		{"bob", at + "/rotate", 404, "does not exist"},
		{"admin", at + "/rotate", 200, "only its owner may rotate"},
		{"admin", at + "/deactivate", 200, "Its owner will not be able to activate it"},
		{"ada", at + "/deactivate", 200, "you can activate it again at any time"},
		{"bob", at + "/delete", 404, "does not exist"},
		{"ada", "tokens/AAAAAAAAAAAAAAAAA", 404, "does not exist"},
		{"ada", "tokens/x", 404, "no such page"},
		{"ada", at + "/paint", 404, "no such page"},
		{"ada", "nothing", 404, "no such page"},
		{"ada", "?sort=owner", 422, "sort"},
		{"ada", "?cursor=AAAA", 422, "cursor"},
	} {
		s.do(c.user, c.path, nil).says(c.status, c.says)
	}
	s.do("bob", at+"/delete", url.Values{}).says(404)
	s.do("eve", at+"/deactivate", url.Values{}).says(404)
	s.do("admin", at+"/rotate", url.Values{"overlap": {"0"}, "ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}}).says(403, "Only its owner may rotate")
	s.do("admin", at+"/reveal", url.Values{"ticket": {s.do("ada", at, nil).hidden("ticket")}}).says(403, "Only its owner may see")
	s.do("bob", "bulk", url.Values{"action": {"delete"}, "id": {in.ID}})
	assert.Equal(t, in, s.get("ada", in.ID), "nothing was changed")
	assert.NotContains(t, s.do("ada", "", nil).body, "All API tokens")

	// The owner can't activate what someone else deactivated; the page does not offer it.
	s.do("admin", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	s.do("ada", at, nil).says(200, "You can’t activate this token: someone other than its owner deactivated it")
	s.do("ada", at+"/activate", nil).says(200, "This can’t be done")
	s.do("ada", at+"/activate", url.Values{}).says(403, "The token was deactivated by someone else")
	assert.NotContains(t, s.do("admin", at+"/activate", nil).text(), "This can’t be done", "the administrator can")
	s.do("admin", at+"/activate", url.Values{}).goesTo(s, at+"/activate")
	assert.Equal(t, apitoken.StatusActive, s.get("ada", in.ID).Status)

	// The administrator can deactivate what its owner deactivated, too.
	s.do("ada", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	s.do("admin", at, nil).says(200, "Deactivate too")
	s.do("admin", at+"/deactivate", nil).says(200, "Its owner has deactivated this token already")
	s.do("admin", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	assert.Equal(t, "admin", s.get("ada", in.ID).DeactivatedBy)
	assert.NotContains(t, s.do("admin", at, nil).text(), "Deactivate too")
}
