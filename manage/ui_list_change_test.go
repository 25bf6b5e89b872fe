package manage_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestUIAListDeactivatesWithOneClickAndUndoesIt(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Deploy")
	s.generate("ada", "Other")
	for user, list := range map[string]string{"ada": "?q=deploy", "admin": "all?q=deploy"} {
		path := "tokens/" + in.ID + "/deactivate"
		to := s.do(user, path, s.do(user, list, nil).button(path)).goesTo(s, path)
		assert.True(t, strings.HasPrefix(to, list+"&done=deactivated&id="+in.ID), to)
		assert.True(t, strings.HasSuffix(to, "#t-"+in.ID), "the address leads to the row: %s", to)
		require.Equal(t, apitoken.StatusInactive, s.get("ada", in.ID).Status)

		again := s.do(user, path, url.Values{"version": {fmt.Sprint(s.get("ada", in.ID).Version)}, "back": {list}}).goesTo(s, path)
		s.do(user, again, nil).says(200, "“Deploy” was deactivated already.")
		assert.NotContains(t, s.do(user, again, nil).text(), "Undo")

		page := s.do(user, to, nil)
		page.says(200, "“Deploy” deactivated.", "Undo")
		undo := regexp.MustCompile(`(?s)action="\./(tokens/[^"]*/activate)".*?name="version" value="(\d+)"`).FindStringSubmatch(page.body)
		require.NotNil(t, undo)
		back := s.do(user, undo[1], url.Values{"version": {undo[2]}, "back": {list}}).goesTo(s, undo[1])
		s.do(user, back, nil).says(200, "“Deploy” activated.")
		assert.Equal(t, apitoken.StatusActive, s.get("ada", in.ID).Status)
		assert.NotContains(t, s.do(user, to, nil).text(), "Undo", "there is nothing to undo any more")
	}
}

func TestUIUndoDoesNotEndANewerDeactivation(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Deploy")
	path := "tokens/" + in.ID + "/deactivate"
	to := s.do("admin", path, s.do("admin", "all", nil).button(path)).goesTo(s, path)
	version := regexp.MustCompile(`version=(\d+)`).FindStringSubmatch(to)[1]
	admin := s.auth.As(s.actors["admin"])
	_, err := admin.Activate(t.Context(), in.ID)
	require.NoError(t, err)
	_, err = admin.Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	s.do("admin", "tokens/"+in.ID+"/activate", url.Values{"version": {version}}).says(409, "Look at it again")
	assert.Equal(t, apitoken.StatusInactive, s.get("ada", in.ID).Status)
}

func TestUIANoticeShowsNoTextOfItsAddress(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Zebra")
	for _, query := range []string{"done=hacked", "done=hacked&id=" + in.ID, "done=hacked&n=3", "id=" + in.ID} {
		assert.NotContains(t, s.do("ada", "?"+query, nil).body, "flash", query)
	}
	s.do("bob", "?done=deleted&id="+in.ID, nil).says(200, "1 API token deleted.")
	assert.NotContains(t, s.do("bob", "?done=deleted&id="+in.ID, nil).body, "Zebra", "bob may not see it")
}

// used records a use of a token some time ago.
func (s *uiSite) used(in *apitoken.TokenInfo, ago time.Duration) {
	s.t.Helper()
	rec, err := s.store.Get(context.Background(), in.ID)
	require.NoError(s.t, err)
	use := apitoken.Use{ID: in.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Bearer(), At: time.Now().Add(-ago)}
	require.NoError(s.t, s.store.(apitoken.Toucher).Touch(context.Background(), []apitoken.Use{use}))
}

func TestUIDeletingWhatIsInUseAsksForItsName(t *testing.T) {
	s := newUISite(t, nil)
	in, idle := s.generate("ada", "Nightly  backup"), s.generate("ada", "Idle")
	s.used(in, time.Hour)
	s.used(idle, 25*time.Hour)
	assert.NotContains(t, s.do("ada", "tokens/"+idle.ID+"/delete", nil).body, `name="typed"`)
	path := "tokens/" + in.ID + "/delete"
	s.do("ada", path, nil).says(200, "used in the last 24 hours", "type the name of the token")
	for _, typed := range []string{"", "Nightly", "nightly backup", in.ID} {
		s.do("ada", path, url.Values{"typed": {typed}}).says(422, "Type the name of the token as it is shown. Nothing was deleted.")
		require.Equal(t, apitoken.StatusActive, s.get("ada", in.ID).Status)
	}
	s.do("ada", path, url.Values{"typed": {" Nightly backup "}}).goesTo(s, path)
	assert.Equal(t, apitoken.StatusDeleted, s.get("ada", in.ID).Status)

	more := s.generate("ada", "More")
	s.used(more, time.Minute)
	form := url.Values{"action": {"delete"}, "id": {more.ID, idle.ID}}
	s.do("ada", "bulk?"+form.Encode(), nil).says(200, "type the number of API tokens: 2")
	s.do("ada", "bulk", form).says(422, "Type the number of API tokens. Nothing was deleted.")
	form.Set("typed", "2")
	s.do("ada", "bulk", form).goesTo(s, "bulk")
	assert.Empty(t, s.tokens("ada"))
}

