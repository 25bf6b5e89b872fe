package manage_test

import (
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

const tinyPNG = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"

func TestUIEveryMistakeInTheLookIsFoundAtOnce(t *testing.T) {
	s := newUISite(t, nil)
	s.config.PublicURL = "acme.example?x"
	s.config.Page = manage.Page{
		Layout:         template.Must(template.New("").Parse("<main>{{.Title}}</main>")),
		Style:          map[string]string{"accent": "red; } body { display: none", "acent": "red", "ground": "url(//evil.example)", "radius": "calc(1px", "text": " "},
		Logo:           []byte("MZ"),
		LogoURL:        "//cdn.acme.example/logo.svg",
		Sources:        []string{"https://cdn.acme.example/path", "'unsafe-inline'"},
		FrameAncestors: []string{"*"},
		Words:          &manage.Words{Lang: "de", Texts: map[string]string{"nothing": "nichts"}},
	}
	_, err := manage.NewUI(s.config)
	for _, mistake := range []string{
		"manage: Config.PublicURL", "Config.Page.Layout lacks {{.Head}}", "Config.Page.Layout lacks {{.Body}}",
		`Style["accent"]`, `Style has "acent", which is none of ground, `, `Style["ground"]`, `Style["radius"]`, `Style["text"] is empty`,
		"Logo is no PNG", `LogoURL "//cdn`, "Logo and LogoURL are both set", "Sources[0]", "Sources[1]", "FrameAncestors[0]",
		"manage: Config.Page.Words: Texts has \"nothing\"",
	} {
		assert.ErrorContains(t, err, mistake)
	}
}

// asset returns the content of the file to which the page links.
func (s *uiSite) asset(a *uiAnswer, file string) *uiAnswer {
	s.t.Helper()
	name, ext, _ := strings.Cut(file, ".")
	link := regexp.MustCompile(`assets/` + name + `\.[0-9a-f]+\.` + ext).FindString(a.body)
	require.NotEmpty(s.t, link, "no link to %s in %s", file, a.body)
	return s.do("", link, nil)
}

func TestUITheColorsAndTheLogoAreThoseOfTheService(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.Style = map[string]string{"accent": "light-dark(#0b6e4f, #35c08f)", "sans": `"Inter", sans-serif`, "accent-soft": "#eee"}
		c.Page.Logo = []byte(tinyPNG)
	})
	a := s.do("ada", "", nil)
	css := s.asset(a, "style.css")
	css.says(200)
	assert.Contains(t, css.body, "--accent: light-dark(#0b6e4f, #35c08f);\n")
	assert.Contains(t, css.body, `--sans: "Inter", sans-serif;`)
	assert.Contains(t, css.body, "--accent-soft: #eee;")
	assert.Contains(t, css.body, "--accent-hover: color-mix(")
	assert.Greater(t, strings.Index(a.body, "assets/style."), strings.Index(a.body, "assets/page."), "what comes later wins")
	logo := s.asset(a, "logo.png")
	assert.Equal(t, tinyPNG, logo.body)
	assert.Equal(t, "image/png", logo.Header.Get("Content-Type"))
	assert.NotContains(t, a.Header.Get("Content-Security-Policy"), "unsafe")
}

func TestUIALogoOfAnotherOriginIsAllowedByThePolicy(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) { c.Page.LogoURL = "https://cdn.acme.example/logo.svg" })
	a := s.do("ada", "", nil)
	assert.Contains(t, a.body, `src="https://cdn.acme.example/logo.svg"`)
	assert.Contains(t, a.Header.Get("Content-Security-Policy"), "img-src 'self' https://cdn.acme.example;")
}

func TestUIThePageStandsInTheLayoutOfTheService(t *testing.T) {
	layout := template.Must(template.New("shop").Parse(`<!DOCTYPE html><html lang="{{.Lang}}" dir="{{.Dir}}"><head><title>{{.Title}} | Shop</title>{{.Head}}</head>` +
		`<body><header>{{.Request.Header.Get "Shop"}} for {{.Actor.User}}</header><main>{{.Body}}</main></body></html>`))
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.Layout, c.Page.Sources = layout, []string{"https://cdn.acme.example"}
		c.Page.Style = map[string]string{"radius": "0"}
	})
	in := s.generate("ada", "Laptop <b>")
	for _, path := range []string{"", "generate", "tokens/" + in.ID, "tokens/" + in.ID + "/delete", "nothing"} {
		a := s.do("ada", path, nil, "Shop", "Pets")
		assert.Equal(t, 1, strings.Count(a.body, "<html"), path)
		assert.Equal(t, 1, strings.Count(a.body, "<main"), path)
		assert.Contains(t, a.text(), "Pets for ada")
		assert.Contains(t, a.body, `<div class="apitoken" lang="en" dir="ltr">`)
		assert.NotContains(t, a.body, "assets/page.css")
		policy := a.Header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "script-src 'self' https://cdn.acme.example;")
		assert.NotContains(t, policy, "trusted-types", "scripts of the layout may need to make elements")
		s.asset(a, "within.css").says(200)
		assert.Contains(t, s.asset(a, "style.css").body, ".apitoken {\n\t--radius: 0;\n}")
	}
	assert.Contains(t, s.do("ada", "tokens/"+in.ID, nil).body, "<title>\u2068Laptop &lt;b&gt;\u2069 – API tokens | Shop</title>")
	anonymous := s.do("", "", nil)
	anonymous.says(401, "You are not signed in")
	assert.Contains(t, anonymous.body, "<main")
}

func TestUIThePageStandsInAFrameOfTheSitesThatMayHaveIt(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.FrameAncestors = []string{"'self'", "https://portal.acme.example"}
	})
	inner := s.handler
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Frame-Options", "DENY")
		inner.ServeHTTP(w, r)
	})
	a := s.do("ada", "", nil)
	assert.Contains(t, a.Header.Get("Content-Security-Policy"), "frame-ancestors 'self' https://portal.acme.example;")
	assert.Empty(t, a.Header.Get("X-Frame-Options"))
}

func TestUIThePublicURLIsInExamplesAndIsTrusted(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) { c.PublicURL = "https://public.example/api/" })
	form := s.filled("ada")
	a := s.do("ada", "generate", form, "Origin", "https://public.example", "Sec-Fetch-Site", "")
	a.says(200, "API token generated")
	assert.Contains(t, a.text(), "'https://public.example/api/devices'")
}

// A browser does not follow the redirect of a form to an origin that form-action does
// not name.
func TestUISigningInOnAnotherOriginWorksAfterAForm(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.SignIn = http.RedirectHandler("https://login.example/start", http.StatusFound)
	})
	opened := s.do("", "?q=x", nil, "Sec-Fetch-Site", "none")
	assert.Equal(t, http.StatusFound, opened.StatusCode)
	filtered := s.do("", "?q=x", nil, "Sec-Fetch-Site", "same-origin")
	filtered.says(401, "Sign in")
	assert.Empty(t, filtered.Header.Get("Location"))
	assert.Equal(t, "0; url=https://login.example/start", filtered.Header.Get("Refresh"))
	assert.Contains(t, filtered.body, `href="https://login.example/start"`)

	s.config.SignIn = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte("<form>"))
	})
	s.handler = s.page()
	own := s.do("", "?q=x", nil, "Sec-Fetch-Site", "same-origin")
	assert.Equal(t, "<form>", own.body)
	assert.Equal(t, 401, own.StatusCode)
}
