package manage_test

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestUIRotating(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	s.do("ada", at+"/rotate", url.Values{"ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}}).says(422, "Choose how long the old secret stays valid")
	s.do("ada", at+"/rotate", url.Values{"overlap": {"1h"}}).says(422, "incomplete")
	form := url.Values{"overlap": {"24h"}, "ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}}
	a := s.do("ada", at+"/rotate", form)
	a.says(200, "API token rotated", "The old secret stays valid, too, until ", "UTC, which is in 1 day.")
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
	assert.False(t, s.get("ada", in.ID).Rotating())
	s.do("ada", at+"/end-overlap?keep=new", nil).says(200, "the rotation is over already")
	s.do("ada", at+"/end-overlap", url.Values{"keep": {"both"}}).says(422)

	a = s.do("ada", at+"/rotate", url.Values{"overlap": {"0"}, "ticket": {s.do("ada", at+"/rotate", nil).hidden("ticket")}})
	a.says(200, "The old secret is not valid any more")
}

func TestUIChangesAreAskedForAndLeadBack(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	s.do("ada", at+"/delete", nil).says(200, "Delete this API token?", "Laptop", "Never used", "can’t be undone")
	assert.Equal(t, in, s.get("ada", in.ID), "asking changes nothing")

	to := s.do("ada", at+"/deactivate", url.Values{}).goesTo(s, at+"/deactivate")
	s.do("ada", to, nil).says(200, "“Laptop” deactivated.", "Deactivated", "by ada")
	to = s.do("ada", at+"/activate", url.Values{"back": {"?status=inactive"}}).goesTo(s, at+"/activate")
	assert.Equal(t, "?status=inactive&done=activated&id="+in.ID+"#t-"+in.ID, to)
	for _, back := range []string{"https://evil.example/", "//evil.example", "../../x", "all/../../x", "javascript:alert(1)", "\\evil"} {
		form := s.do("ada", at+"/deactivate?back="+url.QueryEscape(back), nil)
		form.says(200)
		assert.NotContains(t, form.body, "evil")
		s.do("ada", at+"/deactivate", url.Values{"back": {back}}).goesTo(s, at+"/deactivate")
	}
	to = s.do("ada", at+"/delete", url.Values{}).goesTo(s, at+"/delete")
	s.do("ada", to, nil).says(200, "“Laptop” deleted.", "no API tokens yet")
	s.do("ada", "?done=%3Cscript%3E&n=99", nil).says(200)
	s.do("ada", at+"/delete", url.Values{}).says(404)
}

func TestUIActivatingFromAnOldListDoesNotEndANewerDeactivation(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Laptop")
	at := "tokens/" + in.ID
	admin := s.auth.As(s.actors["admin"])
	_, err := s.auth.As(s.actors["ada"]).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	seen := s.get("ada", in.ID).Version
	link := regexp.MustCompile(`href="[^"]*(tokens/[^"]*/activate\?[^"]*)"`)
	if old := s.do("ada", "", nil).button(at + "/activate"); assert.NotNil(t, old) {
		assert.Equal(t, fmt.Sprint(seen), old.Get("version"), "the list activates at once")
	}
	old := link.FindStringSubmatch(s.do("ada", at, nil).body)
	require.NotNil(t, old)

	// Meanwhile it was activated, and deactivated again.
	_, err = admin.Activate(t.Context(), in.ID)
	require.NoError(t, err)
	_, err = s.auth.As(s.actors["ada"]).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)

	form := s.do("ada", html.UnescapeString(old[1]), nil)
	assert.Equal(t, fmt.Sprint(seen), form.hidden("version"))
	for _, version := range []string{form.hidden("version"), "0", "x"} {
		again := s.do("ada", at+"/activate", url.Values{"version": {version}})
		again.says(409, "Look at it again")
		assert.False(t, s.get("ada", in.ID).DeactivatedAt.IsZero())
		form = again
	}
	to := s.do("ada", at+"/activate", url.Values{"version": {form.hidden("version")}}).goesTo(s, at+"/activate")
	s.do("ada", to, nil).says(200, "“Laptop” activated.")
	assert.True(t, s.get("ada", in.ID).DeactivatedAt.IsZero(), "the form that was shown again has the version of now")
}

func TestUIADeletionLeadsBackToAListThatItsUserMaySee(t *testing.T) {
	s := newUISite(t, nil)
	for user, want := range map[string]string{"admin": "all?done=deleted&id=", "ada": "?done=deleted&id="} {
		in := s.generate("ada", "Laptop")
		at := "tokens/" + in.ID
		to := s.do(user, at+"/delete", url.Values{"of": {"all"}}).goesTo(s, at+"/delete")
		assert.Equal(t, want+in.ID, to, user)
		s.do(user, to, nil).says(200, "“Laptop” deleted.")
	}
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
