package manage_test

import (
	"fmt"
	"html"
	"maps"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/manage"
)

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

	s.handler = s.page() // a load balancer may send the form to another process
	again = s.do("ada", "generate", form)
	again.says(200, "generated already")
	assert.Empty(t, again.secret())
	assert.Len(t, s.tokens("ada"), 1)

	// The same content in a new form is a new token.
	next := s.filled("ada")
	assert.NotEmpty(t, s.do("ada", "generate", next).secret())
	assert.Len(t, s.tokens("ada"), 2)
	// A ticket belongs to one user.
	form.Set("name", "Mine")
	assert.NotEmpty(t, s.do("bob", "generate", form).secret())
	// A user who goes back and changes the form wants another token.
	for field, value := range map[string]string{
		"name": "CI of the other project", "expires": "90d", "networks": "192.0.2.0/24", "not_before": "2130-01-31T12:00",
	} {
		changed, before := maps.Clone(next), len(s.tokens("ada"))
		changed.Set(field, value)
		if field == "not_before" {
			changed.Set("expires", "never")
		}
		assert.NotEmpty(t, s.do("ada", "generate", changed).secret(), field)
		assert.Empty(t, s.do("ada", "generate", changed).secret(), field)
		assert.Len(t, s.tokens("ada"), before+1, field)
	}

	for _, page := range []string{"", "tokens/" + in.ID, "generate"} {
		assert.Empty(t, s.do("ada", page, nil).secret(), page)
	}
}

func TestUIAFormSentAgainIsKnownHoweverItsNetworksAreWritten(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	form.Set("networks", "192.0.2.7/24 10.0.0.1/8, 10.0.0.1/8")
	form.Add("permission", form.Get("permission"))
	s.do("ada", "generate", form).says(200, "API token generated")
	s.do("ada", "generate", form).says(200, "generated already")
	assert.Len(t, s.tokens("ada"), 1)

	wide := s.filled("ada") // wider than IPv4, so that no IPv4 network is left of it
	wide.Set("networks", "::ffff:10.0.0.0/90")
	s.do("ada", "generate", wide).says(422, "no network")
	assert.Len(t, s.tokens("ada"), 1)
}

func TestUIAFormWithMistakesComesBackAsItWasFilledIn(t *testing.T) {
	testserver.Unwatched(t)
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
		{"no ticket", "ticket", "", "incomplete", "", 422},
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
			// It can be corrected and sent.
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
		"Show the 1 permission that you cannot assign", "You can only assign what you have yourself", time.Now().UTC().AddDate(0, 0, 30).Format("2006-01-02"))
	assert.NotRegexp(t, `name="permission"[^>]* checked`, a.body, "nothing is preselected")
	assert.NotContains(t, a.body, `value="reports"`)
	assert.Regexp(t, `name="permission" value="devices:read">`, a.body)
	for _, value := range []string{"90d", "365d", "never"} {
		assert.NotContains(t, a.body, `value="`+value+`"`, "the service does not allow it")
	}
	assert.Regexp(t, `name="expires" value="30d" checked`, a.body)
}

func TestUITheFormOffersNoMoreThanTheTokenThatTheUserCameBy(t *testing.T) {
	s := newUISite(t, nil)
	_, secret, err := s.auth.As(s.actors["ada"]).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	ada := s.actors["ada"]
	ada.Token, err = s.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.NoError(t, err)
	s.actors["ada"] = ada
	a := s.do("ada", "generate", nil)
	assert.Regexp(t, `name="permission" value="devices:read">`, a.body)
	assert.NotContains(t, a.body, `value="devices:write"`)
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
