package manage_test

import (
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

var (
	tenAtOnce  = apitoken.Limit{Requests: 1, Per: time.Minute, Burst: 10}
	twoAtOnce  = apitoken.Limit{Requests: 1, Per: time.Minute, Burst: 2}
	manyOwners = apitoken.Limit{Requests: 5000, Per: time.Hour}
)

func limitedAPI(t testing.TB) *apiWorld {
	return newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.Limits = apitoken.Limits{Token: tenAtOnce, Owner: manyOwners}
	})
}

func TestTheLimitOfATokenIsSetShownAndRemoved(t *testing.T) {
	w := newAPIWorld(t)
	a := w.do("POST", "tokens", `{"name":"ci","permissions":["devices:read"],"never":true,"limit":"10/s/50"}`, apiAs("ada"))
	assert.Equal(t, "10/1s/50", a.text("token", "limit"))
	id := a.text("token", "id")
	for body, want := range map[string]any{`{"limit":"5000/h"}`: "5000/1h", `{"limit":"100/15m"}`: "100/15m", `{"limit":null}`: nil} {
		assert.Equal(t, want, w.do("PATCH", "tokens/"+id, body, apiAs("ada")).at("limit"), body)
		assert.Equal(t, want, w.do("GET", "tokens/"+id, "", apiAs("ada")).at("limit"), body)
	}
	a = w.do("POST", "tokens", `{"name":"none","permissions":["devices:read"],"never":true,"limit":null}`, apiAs("ada"))
	assert.Equal(t, 201, a.status)
	assert.Nil(t, a.at("token", "limit"))
}

func TestALimitThatCannotBeIsNamedWithTheOtherMistakes(t *testing.T) {
	w := limitedAPI(t)
	info, _ := w.generate("ada")
	for limit, problem := range map[string]string{
		`"fast"`: "limit is not of the form 100/1m or 100/1m/20.", `"0/s"`: "limit does not have 1 to 1,000,000,000 requests.",
		`7`: "limit is not a string.", `"100/m"`: "limit allows more than 1/1m/10, the limit of every token.",
	} {
		a := w.do("POST", "tokens", `{"name":"","permissions":["devices:read"],"never":true,"limit":`+limit+`}`, apiAs("ada"))
		assert.Equal(t, 400, a.status, limit)
		assert.Contains(t, fmt.Sprint(a.object["errors"]), "field:limit", limit)
		assert.Contains(t, fmt.Sprint(a.object["errors"]), "field:name", limit)
		assert.Contains(t, a.body, problem, limit)
		a = w.do("PATCH", "tokens/"+info.ID, `{"limit":`+limit+`}`, apiAs("ada"))
		assert.Equal(t, "limit", a.text("field"), limit)
	}
}

func TestATokenCanTightenItsLimitAndAnAdministratorThatOfOthers(t *testing.T) {
	w := newAPIWorld(t)
	info, secret := w.generate("ada", func(g *apitoken.GenerateParams) { g.Limit = tenAtOnce })
	assert.Equal(t, 403, w.do("PATCH", "self", `{"limit":"10/s"}`, apiWith(secret.Reveal())).status)
	assert.Equal(t, 403, w.do("PATCH", "self", `{"limit":null}`, apiWith(secret.Reveal())).status)
	assert.Equal(t, "1/1m/9", w.do("PATCH", "self", `{"limit":"1/m/9"}`, apiWith(secret.Reveal())).text("limit"))
	assert.Equal(t, 403, w.do("PATCH", "tokens/"+info.ID, `{"limit":"10/s"}`, apiAs("admin")).status)
	assert.Equal(t, "1/1m/8", w.do("PATCH", "tokens/"+info.ID, `{"limit":"1/m/8"}`, apiAs("admin")).text("limit"))
}

func TestExplainSaysWhatIsLeftOfTheLimitsAndTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := limitedAPI(t)
		info, secret := w.generate("ada", func(g *apitoken.GenerateParams) { g.Limit = twoAtOnce })
		explain := func() *apiAnswer {
			return w.do("GET", "tokens/"+info.ID+"/explain?permissions=devices:read", "", apiAs("ada"))
		}
		left := func(a *apiAnswer) string { return fmt.Sprint(a.object["token_limit"], a.object["owner_limit"]) }
		for range 9 {
			assert.Equal(t, "map[left:2 limit:1/1m/2] map[left:1 limit:5000/1h]", left(explain()))
		}
		assert.True(t, w.works(secret.Reveal()))
		assert.Equal(t, "map[left:1 limit:1/1m/2] map[left:0 limit:5000/1h]", left(explain()))
		assert.Equal(t, false, explain().at("accepted"), "by the limit of the owner")
		time.Sleep(time.Second)
		assert.Equal(t, true, explain().at("accepted"))
		assert.True(t, w.works(secret.Reveal()))
		time.Sleep(time.Second)
		a := explain()
		assert.Equal(t, "map[left:0 limit:1/1m/2] map[left:1 limit:5000/1h]", left(a))
		assert.Equal(t, []any{"rate_limited"}, a.at("reasons"))
		reach := w.do("GET", "tokens/"+info.ID+"/reach", "", apiAs("ada"))
		assert.Equal(t, true, reach.at("routes").([]any)[0].(map[string]any)["accepted"], "what a token can do does not change by the second")
		assert.Len(t, w.do("GET", "reports/who-can?permissions=devices:read", "", apiAs("ada")).at("tokens"), 1)
		assert.False(t, w.works(secret.Reveal()))

		a = w.do("GET", "self", "", apiWith(secret.Reveal()))
		assert.Equal(t, 429, a.status)
		assert.NotEmpty(t, a.header.Get("Retry-After"))
	})
}

