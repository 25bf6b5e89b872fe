package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// newHost returns a function that sends a request to the application, by a user, and
// with a form if there is one.
func newHost(t *testing.T) func(user, path string, form url.Values) *httptest.ResponseRecorder {
	auth, err := apitoken.New(apitoken.Config{Prefix: "haus", Permissions: &catalog, Store: memory.New()})
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	handler, err := newHandler(auth)
	require.NoError(t, err)
	return func(user, path string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		if form != nil {
			r = httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		if user != "" {
			r.AddCookie(&http.Cookie{Name: "user", Value: user})
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
}

func TestThePageIsGermanAndInTheLayoutOfTheApplication(t *testing.T) {
	do := newHost(t)
	for _, path := range []string{"/einstellungen/api-token/", "/einstellungen/api-token/all", "/einstellungen/api-token/generate", "/einstellungen/api-token/nichts"} {
		body := do("u-1906", path, nil).Body.String()
		assert.Contains(t, body, `<html lang="de" dir="ltr">`, path)
		assert.Contains(t, body, `<a href="/einstellungen">Einstellungen</a>`, path)
		assert.Contains(t, body, "API-Token", path)
		assert.NotContains(t, body, "API token", path)
	}
	assert.Contains(t, do("u-1906", "/einstellungen/api-token/generate", nil).Body.String(), "Erzeugen")
	assert.Equal(t, "/", do("", "/einstellungen/api-token/", nil).Header().Get("Location"), "strangers sign in")
}

func TestTheApplicationKeepsItsCSRFProtection(t *testing.T) {
	do := newHost(t)
	assert.Equal(t, 403, do("", "/anmelden", url.Values{"user": {"u-1815"}}).Code)
	assert.NotEqual(t, 403, do("u-1815", "/einstellungen/api-token/generate", url.Values{}).Code, "the page has its own")
}

func TestTheGermanTableHasOnlyTextsOfThePage(t *testing.T) {
	texts := manage.Texts()
	for english, own := range german.Texts {
		assert.True(t, slices.Contains(texts, english), "the page has no text %q: change its line in german.txt", english)
		assert.NotEmpty(t, own, english)
	}
	assert.Greater(t, len(german.Texts), len(texts)*3/4)
	for _, text := range texts {
		if german.Texts[text] == "" {
			t.Logf("%q is not translated", text)
		}
	}
}
