package manage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

// newUISite makes a site; edit changes its configuration before.
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

// page makes another process, as it were, of the same service.
func (s *uiSite) page() http.Handler {
	s.t.Helper()
	page, err := manage.NewUI(s.config)
	require.NoError(s.t, err)
	mux := http.NewServeMux()
	mux.Handle(s.mount, page)
	return mux
}

// do sends a request as a user's browser does; a form makes it a POST.
func (s *uiSite) do(user, path string, form url.Values, header ...string) *uiAnswer {
	s.t.Helper()
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

// filled is the form that generates a token, filled in.
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

// text returns the text of the page, without markup.
func (a *uiAnswer) text() string {
	text := regexp.MustCompile(`(?s)<(style|script|svg).*?</(style|script|svg)>`).ReplaceAllString(a.body, "")
	text = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, "")
	return strings.Join(strings.Fields(html.UnescapeString(text)), " ")
}

func (a *uiAnswer) hidden(name string) string {
	a.t.Helper()
	m := regexp.MustCompile(`<input type="hidden" name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body)
	require.NotNil(a.t, m, "no hidden field %s in %s", name, a.text())
	return html.UnescapeString(m[1])
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

func TestUIAssetsAreKeptByTheirContent(t *testing.T) {
	s := newUISite(t, nil)
	page := s.do("ada", "", nil).body
	links := regexp.MustCompile(`(?:href|src)="\./(assets/[a-z]+\.[0-9a-f]{12}\.[a-z]+)"`).FindAllStringSubmatch(page, -1)
	require.Len(t, links, 3)
	for _, link := range links {
		a := s.do("", link[1], nil)
		require.Equal(t, 200, a.StatusCode, "nobody needs to be signed in")
		assert.Contains(t, a.Header.Get("Cache-Control"), "immutable")
		assert.Contains(t, []string{"text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"}, a.Header.Get("Content-Type"))
		assert.Equal(t, 405, s.do("ada", link[1], url.Values{}).StatusCode)
	}
	for _, path := range []string{"assets/page.css", "assets/", "assets/..%2fui.go", "assets/page.000000000000.css"} {
		assert.NotEqual(t, 200, s.do("", path, nil).StatusCode, path)
	}
}

// Every link and every form of every page leads somewhere, wherever the page is
// mounted.
func TestUIThePageWorksUnderAnyPath(t *testing.T) {
	for _, mount := range []struct{ path, strip string }{
		{"/", ""}, {"/manage/", ""}, {"/manage/", "/manage"}, {"/a/b/c/", ""}, {"/a/b/c/", "/a/b/c"}, {"/a/b/c/", "/a"}, {"/tokens/", ""}, {"/all/generate/", ""},
	} {
		s := newUISite(t, nil)
		for i := range 60 {
			s.generate("admin", fmt.Sprintf("Token %d", i))
		}
		in := s.generate("ada", "Laptop")
		_, err := s.auth.As(s.actors["ada"]).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		page, err := manage.NewUI(s.config)
		require.NoError(t, err)
		mux := http.NewServeMux()
		mux.Handle(mount.path, http.StripPrefix(mount.strip, page))
		s.handler, s.mount = mux, mount.path

		seen, todo := map[string]bool{}, []string{mount.path}
		for len(todo) > 0 && len(seen) < 120 {
			path := todo[0]
			todo = todo[1:]
			if seen[path] {
				continue
			}
			seen[path] = true
			a := s.do("admin", strings.TrimPrefix(path, mount.path), nil)
			require.Equal(t, 200, a.StatusCode, "%+v: %s", mount, path)
			base, err := url.Parse("https://acme.example" + path)
			require.NoError(t, err)
			for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"#]*)`).FindAllStringSubmatch(a.body, -1) {
				to, err := base.Parse(html.UnescapeString(m[1]))
				require.NoError(t, err)
				require.True(t, strings.HasPrefix(to.Path, mount.path), "%+v: %s leads to %s", mount, path, to)
				require.Equal(t, "acme.example", to.Host)
				if !strings.HasSuffix(to.Path, "/reveal") {
					todo = append(todo, to.RequestURI())
				}
			}
		}
		assert.Greater(t, len(seen), 60, mount)

		form := s.do("admin", "tokens/"+in.ID+"/activate?back=all%3Fq%3Dlap", nil)
		done := s.do("admin", "tokens/"+in.ID+"/activate", url.Values{"back": {form.hidden("back")}})
		assert.Equal(t, "all?q=lap&done=activated", done.goesTo(s, "tokens/"+in.ID+"/activate"), mount)
	}

	s := newUISite(t, nil)
	page, err := manage.NewUI(s.config)
	require.NoError(t, err)
	s.handler = http.StripPrefix("/x/manage", page)
	s.mount = "/x/manage"
	a := s.do("ada", "?q=x", nil)
	assert.Equal(t, 303, a.StatusCode)
	assert.Equal(t, "manage/?q=x", a.Header.Get("Location"), "the slash that relative links need")
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