func TestExplainHasNoLimitsWhereThereAreNone(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	a := w.do("GET", "tokens/"+info.ID+"/explain", "", apiAs("ada"))
	assert.Equal(t, true, a.at("accepted"))
	assert.Nil(t, a.at("token_limit"))
	assert.Nil(t, a.at("owner_limit"))
}

func limitedUI(t *testing.T) *uiSite {
	return newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		c.Limits = apitoken.Limits{Token: tenAtOnce, Owner: manyOwners}
	})
}

func TestUIAServiceWithoutLimitsShowsNoneOfThem(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "CI")
	for _, page := range []string{"", "generate", "tokens/" + in.ID, "tokens/" + in.ID + "/edit", "tokens/" + in.ID + "?route=GET+/devices"} {
		a := s.do("ada", page, nil)
		assert.Equal(t, 200, a.StatusCode, page)
		assert.NotContains(t, a.text(), "Limit", page)
		assert.NotContains(t, a.text(), " limit", page)
		assert.NotContains(t, a.body, `name="limit"`, page)
	}
	// But a token may have one of its own.
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Limit: &apitoken.Limit{Requests: 100, Per: 90 * time.Second}})
	assert.NoError(t, err)
	s.do("ada", "tokens/"+in.ID, nil).says(200, "Limit100 requests in 1m30s")
	s.do("ada", "tokens/"+in.ID+"/edit", nil).says(200, "More: description, limit, start, networks")
}

func TestUITheLimitOfATokenIsEnteredCheckedAndShown(t *testing.T) {
	s := limitedUI(t)
	s.do("ada", "generate", nil).says(200, "This service allows each token at most 1 request a minute, at most 10 at once.")
	form := s.filled("ada")
	for entered, problem := range map[string]string{
		"quick": "The limit is not of the form 100/1m or 100/1m/20.", "10/s": "The limit allows more than 1/1m/10, the limit of every token.",
	} {
		form.Set("limit", entered)
		a := s.do("ada", "generate", form)
		a.says(422, problem)
		assert.Contains(t, a.body, `value="`+entered+`"`, "nothing is lost")
		assert.Contains(t, a.body, `<details class="more" open>`)
		assert.Contains(t, a.body, `<a href="#limit">`)
		assert.Contains(t, a.body, `aria-describedby="limit-hint limit-problem" aria-invalid="true"`)
		assert.Equal(t, "for builds", a.form().Get("description"))
	}
	form.Set("limit", " 1/m/5 ")
	s.do("ada", "generate", form).says(200, "API token generated")
	in := s.tokens("ada")[0]
	assert.Equal(t, 5, in.Limit.Burst)
	s.do("ada", "tokens/"+in.ID, nil).says(200, "Limit1 request a minute, at most 5 at once", "Limit of its owner5,000 requests an hour for all their tokens together")

	at := "tokens/" + in.ID + "/edit"
	change := s.do("ada", at, nil).form()
	assert.Equal(t, "1/1m/5", change.Get("limit"))
	s.do("ada", at, change).says(422, "You have changed nothing yet")
	change.Set("limit", "")
	check := s.do("ada", at, change)
	check.says(200, "Limit 1/1m/5None")
	change = check.form()
	change.Set("step", "save")
	assert.Equal(t, "tokens/"+in.ID+"?done=edited", s.do("ada", at, change).goesTo(s, at))
	s.do("ada", "tokens/"+in.ID, nil).says(200, "Limit1 request a minute, at most 10 at once the limit of every token of this service", "Changed limit by ada")
}

func TestUIAnAdministratorCanOnlyTightenTheLimitOfAnothersToken(t *testing.T) {
	s := limitedUI(t)
	in := s.generate("ada", "CI")
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Limit: new(twoAtOnce), Description: new("of ada")})
	assert.NoError(t, err)
	at := "tokens/" + in.ID + "/edit"
	page := s.do("admin", at, nil)
	assert.NotContains(t, page.body, "of ada", "the description is the owner's")
	form := page.form()
	form.Set("step", "save")
	form.Set("limit", "1/m/5")
	a := s.do("admin", at, form)
	assert.Equal(t, 403, a.StatusCode, a.text())
	assert.Contains(t, a.body, `value="1/m/5"`)
	assert.Contains(t, a.body, `<a href="#limit">`)
	form.Set("limit", "1/m/1")
	assert.Equal(t, 303, s.do("admin", at, form).StatusCode)
	assert.Equal(t, 1, s.get("ada", in.ID).Limit.Burst)
	assert.Equal(t, "of ada", s.get("ada", in.ID).Description)
}

func TestUIALimitThatBecameLooserThanTheServicesIsSaidNotToCount(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	form.Set("limit", "100/s")
	s.do("ada", "generate", form).says(200, "API token generated")
	in := s.tokens("ada")[0]
	strict := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store, c.Limits.Token = s.store, tenAtOnce })
	strict.do("ada", "tokens/"+in.ID, nil).says(200,
		"1 request a minute, at most 10 at once the limit of every token of this serviceIts own limit, 100 requests a second, allows more and does not count.")
}

func TestUIExplainSaysHowManyRequestsAreLeft(t *testing.T) {
	s := limitedUI(t)
	in := s.generate("ada", "CI")
	s.do("ada", "tokens/"+in.ID+"?"+url.Values{"route": {"GET /devices"}}.Encode(), nil).says(200,
		"The service would accept this request.Its limit allows 10 more requests at once now. The limit of its owner allows 1 more request.")
}

func TestUIALinkFillsInALimit(t *testing.T) {
	s := newUISite(t, nil)
	a := s.do("ada", "generate?limit=10/s", nil)
	a.says(200, "This form was filled in by a link")
	assert.Contains(t, a.body, `name="limit" value="10/s"`)
}
