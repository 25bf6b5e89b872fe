package manage_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// uiSite is a service with the web page, and its users.
type uiSite struct {
	t       *testing.T
	auth    *apitoken.Authority
	store   apitoken.Store
	config  manage.Config
	handler http.Handler
	mount   string
	actors  map[string]apitoken.Actor
	read    apitoken.Permission
	write   apitoken.Permission
	report  apitoken.Permission
}

// newUISite makes a site with a configuration that edit has changed.
func newUISite(t *testing.T, edit func(*apitoken.Config, *manage.Config)) *uiSite {
	t.Helper()
	var catalog apitoken.Catalog
	s := &uiSite{t: t, mount: "/manage/"}
	s.read = catalog.Define("devices:read", "See devices & <their> state")
	s.write = catalog.Define("devices:write", "Change devices")
	s.report = catalog.Define("reports", "See reports")
	key, err := apitoken.NewKey("k", bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	config := apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New(), EncryptionKeys: []apitoken.Key{key}}
	s.config = manage.Config{
		Identify: func(r *http.Request) (apitoken.Actor, error) {
			name := r.Header.Get("User")
			if name == "" {
				return apitoken.Actor{}, fmt.Errorf("no session: %w", manage.ErrNotSignedIn)
			}
			return s.actors[name], nil
		},
		Routes: []apitoken.Route{
			{Method: "GET", Pattern: "/open", Match: "open"},
			{Method: "GET", Pattern: "/devices/{id}", Permissions: []string{"devices:read"}, Match: "all"},
			{Method: "GET", Pattern: "/devices", Permissions: []string{"devices:read"}, Match: "all"},
			{Method: "POST", Pattern: "/devices", Permissions: []string{"devices:read", "devices:write"}, Match: "all"},
			{Method: "GET", Pattern: "/either", Permissions: []string{"devices:write", "reports"}, Match: "any"},
			{Method: "GET", Pattern: "/who", Match: "token"},
		},
	}
	if edit != nil {
		edit(&config, &s.config)
	}
	s.store = config.Store
	s.auth, err = apitoken.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { s.auth.Close() })
	s.config.Authority = s.auth
	everything := []apitoken.Permission{s.read, s.write, s.report}
	s.actors = map[string]apitoken.Actor{
		"ada":   {User: "ada", Environment: "demo", Grants: []apitoken.Permission{s.read, s.write}},
		"bob":   {User: "bob", Environment: "demo", Grants: everything},
		"admin": {User: "admin", Environment: "demo", Grants: everything, ManageOthers: true},
		"eve":   {User: "eve", Environment: "other", Grants: everything, ManageOthers: true},
	}
	s.handler = s.page()
	return s
}

// page returns a new handler, like that of another process of the same service.
func (s *uiSite) page() http.Handler {
	s.t.Helper()
	page, err := manage.NewUI(s.config)
	require.NoError(s.t, err)
	mux := http.NewServeMux()
	mux.Handle(s.mount, page)
	return mux
}

// do sends a request like the browser of a user. With a form it is a POST.
func (s *uiSite) do(user, path string, form url.Values, header ...string) *uiAnswer {
	s.t.Helper()
	path, _, _ = strings.Cut(path, "#") // which browsers keep to themselves
	r := httptest.NewRequest(http.MethodGet, "https://acme.example"+s.mount+path, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, "https://acme.example"+s.mount+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", "https://acme.example")
	}
	r.Header.Set("User", user)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return &uiAnswer{s.t, w.Result(), w.Body.String()}
}

func (s *uiSite) generate(user, name string, perms ...apitoken.Permission) *apitoken.TokenInfo {
	s.t.Helper()
	if perms == nil {
		perms = []apitoken.Permission{s.read}
	}
	in, _, err := s.auth.As(s.actors[user]).Generate(context.Background(), apitoken.GenerateParams{
		Name: name, Permissions: perms, Expiry: apitoken.In(30 * 24 * time.Hour),
	})
	require.NoError(s.t, err)
	return in
}

func (s *uiSite) tokens(user string) []*apitoken.TokenInfo {
	s.t.Helper()
	list, err := s.auth.As(s.actors[user]).List(context.Background(), apitoken.ListParams{})
	require.NoError(s.t, err)
	return list.Tokens
}

func (s *uiSite) get(user, id string) *apitoken.TokenInfo {
	s.t.Helper()
	in, err := s.auth.As(s.actors[user]).Get(context.Background(), id)
	require.NoError(s.t, err)
	return in
}

// filled returns the form that generates a token, filled in.
func (s *uiSite) filled(user string) url.Values {
	return url.Values{
		"ticket": {s.do(user, "generate", nil).hidden("ticket")}, "name": {"CI"}, "description": {"for builds"},
		"expires": {"30d"}, "permission": {"devices:read"},
	}
}

type uiAnswer struct {
	t *testing.T
	*http.Response
	body string
}

// text returns the text of the page, without markup and marks of direction.
func (a *uiAnswer) text() string {
	text := regexp.MustCompile(`(?s)<(style|script|svg).*?</(style|script|svg)>`).ReplaceAllString(a.body, "")
	text = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, "")
	text = strings.NewReplacer("\u2066", "", "\u2068", "", "\u2069", "").Replace(html.UnescapeString(text))
	return strings.Join(strings.Fields(text), " ")
}

func (a *uiAnswer) hidden(name string) string {
	a.t.Helper()
	m := regexp.MustCompile(`<input type="hidden" name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body)
	require.NotNil(a.t, m, "no hidden field %s in %s", name, a.text())
	return html.UnescapeString(m[1])
}

// button returns the form of the button in a list that sends it to a path, nil if there is none.
func (a *uiAnswer) button(path string) url.Values {
	m := regexp.MustCompile(`formaction="[^"]*` + path + `" name="version" value="(\d+)"`).FindStringSubmatch(a.body)
	if m == nil {
		return nil
	}
	return url.Values{"version": {m[1]}, "back": {a.hidden("back")}}
}

// secret returns the secret that a page shows, "" for none.
func (a *uiAnswer) secret() string {
	return regexp.MustCompile(`acme_[0-9A-Za-z]{66}`).FindString(a.body)
}

func (a *uiAnswer) says(status int, texts ...string) {
	a.t.Helper()
	require.Equal(a.t, status, a.StatusCode, a.text())
	for _, text := range texts {
		assert.Contains(a.t, a.text(), text)
	}
}

// goesTo checks a redirect and returns the path, below the mounted page, that
// a browser would go to.
func (a *uiAnswer) goesTo(s *uiSite, from string) string {
	a.t.Helper()
	require.Equal(a.t, http.StatusSeeOther, a.StatusCode, a.text())
	base, err := url.Parse("https://acme.example" + s.mount + from)
	require.NoError(a.t, err)
	to, err := base.Parse(a.Header.Get("Location"))
	require.NoError(a.t, err)
	require.True(a.t, strings.HasPrefix(to.String(), "https://acme.example"+s.mount), to)
	return strings.TrimPrefix(to.String(), "https://acme.example"+s.mount)
}