func TestUIAFormSentAgainIsKnownHoweverItsNetworksAreWritten(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	form.Set("networks", "192.0.2.7/24 10.0.0.1/8, 10.0.0.1/8")
	form.Add("permission", form.Get("permission"))
	s.do("ada", "generate", form).says(200, "API token generated")
	s.do("ada", "generate", form).says(200, "generated already")
	assert.Len(t, s.tokens("ada"), 1)

	wide := s.filled("ada") // of which no part is left as it was meant
	wide.Set("networks", "::ffff:10.0.0.0/90")
	s.do("ada", "generate", wide).says(422, "no network")
	assert.Len(t, s.tokens("ada"), 1)
}

func TestUIGenerateShowsTheSecretOnceAndMakesOneToken(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	a := s.do("ada", "generate", form)
	a.says(200, "API token generated", "Copy the token now", "CI")
	secret := a.secret()
	require.NotEmpty(t, secret)
	_, err := s.auth.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(secret), Environment: "demo"}, apitoken.All(s.read))
	require.NoError(t, err)
	assert.Empty(t, a.Header.Get("Location"))
	assert.NotContains(t, fmt.Sprint(a.Header), secret)
	assert.Contains(t, html.UnescapeString(a.body), "curl -H 'Authorization: apiToken "+secret+"' 'https://acme.example/devices'")
	assert.Contains(t, html.UnescapeString(a.body), ">read -rs ACME_TOKEN && export ACME_TOKEN && curl -H \"Authorization: apiToken $ACME_TOKEN\" 'https://acme.example/devices'")

	in := s.tokens("ada")[0]
	assert.Equal(t, "for builds", in.Description)
	assert.Equal(t, 30*24*time.Hour, in.ExpiresAt.Sub(in.CreatedAt))
	again := s.do("ada", "generate", form)
	again.says(200, "generated already", "open the token and show it")
	assert.Empty(t, again.secret())
	assert.Contains(t, again.body, "tokens/"+in.ID)

	for field, value := range map[string]string{
		"name": "CI of the other project", "expires": "90d", "networks": "192.0.2.0/24", "not_before": "2130-01-31T12:00",
	} {
		changed := maps.Clone(form)
		changed.Set(field, value)
		mended := s.do("ada", "generate", changed)
		mended.says(409, "Generate once more if you want another one")
		assert.Contains(t, mended.body, value)
		assert.NotEqual(t, form.Get("ticket"), mended.hidden("ticket"), field)
		assert.Len(t, s.tokens("ada"), 1, field)
	}

	s.handler = s.page() // behind a load balancer, the form may be sent to another process
	again = s.do("ada", "generate", form)
	again.says(200, "generated already")
	assert.Empty(t, again.secret())
	assert.Len(t, s.tokens("ada"), 1)

	// The same content in a new form is a new token.
	next := s.filled("ada")
	assert.NotEmpty(t, s.do("ada", "generate", next).secret())
	assert.Len(t, s.tokens("ada"), 2)
	// A ticket is of one user.
	form.Set("name", "Mine")
	assert.NotEmpty(t, s.do("bob", "generate", form).secret())

	for _, page := range []string{"", "tokens/" + in.ID, "generate"} {
		assert.Empty(t, s.do("ada", page, nil).secret(), page)
	}
}