func TestUIASelectionSaysWhatWasSoAlready(t *testing.T) {
	s := newUISite(t, nil)
	form := url.Values{"action": {"deactivate"}}
	for i := range 3 {
		form.Add("id", s.generate("ada", fmt.Sprint("Token ", i)).ID)
	}
	_, err := s.auth.As(s.actors["ada"]).Deactivate(t.Context(), form["id"][1])
	require.NoError(t, err)
	s.do("ada", "bulk?"+form.Encode(), nil).says(200, "1 of them is deactivated already.")
	to := s.do("ada", "bulk", form).goesTo(s, "bulk")
	s.do("ada", to, nil).says(200, "2 API tokens deactivated. 1 was deactivated already.")
	to = s.do("ada", "bulk", form).goesTo(s, "bulk")
	page := s.do("ada", to, nil)
	page.says(200, "3 were deactivated already.")
	assert.NotContains(t, page.text(), "API tokens deactivated")
	to = s.do("admin", "bulk", form).goesTo(s, "bulk")
	s.do("admin", to, nil).says(200, "3 API tokens deactivated.")
}

func TestUIAllThatMatchAreChangedAndNothingElse(t *testing.T) {
	synctest.Test(t, changesAllThatMatch) // a look ends after some seconds, of which none pass here
}

func changesAllThatMatch(t *testing.T) {
	s := newUISite(t, nil)
	for i := range 130 {
		s.generate("bob", fmt.Sprintf("Sensor %03d", i))
	}
	s.generate("bob", "Laptop")
	list := s.do("bob", "?q=sensor", nil)
	list.says(200, "Select all 130 that match, on all pages")
	assert.NotContains(t, s.do("bob", "?q=laptop", nil).text(), "that match")

	ask := "bulk?all=1&back=" + url.QueryEscape("?q=sensor") + "&action="
	form := func(action string) url.Values {
		a := s.do("bob", ask+action, nil)
		f := url.Values{}
		for _, name := range []string{"action", "all", "back", "total", "until"} {
			f.Set(name, a.hidden(name))
		}
		return f
	}
	s.do("bob", ask+"deactivate", nil).says(200, "Deactivate 130 API tokens?", "and 80 more")
	f := form("deactivate")
	time.Sleep(time.Millisecond)
	late := s.generate("bob", "Sensor of later")
	to := s.do("bob", "bulk", f).goesTo(s, "bulk")
	assert.Equal(t, "?q=sensor&done=deactivated&n=130", to)
	assert.Equal(t, apitoken.StatusActive, s.get("bob", late.ID).Status, "it was made after the question")
	s.do("bob", "?q=laptop&status=active", nil).says(200, "Laptop")

	f = form("delete")
	assert.Equal(t, "131", f.Get("total"))
	for _, typed := range []string{"", "130"} {
		f.Set("typed", typed)
		s.do("bob", "bulk", f).says(422, "Type the number of API tokens. Nothing was deleted.", "Delete 131 API tokens?")
	}
	f.Set("typed", "131")
	s.do("bob", "bulk", f).goesTo(s, "bulk")
	s.do("bob", "", nil).says(200, "1 API token", "Laptop")
	s.do("bob", ask+"activate", nil).says(200, "No API token matches")
	s.do("bob", ask+"paint", nil).says(422, "nothing else")
}

// Without its filters, the list would have all tokens.
func TestUIAChangeOfAllThatMatchNeedsToKnowTheList(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "alpha")
	for _, back := range []string{"?q=al%zz", "other?q=al", "?show=alphas-only", ""} {
		s.do("ada", "bulk?"+url.Values{"all": {"1"}, "action": {"deactivate"}, "back": {back}}.Encode(), nil).says(422)
		s.do("ada", "bulk", url.Values{"all": {"1"}, "action": {"deactivate"}, "total": {"1"}, "until": {"99999999999999999"}, "back": {back}}).says(422)
	}
	assert.True(t, s.get("ada", in.ID).DeactivatedAt.IsZero())
}

func TestUIAChangeOfAllThatMatchGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, goesOnWhereItStopped) // a look ends after some seconds, of which none pass here
}

func goesOnWhereItStopped(t *testing.T) {
	store := &haltingStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
	for i := range 70 {
		s.generate("bob", fmt.Sprint("Token ", i))
	}
	form := url.Values{}
	ask := s.do("bob", "bulk?all=1&action=deactivate&back=.", nil)
	for _, name := range []string{"action", "all", "back", "total", "until"} {
		form.Set(name, ask.hidden(name))
	}
	store.writes.Store(60)
	a := s.do("bob", "bulk", form)
	a.says(503, "It stopped", "50 of 70 done", "Continue", "Stop")
	for _, name := range []string{"cursor", "changed", "same"} {
		form.Set(name, a.hidden(name))
	}
	store.writes.Store(-1)
	to := s.do("bob", "bulk", form).goesTo(s, "bulk")
	s.do("bob", to, nil).says(200, "60 API tokens deactivated. 10 were deactivated already.")
	s.do("bob", "?status=active", nil).says(200, "No API token matches")
}

// haltingStore takes some writes and then none; any number if writes is negative.
type haltingStore struct {
	*memory.Store
	writes atomic.Int64
}

func (s *haltingStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.writes.Load() == 0 {
		return errors.New("disk full")
	}
	s.writes.Add(-1)
	return s.Store.Replace(ctx, rec)
}

func TestUIAListLeadsBackPageByPage(t *testing.T) {
	s := newUISite(t, nil)
	for i := range 120 {
		s.generate("bob", fmt.Sprintf("Sensor %03d", i))
	}
	link := func(a *uiAnswer, rel string) string {
		m := regexp.MustCompile(`href="\./([^"]*)" rel="` + rel + `"`).FindStringSubmatch(a.body)
		require.NotNil(t, m, a.text())
		return html.UnescapeString(m[1])
	}
	first := s.do("bob", "?sort=name", nil)
	assert.NotContains(t, first.body, `rel="prev"`)
	second := s.do("bob", link(first, "next"), nil)
	second.says(200, "51 to 100 of 120 API tokens")
	third := s.do("bob", link(second, "next"), nil)
	third.says(200, "101 to 120 of 120 API tokens")
	back := s.do("bob", link(third, "prev"), nil)
	back.says(200, "51 to 100 of 120 API tokens", "Sensor 050", "Sensor 099")
	s.do("bob", link(back, "prev"), nil).says(200, "1 to 50 of 120 API tokens", "Sensor 000")
	unknown := regexp.MustCompile(`before=\d+&?`).ReplaceAllString(link(second, "next"), "")
	s.do("bob", unknown, nil).says(200, "20 API tokens on this page")
	lie := regexp.MustCompile(`before=\d+`).ReplaceAllString(link(second, "next"), "before=5000")
	s.do("bob", lie, nil).says(200, "20 API tokens on this page")
}

func TestUIAllTokensOfAnOwnerAreRevokedAtOnce(t *testing.T) {
	synctest.Test(t, revokesAllOfAnOwner) // it takes the seconds in which another node may make tokens
}

func revokesAllOfAnOwner(t *testing.T) {
	s := newUISite(t, nil)
	one, two := s.generate("ada", "One"), s.generate("ada", "Two")
	other := s.generate("bob", "Other")
	assert.Contains(t, s.do("admin", "all?owner=ada", nil).text(), "Revoke all tokens of ada…")
	assert.NotContains(t, s.do("admin", "all", nil).text(), "Revoke all")
	s.do("admin", "revoke?owner=ada", nil).says(200, "Revoke all API tokens of ada?", "One", "Two", "Revoke 2 API tokens")
	require.Equal(t, apitoken.StatusActive, s.get("ada", one.ID).Status, "asking changes nothing")
	s.do("bob", "revoke?owner=ada", nil).says(403)
	s.do("bob", "revoke?owner=ada", url.Values{}).says(403)
	require.Equal(t, apitoken.StatusActive, s.get("ada", one.ID).Status)

	to := s.do("admin", "revoke?owner=ada", url.Values{}).goesTo(s, "revoke")
	s.do("admin", to, nil).says(200, "2 API tokens deactivated.")
	assert.Equal(t, apitoken.StatusInactive, s.get("ada", two.ID).Status)
	assert.Equal(t, apitoken.StatusActive, s.get("bob", other.ID).Status)
	s.do("admin", "revoke?owner=ada", nil).says(200, "Nothing to revoke")
}
