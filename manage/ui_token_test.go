package manage_test

import (
	"context"
	"errors"
	"html"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/manage"
)

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
	a.says(200, "Hide") // a form that failed can be sent again
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
	a.says(200, "You will see it only once: the service does not keep it")
}

func TestUIExplaining(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID + "?route="
	for _, c := range []struct{ route, from, says string }{
		{"GET /devices", "", "The service would accept this request."},
		{"GET /who", "", "The service would accept this request."},
		{"POST /devices", "", "would get status 403. The token lacks devices:write."},
		{"GET /either", "", "The token lacks devices:write or reports."},
		{"GET /devices", "here", "Enter an address like"},
	} {
		s.do("ada", at+url.QueryEscape(c.route)+"&from="+c.from, nil).says(200, c.says)
	}
	open := s.do("ada", at+"GET+/open", nil)
	assert.NotContains(t, open.text(), "A request would")
	assert.Equal(t, s.do("ada", "tokens/"+in.ID, nil).text(), open.text(), "as if it had not been asked about")
	bound := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Networks: &bound, Active: new(false)})
	require.NoError(t, err)
	s.do("ada", at+"GET+/devices&from=198.51.100.1", nil).says(200, "status 401", "The token is deactivated.", "The address is not in the networks")
}

func TestUIHostileTextsAreTextEverywhere(t *testing.T) {
	testserver.Unwatched(t)
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

func TestUIATokenEndsByItsExpiryOrByThePolicyWhicheverComesFirst(t *testing.T) {
	before := newUISite(t, nil)
	in := before.generate("ada", "Laptop") // for 30 days
	for days, want := range map[time.Duration]string{10: "in 10 days", 60: "in 30 days"} {
		s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store, c.MaxLifetime = before.store, days*24*time.Hour })
		a := s.do("ada", "tokens/"+in.ID, nil)
		a.says(200, want)
		assert.Equal(t, days < 30, strings.Contains(a.text(), "by the policy of this service"))
	}
}