func TestUIAFormWithMistakesComesBackAsItWasFilledIn(t *testing.T) {
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.MaxLifetime = 60 * 24 * time.Hour })
	for _, c := range []struct {
		name, field, value, says, marks string
		status                          int
	}{
		{"no name", "name", "", "Enter a name", `id="name"`, 422},
		{"a blank name", "name", " \u00a0 ", "Enter a name", `id="name"`, 422},
		{"a long name", "name", strings.Repeat("🦑", 201), "The name has 201 characters; at most 200", `id="name"`, 422},
		{"a control character", "name", "a\x07b", "control character", `id="name"`, 422},
		{"a long description", "description", strings.Repeat("x", 1001), "at most 1000", `id="description"`, 422},
		{"no permission", "permission", "", "Select at least one", `id="permissions"`, 422},
		{"an unknown permission", "permission", "devices:raed", `did you mean "devices:read"?`, `id="permissions"`, 422},
		{"one that may not be granted", "permission", "reports", "You may not grant what you do not have: reports", `id="permissions"`, 403},
		{"no expiry", "expires", "", "Choose when the token expires", `id="expires"`, 422},
		{"an expiry that is none", "expires", "soon", "Choose one of the expiries", `id="expires"`, 422},
		{"no date", "expires", "date", "Enter the date", `id="date"`, 422},
		{"beyond the policy", "expires", "90d", "longest that this service allows", `id="expires"`, 422},
		{"never, against the policy", "expires", "never", "longest that this service allows", `id="expires"`, 422},
		{"no network", "networks", "10.0.0.0/8\n300.1.1.1", `contains "300.1.1.1"`, `id="networks"`, 422},
		{"no moment", "not_before", "tomorrow", "Enter a date and a time", `id="not_before"`, 422},
		{"a start after the end", "not_before", "2999-01-01T00:00", "does not lie before the expiry", `id="not_before"`, 422},
		{"no ticket", "ticket", "", "signin.Incomplete", "", 422},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := s.filled("ada")
			form.Set(c.field, c.value)
			if c.value == "" {
				form.Del(c.field)
			}
			a := s.do("ada", "generate", form)
			a.says(c.status, c.says)
			assert.Empty(t, s.tokens("ada"))
			assert.Contains(t, a.body, "<title>Error: ")
			assert.Contains(t, a.body, `role="alert"`)
			id := strings.TrimSuffix(strings.TrimPrefix(c.marks, `id="`), `"`)
			if id != "" {
				assert.Contains(t, a.body, `<a href="#`+id+`">`, "the summary leads to the field")
				assert.Contains(t, a.body, `id="`+id+`-problem"`)
				assert.Regexp(t, `aria-describedby="[^"]*`+id+`-problem`, a.body)
			}
			if c.field != "description" {
				assert.Contains(t, a.body, `value="for builds"`)
			}
			// It can be mended and sent.
			form = s.filled("ada")
			form.Set("ticket", a.hidden("ticket"))
			s.do("ada", "generate", form).says(200, "API token generated")
			require.NoError(t, s.auth.As(s.actors["ada"]).Delete(t.Context(), s.tokens("ada")[0].ID))
		})
	}
	a := s.do("ada", "generate", url.Values{"ticket": {s.do("ada", "generate", nil).hidden("ticket")}})
	a.says(422, "There are 3 problems")
}

func TestUITheFormOffersWhatCanBeHad(t *testing.T) {
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		c.MaxLifetime, c.MaxIdle = 60*24*time.Hour, 14*24*time.Hour
	})
	a := s.do("ada", "generate", nil)
	a.says(200, "at most 60 days, until "+time.Now().UTC().AddDate(0, 0, 60).Format("Monday, 2 January 2006"), "not used for 14 days expires",
		"You don’t have this permission yourself", time.Now().UTC().AddDate(0, 0, 30).Format("Monday, 2 January 2006"))
	assert.NotRegexp(t, `name="permission"[^>]* checked`, a.body, "nothing is preselected")
	assert.Regexp(t, `name="permission" value="reports" disabled`, a.body)
	assert.Regexp(t, `name="permission" value="devices:read">`, a.body)
	for _, value := range []string{"90d", "365d", "never"} {
		assert.Regexp(t, `name="expires" value="`+value+`" disabled`, a.body)
	}
	assert.Regexp(t, `name="expires" value="60d" data`, a.body)
}

