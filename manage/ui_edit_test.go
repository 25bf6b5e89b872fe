package manage_test

import (
	"html"
	"net/http"
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

// form returns what the browser would send of the form about a token, as it is filled in.
func (a *uiAnswer) form() url.Values {
	a.t.Helper()
	form := url.Values{}
	add := func(pattern string, checked bool) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(a.body, -1) {
			if !checked || strings.Contains(m[0], " checked") {
				form.Add(m[1], html.UnescapeString(m[2]))
			}
		}
	}
	add(`<input type="hidden" name="([^"]*)" value="([^"]*)"`, false)
	add(`<input id="[^"]*" name="([^"]*)" value="([^"]*)"`, false)
	add(`<input type="(?:date|datetime-local)" id="[^"]*" name="([^"]*)" value="([^"]*)"`, false)
	add(`<input type="(?:checkbox|radio)" name="([^"]*)" value="([^"]*)"[^>]*>`, true)
	add(`<textarea id="[^"]*" name="([^"]*)"[^>]*>([^<]*)</textarea>`, false)
	return form
}

func TestUIAChangeIsCheckedBeforeItIsSaved(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID + "/edit"
	page := s.do("ada", at, nil)
	page.says(200, "Edit “Laptop”", "As it is"+in.ExpiresAt.UTC().Format("2006-01-02"))
	form := page.form()
	s.do("ada", at, form).says(422, "You have changed nothing yet")

	form.Set("name", "Desktop")
	form.Set("description", "at home")
	form.Add("permission", "devices:write")
	form.Set("expires", "90d")
	form.Set("networks", "192.0.2.0/24")
	form.Set("not_before", "2026-01-02T03:04")
	check := s.do("ada", at, form)
	check.says(200, "Check the change", "Name LaptopDesktop", "Description Noneat home", "Nothing is removed", "Addeddevices:write",
		"UTC90 days after you save", "Valid from None2026-01-02 03:04 UTC", "Networks Everywhere192.0.2.0/24")
	assert.Equal(t, in.Version, s.get("ada", in.ID).Version, "nothing is saved yet")

	// From there the user can go back to the form, which is as they left it.
	entered := check.form()
	back := s.do("ada", at, with(entered, "step", "edit"))
	back.says(200, "Edit “Laptop”")
	assert.Equal(t, form, back.form())

	assert.Equal(t, "tokens/"+in.ID+"?done=edited", s.do("ada", at, with(entered, "step", "save")).goesTo(s, at))
	s.do("ada", "tokens/"+in.ID+"?done=edited", nil).says(200, "The change is saved", "at home")
	now := s.get("ada", in.ID)
	assert.Equal(t, "Desktop", now.Name)
	assert.Equal(t, []apitoken.Permission{s.read, s.write}, now.Permissions)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, now.Networks)
	assert.Equal(t, time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), now.NotBefore)
	assert.Greater(t, now.ExpiresAt.Sub(in.ExpiresAt), 59*24*time.Hour)
}

// with returns a copy of a form with another value of a field.
func with(form url.Values, field string, values ...string) url.Values {
	changed := url.Values{}
	for name := range form {
		changed[name] = form[name]
	}
	changed[field] = values
	return changed
}

func TestUIAChangeOfSomebodyElseMeanwhileIsToldAndTheFormKept(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop", s.read, s.write)
	at := "tokens/" + in.ID + "/edit"
	form := with(s.do("ada", at, nil).form(), "name", "Desktop")
	_, err := s.auth.As(s.actors["admin"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{s.read}})
	require.NoError(t, err)
	for _, step := range []string{"", "save"} {
		again := s.do("ada", at, with(form, "step", step))
		again.says(409, "The token was changed just now: Changed permissions by", "Your entries are kept")
		assert.Equal(t, "Desktop", again.form().Get("name"))
		assert.Equal(t, "Laptop", s.get("ada", in.ID).Name)
		form = again.form()
		in = s.get("ada", in.ID)
		_, err = s.auth.As(s.actors["admin"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{}})
		require.NoError(t, err)
	}
	// The check shows what the user would bring back.
	s.do("ada", at, s.do("ada", at, form).form()).says(200, "Addeddevices:readdevices:write")

	// The same form sent twice is no conflict.
	save := with(s.do("ada", at, nil).form(), "name", "Desktop")
	save["permission"] = []string{"devices:read"}
	save.Set("step", "save")
	s.do("ada", at, save).goesTo(s, at)
	assert.Equal(t, "tokens/"+in.ID, s.do("ada", at, save).goesTo(s, at))
}

