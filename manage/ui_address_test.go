package manage_test

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/manage"
)

func TestUIAssetsAreKeptByTheirContent(t *testing.T) {
	s := newUISite(t, nil)
	page := s.do("ada", "", nil).body
	links := regexp.MustCompile(`(?:href|src)="\./(assets/[a-z]+\.[0-9a-f]{12}\.[a-z]+)"`).FindAllStringSubmatch(page, -1)
	require.Len(t, links, 5)
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

var (
	idPattern      = regexp.MustCompile(`\b[0-9A-Za-z]{17}\b`)
	addressPattern = regexp.MustCompile(`(?:href|src|action)="([^"#]*)`)
)

// addressKind is what addresses have in common that the same line of a template writes:
// the path but for the token, and the names of the parameters.
func addressKind(u *url.URL) string {
	path := idPattern.ReplaceAllString(u.Path, "{id}")
	return path + "?" + strings.Join(slices.Sorted(maps.Keys(u.Query())), "&")
}

// Every link and every form of every page stays under the path of the page, for
// every path, and the pages have an address of each kind.
func TestUIThePageWorksUnderAnyPath(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; make check runs it")
	}
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

		kinds, todo := map[string]bool{mount.path + "?": true}, []string{mount.path}
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			a := s.do("admin", strings.TrimPrefix(path, mount.path), nil)
			require.Equal(t, 200, a.StatusCode, "%+v: %s", mount, path)
			base, err := url.Parse("https://acme.example" + path)
			require.NoError(t, err)
			links := make(map[string]bool) // of this page
			for _, m := range addressPattern.FindAllStringSubmatch(a.body, -1) {
				if links[m[1]] {
					continue
				}
				links[m[1]] = true
				to, err := base.Parse(html.UnescapeString(m[1]))
				require.NoError(t, err)
				require.True(t, strings.HasPrefix(to.Path, mount.path), "%+v: %s leads to %s", mount, path, to)
				require.Equal(t, "acme.example", to.Host)
				if kind := addressKind(to); !kinds[kind] && !strings.HasSuffix(to.Path, "/reveal") {
					kinds[kind] = true
					todo = append(todo, to.RequestURI())
				}
			}
		}
		assert.Greater(t, len(kinds), 15, mount)

		form := s.do("admin", "tokens/"+in.ID+"/activate?back=all%3Fq%3Dlap", nil)
		done := s.do("admin", "tokens/"+in.ID+"/activate", url.Values{"back": {form.hidden("back")}, "version": {form.hidden("version")}})
		assert.Equal(t, "all?q=lap&done=activated&id="+in.ID+"&version="+fmt.Sprint(s.get("ada", in.ID).Version)+"#t-"+in.ID, done.goesTo(s, "tokens/"+in.ID+"/activate"), mount)
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