func TestUIALinkFillsTheFormIn(t *testing.T) {
	s := newUISite(t, nil)
	a := s.do("ada", "generate?name=ci&permission=devices:read&permission=reports,no:such&expires=90d&networks=10.0.0.0/8", nil)
	a.says(200, "filled in by a link", "reports, which you do not have yourself", "no:such, which this service does not know")
	assert.Contains(t, a.body, `value="ci"`)
	assert.Contains(t, a.body, `value="devices:read" checked`)
	assert.Contains(t, a.body, `value="90d" checked`)
	assert.NotContains(t, a.body, `value="reports" checked`)
	assert.Contains(t, a.body, ">10.0.0.0/8</textarea>")
	assert.Empty(t, s.tokens("ada"), "nothing is made by following a link")

	a = s.do("ada", "generate?expires=45d", nil)
	assert.Contains(t, a.body, `value="date" id="expires-date" checked`)
	assert.Contains(t, a.body, `name="date" value="`+time.Now().UTC().AddDate(0, 0, 44).Format("2006-01-02")+`"`)
	s.do("ada", "generate?expires=2999-12-31", nil).says(200)
	s.do("ada", "generate?expires=%3Cscript%3E&date=%3Cscript%3E", nil).says(200)
}

func TestUIADateIsTheLastDay(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	form.Set("expires", "date")
	form.Set("date", "2999-12-31")
	form.Set("networks", "192.0.2.7, 2001:db8::/32")
	form.Set("not_before", "2998-01-02T03:04")
	s.do("ada", "generate", form).says(200)
	in := s.tokens("ada")[0]
	assert.Equal(t, time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), in.ExpiresAt)
	assert.Equal(t, time.Date(2998, 1, 2, 3, 4, 0, 0, time.UTC), in.NotBefore)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}, in.Networks)
	s.do("ada", "tokens/"+in.ID, nil).says(200, "Not yet valid", "192.0.2.7/32", "3000-01-01 00:00:00 UTC")
}

func TestUITheCurlLineNamesTheHostOfTheBrowser(t *testing.T) {
	s := newUISite(t, nil)
	for _, c := range []struct{ origin, want string }{
		{"https://tokens.example:8443", "https://tokens.example:8443/devices'"},
		{"http://[2001:db8::1]:80", "http://[2001:db8::1]:80/devices'"},
		{"null", "https://acme.example/devices'"},
		{"https://a'b.example", "https://acme.example/devices'"},
		{"https://$(id).example", "https://acme.example/devices'"},
	} {
		form := s.filled("ada")
		form.Set("name", c.origin)
		a := s.do("ada", "generate", form, "Origin", c.origin)
		assert.Contains(t, html.UnescapeString(a.body), "' '"+c.want, c.origin)
	}
	form := s.filled("bob")
	form.Set("permission", "reports")
	assert.Contains(t, html.UnescapeString(s.do("bob", "generate", form).body), "/either'", "a route that the token can use")
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
		{"ada", "tokens/x", 404, "nothing here"},
		{"ada", at + "/paint", 404, "nothing here"},
		{"ada", "nothing", 404, "nothing here"},
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

	// What another deactivated is not offered to its owner, and not done.
	s.do("admin", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	s.do("ada", at, nil).says(200, "You can’t activate this token: someone else than you deactivated it")
	s.do("ada", at+"/activate", nil).says(200, "This can’t be done")
	s.do("ada", at+"/activate", url.Values{}).says(403, "The token was deactivated by someone else")
	s.do("admin", at+"/activate", url.Values{}).goesTo(s, at+"/activate")
	assert.Equal(t, apitoken.StatusActive, s.get("ada", in.ID).Status)

	// What its owner deactivated can be kept so.
	s.do("ada", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	s.do("admin", at, nil).says(200, "Deactivate too")
	s.do("admin", at+"/deactivate", nil).says(200, "Its owner has deactivated this token already")
	s.do("admin", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	assert.Equal(t, "admin", s.get("ada", in.ID).DeactivatedBy)
	assert.NotContains(t, s.do("admin", at, nil).text(), "Deactivate too")
}

func TestUIShowingASecretIsAskedForEachTime(t *testing.T) {
	reveals, audit := 0, errors.New("the audit is away")
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		c.Audit = func(_ context.Context, ev apitoken.Event) error {
			if ev.Action != "reveal" {
				return nil
			}
			return audit
		}
		c.Observe = func(_ context.Context, ev apitoken.Event) {
			if ev.Action == "reveal" && ev.Err == nil {
				reveals++
			}
		}
	})
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	form := url.Values{"ticket": {s.do("ada", at, nil).hidden("ticket")}}
	s.do("ada", at+"/reveal", form).says(503)
	audit = nil
	a := s.do("ada", at+"/reveal", form)
	a.says(200, "Hide") // what failed does not use the form up
	assert.NotEmpty(t, a.secret())
	a = s.do("ada", at+"/reveal", form)
	a.says(200, "Reloading the page does not show the secret again")
	assert.Empty(t, a.secret())
	assert.Empty(t, s.do("ada", at+"/reveal", url.Values{}).secret())
	assert.Equal(t, 1, reveals)
	assert.Equal(t, at, s.do("ada", at+"/reveal", nil).goesTo(s, at+"/reveal"))

	s = newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.EncryptionKeys = nil })
	in = s.generate("ada", "Laptop")
	at = "tokens/" + in.ID
	s.do("ada", at, nil).says(200, "was shown once, when it was made, and is not kept")
	form = url.Values{"ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}}
	s.do("ada", at+"/reveal", form).says(409, "was not kept")
	a = s.do("ada", "generate", s.filled("ada"))
	a.says(200, "shown only this once and is not kept anywhere")
}