func TestUIWhyAChangeIsNotAllowedIsToldAtItsField(t *testing.T) {
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.MaxLifetime = 60 * 24 * time.Hour })
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID + "/edit"
	for _, c := range []struct {
		user, field, value, says, marks string
		status                          int
	}{
		{"ada", "expires", "90d", "longest that this service allows", "expires", 422},
		{"ada", "name", "", "Enter a name", "name", 422},
		{"ada", "permission", "reports", "You may not grant what you do not have: reports", "permissions", 403},
		{"ada", "networks", "here", "no network", "networks", 422},
		{"ada", "not_before", "2999-01-01T00:00", "does not lie before the expiry", "not_before", 422},
		{"admin", "expires", "59d", "only its owner may change the expiry", "expires", 403},
		{"admin", "permission", "reports", "only its owner may change the permissions", "permissions", 403},
	} {
		form := with(s.do(c.user, at, nil).form(), c.field, c.value)
		form.Set("step", "save")
		if c.field == "permission" {
			form.Add("permission", "devices:read")
		}
		a := s.do(c.user, at, form)
		require.Equal(t, c.status, a.StatusCode, a.text())
		assert.Contains(t, strings.ToLower(a.text()), strings.ToLower(c.says))
		assert.Contains(t, a.body, `<a href="#`+c.marks+`">`, c.field)
		assert.Equal(t, in, s.get("ada", in.ID))
	}
}

func TestUIWhoManagesOthersNarrowsATokenAndDoesNotRenameIt(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop", s.read, s.write)
	at := "tokens/" + in.ID + "/edit"
	page := s.do("admin", at, nil)
	page.says(200, "This token belongs to ada", "You can let it do less")
	assert.NotContains(t, page.body, `name="name"`)
	assert.NotContains(t, page.body, `value="reports"`)
	form := with(page.form(), "permission", "devices:read")
	form.Set("name", "Renamed") // a field that their form does not have
	check := s.do("admin", at, form)
	check.says(200, "Removeddevices:write", "Nothing is added")
	s.do("admin", at, with(check.form(), "step", "save")).goesTo(s, at)
	now := s.get("ada", in.ID)
	assert.Equal(t, []apitoken.Permission{s.read}, now.Permissions)
	assert.Equal(t, "Laptop", now.Name)
	s.do("bob", at, nil).says(404)
	s.do("bob", at, form).says(404)
	require.NoError(t, s.auth.As(s.actors["ada"]).Delete(t.Context(), in.ID))
	s.do("ada", at, nil).says(404)
}

// No POST loses what was entered: a user who is signed out, or whose store is away, gets
// the form back and sends it again.
func TestUINoFormIsLost(t *testing.T) {
	store := &uiBrokenStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
	in := s.generate("ada", "Laptop")
	forms := map[string]url.Values{
		"generate":                     s.filled("ada"),
		"tokens/" + in.ID + "/edit":    with(s.do("ada", "tokens/"+in.ID+"/edit", nil).form(), "name", "Desktop"),
		"tokens/" + in.ID + "/rotate":  {"ticket": {s.do("ada", "tokens/"+in.ID+"/rotate", nil).hidden("ticket")}, "overlap": {"1h"}},
		"tokens/" + in.ID + "/delete":  {"back": {"all?owner=ada"}},
		"bulk":                         {"action": {"delete"}, "id": {in.ID}},
		"tokens/" + in.ID + "/reveal":  {"ticket": {s.do("ada", "tokens/"+in.ID, nil).hidden("ticket")}},
		"tokens/" + in.ID + "/unknown": {"a": {"b"}},
	}
	for path, form := range forms {
		a := s.do("", path, form)
		a.says(401, "You were signed out", "nothing was changed", "Open the sign-in page")
		assert.Empty(t, a.Header.Get("Location"))
		assert.Equal(t, form, a.form(), path)
	}
	assert.Equal(t, in, s.get("ada", in.ID))
	s.do("", "generate", forms["generate"]).says(401, "NameCI", "Descriptionfor builds", "Permissiondevices:read")

	store.broken = true
	for path, form := range forms {
		if strings.HasSuffix(path, "/unknown") {
			continue
		}
		a := s.do("ada", path, form)
		a.says(503)
		assert.Equal(t, "1", a.Header.Get("Retry-After"), path)
		kept := a.form()
		for field, values := range form {
			assert.Equal(t, values, kept[field], "%s: %s", path, field)
		}
	}
	store.broken = false
	s.do("ada", "generate", forms["generate"]).says(200, "API token generated")
}

// The service keeps its sign-in page for those who open a page.
func TestUIASentFormIsNotAnsweredByTheSignInPage(t *testing.T) {
	called := 0
	s := newUISite(t, nil)
	s.config.SignIn = spy(&called)
	s.handler = s.page()
	s.do("", "generate", url.Values{"name": {"CI"}}).says(401, "send this form again")
	assert.Zero(t, called)
	s.do("", "generate", nil).says(418)
	assert.Equal(t, 1, called)
}

// spy returns a handler that counts its calls and answers with 418.
func spy(called *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*called++
		w.WriteHeader(http.StatusTeapot)
	})
}