func TestUIRotating(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	s.do("ada", at+"/rotate", url.Values{"ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}}).says(422, "Choose how long the old secret stays valid")
	s.do("ada", at+"/rotate", url.Values{"overlap": {"1h"}}).says(422, "signin.Incomplete")
	form := url.Values{"overlap": {"24h"}, "ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}}
	a := s.do("ada", at+"/rotate", form)
	a.says(200, "API token rotated", "The old secret stays valid too, until ", "UTC, which is in 1 day.")
	require.NotEmpty(t, a.secret())
	a = s.do("ada", at+"/rotate", form)
	a.says(200, "was rotated already")
	assert.Empty(t, a.secret())
	version := s.get("ada", in.ID).Version

	s.handler = s.page()
	a = s.do("ada", at+"/rotate", form)
	a.says(200, "was rotated already")
	assert.Empty(t, a.secret(), "though it is kept")
	assert.Equal(t, version, s.get("ada", in.ID).Version, "another process does not rotate again")
	s.do("ada", at+"/rotate", nil).says(200, "a rotation is not over yet")
	s.do("ada", at+"/rotate", url.Values{"overlap": {"0"}, "ticket": {form.Get("ticket") + "x"}}).says(409, "being rotated already")
	s.do("ada", at, nil).says(200, "Two secrets are valid", "Take the rotation back")
	s.do("admin", at+"/end-overlap", url.Values{"keep": {"new"}}).says(403, "Only its owner may end")

	s.do("ada", at+"/end-overlap?keep=old", nil).says(200, "Take the rotation back?", "new secret are refused")
	to := s.do("ada", at+"/end-overlap", url.Values{"keep": {"old"}}).goesTo(s, at+"/end-overlap")
	s.do("ada", to, nil).says(200, "Only the old secret is valid")
	assert.Nil(t, s.get("ada", in.ID).Rotation)
	s.do("ada", at+"/end-overlap?keep=new", nil).says(200, "the rotation is over already")
	s.do("ada", at+"/end-overlap", url.Values{"keep": {"both"}}).says(422)

	a = s.do("ada", at+"/rotate", url.Values{"overlap": {"0"}, "ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}})
	a.says(200, "The old secret is not valid any more")
}

func TestUIChangesAreAskedForAndLeadBack(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	s.do("ada", at+"/delete", nil).says(200, "Delete this API token?", "Laptop", "never used", "can’t be undone")
	assert.Equal(t, in, s.get("ada", in.ID), "asking changes nothing")

	to := s.do("ada", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	s.do("ada", to, nil).says(200, "API token deactivated.", "Deactivated", "by ada")
	to = s.do("ada", at+"/activate", url.Values{"back": {"?status=inactive"}}).goesTo(s, at+"/activate")
	assert.Equal(t, "?status=inactive&done=activated", to)
	for _, back := range []string{"https://evil.example/", "//evil.example", "../../x", "all/../../x", "javascript:alert(1)", "\\evil"} {
		form := s.do("ada", at+"/deactivate?back="+url.QueryEscape(back), nil)
		form.says(200)
		assert.NotContains(t, form.body, "evil")
		s.do("ada", at+"/deactivate", url.Values{"back": {back}}).goesTo(s, at+"/deactivate")
	}
	to = s.do("ada", at+"/delete", url.Values{}).goesTo(s, at+"/delete")
	s.do("ada", to, nil).says(200, "API token deleted.", "no API tokens yet")
	s.do("ada", "?done=%3Cscript%3E&n=99", nil).says(200)
	s.do("ada", at+"/delete", url.Values{}).says(404)
}

func TestUIBulkChangesAreConfirmedOnceWithTheirCount(t *testing.T) {
	s := newUISite(t, nil)
	form := url.Values{"back": {"all?owner=ada"}}
	for i := range 3 {
		form.Add("id", s.generate("ada", fmt.Sprintf("Token %d", i)).ID)
	}
	form.Set("action", "deactivate")
	a := s.do("admin", "bulk?"+form.Encode(), nil)
	a.says(200, "Deactivate 3 API tokens?", "Token 2", "of ada", "Owners can’t activate")
	assert.Equal(t, apitoken.StatusActive, s.tokens("ada")[0].Status)
	to := s.do("admin", "bulk", form).goesTo(s, "bulk")
	assert.Equal(t, "all?owner=ada&done=deactivated&n=3", to)
	s.do("admin", to, nil).says(200, "3 API tokens deactivated.")

	form.Set("action", "activate")
	s.do("ada", "bulk", form).says(403, "deactivated by someone else", "Nothing was changed")
	assert.Equal(t, apitoken.StatusInactive, s.tokens("ada")[0].Status)

	form.Set("action", "delete")
	s.do("bob", "bulk?"+form.Encode(), nil).says(200, "No API tokens are selected")
	s.do("admin", "bulk", form).goesTo(s, "bulk")
	assert.Empty(t, s.tokens("ada"))

	s.do("ada", "bulk?action=delete", nil).says(200, "No API tokens are selected")
	in := s.generate("ada", "One")
	s.do("ada", "bulk?action=paint&id="+in.ID, nil).says(422)
	s.do("ada", "bulk?action=delete&id="+in.ID+"&id="+in.ID, nil).says(200, "Delete 1 API token?")
}

func TestUIListsAreFilteredSortedAndPagedByTheirAddress(t *testing.T) {
	s := newUISite(t, nil)
	for i := range 120 {
		s.generate("bob", fmt.Sprintf("Sensor %03d", i))
	}
	s.generate("ada", "Laptop", s.write)
	a := s.do("admin", "all?q=sensor&sort=name", nil)
	a.says(200, "Showing 50 of 120", "Clear filters")
	assert.Contains(t, a.body, `aria-sort="ascending"`)
	var names []string
	path := "all?q=sensor&sort=name"
	for path != "" {
		a := s.do("admin", path, nil)
		for _, m := range regexp.MustCompile(`<a class="name"[^>]*><bdi>([^<]*)`).FindAllStringSubmatch(a.body, -1) {
			names = append(names, m[1])
		}
		path = ""
		if m := regexp.MustCompile(`href="\./([^"]*)" rel="next"`).FindStringSubmatch(a.body); m != nil {
			path = html.UnescapeString(m[1])
			assert.Contains(t, path, "q=sensor")
		}
	}
	require.Len(t, names, 120)
	assert.Equal(t, "Sensor 000", names[0])
	assert.Equal(t, "Sensor 119", names[119])
	s.do("admin", "all?owner=ada", nil).says(200, "Showing 1 of 1", "Laptop")
	s.do("admin", "all?permission=devices:write", nil).says(200, "Showing 1 of 1", "Laptop")
	s.do("admin", "all?status=inactive", nil).says(200, "No API token matches")
	s.do("ada", "?owner=bob", nil).says(200, "Showing 1 of 1", "Laptop")
	s.do("admin", "all?permission=gone", nil).says(200, "No API token matches")
}

func TestUICountsStopAtAThousand(t *testing.T) {
	s := newUISite(t, nil)
	for i := range 1001 {
		s.generate("bob", fmt.Sprint("Token ", i))
	}
	s.do("admin", "all", nil).says(200, "Showing 50 of 1,000+")
}

func TestUIHostileTextsAreTextEverywhere(t *testing.T) {
	s := newUISite(t, nil)
	for _, name := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "\u200bgnp.exe", strings.Repeat("🦑", 200), "{{.Secret}}"} {
		in, _, err := s.auth.As(s.actors["ada"]).Generate(t.Context(), apitoken.GenerateParams{Name: name, Description: name, Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never()})
		require.NoError(t, err)
		at := "tokens/" + in.ID
		form := s.filled("ada")
		form.Set("name", name)
		generated := s.do("ada", "generate", form)
		form.Set("expires", "")
		pages := []*uiAnswer{
			generated, s.do("ada", "generate", form), s.do("ada", "", nil), s.do("admin", "all", nil), s.do("ada", at, nil), s.do("ada", at+"/rotate", nil),
			s.do("ada", at+"/delete", nil), s.do("ada", "bulk?action=delete&id="+in.ID, nil), s.do("ada", "generate?name="+url.QueryEscape(name), nil),
			s.do("ada", "?q="+url.QueryEscape(name), nil), s.do("ada", at+"?from="+url.QueryEscape(name)+"&route=GET+/devices", nil),
		}
		for i, a := range pages {
			require.Less(t, a.StatusCode, 500)
			for _, bad := range []string{"<script>alert", "<img", "' onmouse"} {
				assert.NotContains(t, a.body, bad, "page %d", i)
			}
			assert.Contains(t, html.UnescapeString(a.body), name, "page %d", i)
			shown := regexp.MustCompile(`>[^<]*`+regexp.QuoteMeta(html.EscapeString(name))).FindAllString(a.body, -1)
			for _, text := range shown {
				assert.Regexp(t, `bdi>|\x{2068}|^>`+regexp.QuoteMeta(html.EscapeString(name))+"$", text)
			}
		}
	}
	s.actors["ada"] = apitoken.Actor{User: "<b>ada", Environment: "<i>demo", Grants: []apitoken.Permission{s.read}, ManageOthers: true}
	for _, page := range []string{"", "all", "generate"} {
		a := s.do("ada", page, nil)
		assert.NotContains(t, a.body, "<b>ada")
		assert.NotContains(t, a.body, "<i>demo")
	}
}

func TestUIExplaining(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID + "?route="
	for _, c := range []struct{ route, from, says string }{
		{"GET /devices", "", "A request would be let through."},
		{"GET /who", "", "A request would be let through."},
		{"POST /devices", "", "would get status 403. The token lacks devices:write."},
		{"GET /either", "", "The token lacks devices:write or reports."},
		{"GET /devices", "here", "Enter an address like"},
	} {
		s.do("ada", at+url.QueryEscape(c.route)+"&from="+c.from, nil).says(200, c.says)
	}
	assert.NotContains(t, s.do("ada", at+"GET+/open", nil).text(), "A request would")
	bound := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Networks: &bound, Active: new(false)})
	require.NoError(t, err)
	s.do("ada", at+"GET+/devices&from=198.51.100.1", nil).says(200, "status 401", "The token is deactivated.", "The address is not in the networks")
}

// uiBrokenStore fails on demand.
type uiBrokenStore struct {
	*memory.Store
	broken bool
}

func (s *uiBrokenStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if s.broken {
		return apitoken.Record{}, errors.New("disk on fire")
	}
	return s.Store.Get(ctx, id)
}

func (s *uiBrokenStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if s.broken {
		return apitoken.Page{}, errors.New("disk on fire")
	}
	return s.Store.List(ctx, q)
}

func TestUIAStoreThatFailsIsSaidSo(t *testing.T) {
	store := &uiBrokenStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
	in := s.generate("ada", "Laptop")
	form := s.filled("ada")
	store.broken = true
	for _, path := range []string{"", "tokens/" + in.ID, "tokens/" + in.ID + "/delete"} {
		a := s.do("ada", path, nil)
		a.says(503, "unavailable")
		assert.NotContains(t, a.body, "fire")
	}
	s.do("ada", "generate", nil).says(200)
	s.do("ada", "tokens/"+in.ID+"/delete", url.Values{}).says(503, "not known whether")
	s.do("ada", "generate", form).says(503)
	store.broken = false
	s.do("ada", "generate", form).says(200, "API token generated")
}

func TestUIFormsAreBounded(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	form.Set("networks", strings.Repeat("x", 300<<10))
	s.do("ada", "generate", form).says(400, "could not be read")
	assert.Empty(t, s.tokens("ada"))
}
