package manage_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

// resourceAPI returns a service with devices and rooms.
func resourceAPI(t testing.TB) *apiWorld {
	return newAPIWorld(t, func(c *apitoken.Config, m *manage.Config) {
		c.Permissions.Resource("device", "Device")
		c.Permissions.Resource("room", "Room")
		m.Routes = append(m.Routes, apitoken.Route{Method: "GET", Pattern: "/devices/{id}", Permissions: []string{"devices:read"}, Match: "all", Resources: []string{"device"}})
	})
}

func TestTheObjectsOfATokenAreSetShownAndRemoved(t *testing.T) {
	w := resourceAPI(t)
	a := w.do("POST", "tokens", `{"name":"ci","permissions":["devices:read"],"never":true,"only":["device:8","device:7","room:"]}`, apiAs("ada"))
	assert.Equal(t, []any{"device:7", "device:8", "room:"}, a.at("token", "only"))
	id, secret := a.text("token", "id"), a.text("secret")
	assert.Equal(t, 403, w.do("PATCH", "self", `{"only":["device:9","room:"]}`, apiWith(secret)).status)
	assert.Equal(t, 403, w.do("PATCH", "self", `{"only":[]}`, apiWith(secret)).status)
	assert.Equal(t, []any{"device:7", "room:"}, w.do("PATCH", "self", `{"only":["device:7","room:"]}`, apiWith(secret)).at("only"), "a token can narrow itself")
	assert.Equal(t, []any{"device:"}, w.do("PATCH", "tokens/"+id, `{"only":["device:"]}`, apiAs("ada")).at("only"))
	assert.Equal(t, []any{}, w.do("PATCH", "tokens/"+id, `{"only":[]}`, apiAs("ada")).at("only"))
	assert.Equal(t, []any{}, w.do("GET", "tokens/"+id, "", apiAs("ada")).at("only"))
	for only, field := range map[string]string{`["gadget:7"]`: "only", `["7"]`: "only", `"device:7"`: "only", `null`: "only"} {
		assert.Equal(t, field, w.do("PATCH", "tokens/"+id, `{"only":`+only+`}`, apiAs("ada")).text("field"), only)
	}
	assert.Equal(t, []any{map[string]any{"name": "device", "label": "Device"}, map[string]any{"name": "room", "label": "Room"}},
		w.do("GET", "permissions", "", apiAs("ada")).at("resources"))
}

func TestAListHasTheTokensThatAreLimitedToAnObjectOrInItsType(t *testing.T) {
	w := resourceAPI(t)
	for name, only := range map[string][]string{"a": nil, "b": {"device:7"}, "c": {"device:7", "device:77", "room:1"}, "d": {"device:"}, "e": {"room:device"}} {
		w.generate("ada", func(g *apitoken.GenerateParams) { g.Name, g.Only = name, only })
	}
	for only, want := range map[string]string{
		"device:7": "bc", "device:77": "c", "device": "bcd", "device:": "d", "room": "ce", "room:device": "e", "device:8": "", "devic": "", "gadget": "", "7": "",
	} {
		for _, limit := range []string{"1", "200"} {
			names, _ := w.listed(t, "owner=@all&limit="+limit+"&"+url.Values{"only": {only}}.Encode())
			slices.Sort(names)
			assert.Equal(t, want, strings.Join(names, ""), only)
		}
	}
}

func TestExplainNamesTheObjectsOfATokenAndWhoCanFindsIt(t *testing.T) {
	w := resourceAPI(t)
	info, _ := w.generate("ada", func(g *apitoken.GenerateParams) { g.Only = []string{"device:7"} })
	explain := func(route string) *apiAnswer {
		return w.do("GET", "tokens/"+info.ID+"/explain?"+url.Values{"route": {route}}.Encode(), "", apiAs("ada"))
	}
	a := explain("GET /devices/{id}")
	assert.Equal(t, []any{"device:7"}, a.at("only"))
	assert.Equal(t, true, a.at("accepted"))
	a = explain("GET /devices")
	assert.Equal(t, []any{"resource_not_allowed"}, a.at("reasons"), "the route says nothing of devices")
	assert.Len(t, w.do("GET", "reports/who-can?"+url.Values{"route": {"GET /devices/{id}"}}.Encode(), "", apiAs("ada")).at("tokens"), 1)
	routes := w.do("GET", "routes", "", apiAs("ada")).at("routes").([]any)
	assert.Equal(t, []any{"device"}, routes[3].(map[string]any)["resources"])
	assert.Equal(t, []any{}, routes[0].(map[string]any)["filtered"])
}

// resourceUI returns a site with devices, of which list lists some if it is not nil.
func resourceUI(t *testing.T, list func(search string) ([]manage.Choice, error)) *uiSite {
	return newUISite(t, func(c *apitoken.Config, m *manage.Config) {
		c.Permissions.Resource("device", "Device")
		m.Routes = append(m.Routes, apitoken.Route{Method: "PUT", Pattern: "/devices/{id}", Permissions: []string{"devices:read"}, Match: "all", Resources: []string{"device"}})
		if list != nil {
			m.ListResources = func(_ context.Context, actor apitoken.Actor, resourceType, search string) ([]manage.Choice, error) {
				assert.Equal(t, "ada device", actor.User+" "+resourceType)
				return list(search)
			}
		}
	})
}

// hostile are IDs that must come through whole.
var hostile = []string{
	`"><script>alert(1)</script>`, strings.Repeat("x", 128), "🦉🦉", "\u05d0\u05d1\u05d2", "a:b, c;d", "&amp;", "+=@",
}

func TestUIAServiceWithoutResourcesShowsNoneOfThem(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "CI")
	for _, page := range []string{"generate", "tokens/" + in.ID, "tokens/" + in.ID + "/edit"} {
		body := s.do("ada", page, nil).body
		assert.NotContains(t, body, "Only these", page)
		assert.NotContains(t, body, `id="only"`, page)
	}
}

func TestUIObjectsAreWrittenOneALine(t *testing.T) {
	s := resourceUI(t, nil)
	form := s.do("ada", "generate", nil).form()
	assert.Equal(t, "all", form.Get("objects:device"), "nothing is limited unasked")
	form = s.filled("ada")
	form.Set("objects:device", "these")
	form.Set("ids:device", strings.Join(hostile, "\r\n")+"\r\n  7  \r\n\r\n")
	s.do("ada", "generate", form).says(200, "API token generated")
	in := s.tokens("ada")[0]
	for _, id := range append(hostile, "7") {
		assert.Contains(t, in.Only, "device:"+id)
	}
	assert.Len(t, in.Only, len(hostile)+1)
	page := s.do("ada", "tokens/"+in.ID, nil)
	for _, id := range hostile {
		page.says(200, id)
	}
	assert.NotContains(t, page.body, "<script>alert")

	// As the form is filled in, it changes nothing, and so it does if the IDs have odd blanks.
	for _, only := range [][]string{in.Only, {"device: 7 ", "device:8"}, {"device:"}} {
		in, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &only})
		require.NoError(t, err)
		at := "tokens/" + in.ID + "/edit"
		form := s.do("ada", at, nil).form()
		s.do("ada", at, form).says(422, "You have changed nothing yet")
		form.Set("name", "renamed")
		check := s.do("ada", at, form)
		check.says(200, "Check the change")
		assert.NotContains(t, check.text(), "Device")
		form = check.form()
		form.Set("step", "save")
		assert.Equal(t, 303, s.do("ada", at, form).StatusCode)
		assert.Equal(t, only, s.get("ada", in.ID).Only)
		_, err = s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Name: new("CI")})
		require.NoError(t, err)
	}
}

func TestUIAllAndNoneAtAllAreTwoChoices(t *testing.T) {
	s := resourceUI(t, nil)
	form := s.filled("ada")
	form.Set("objects:device", "these")
	s.do("ada", "generate", form).says(200, "API token generated")
	in := s.tokens("ada")[0]
	assert.Equal(t, []string{"device:"}, in.Only)
	s.do("ada", "tokens/"+in.ID, nil).says(200, "DeviceNone at all")
	at := "tokens/" + in.ID + "/edit"
	for _, c := range []struct{ objects, ids, check, shown string }{
		{"these", "7\n8", "Device None at all7, 8", "Device78"},
		{"these", "8\n9", "Device Removeddevice:7 Addeddevice:9", ""},
		{"all", "8\n9", "Device 8, 9All", "DeviceAll"},
		{"these", "", "Device AllNone at all", "DeviceNone at all"},
	} {
		form := s.do("ada", at, nil).form()
		form.Set("objects:device", c.objects)
		form.Set("ids:device", c.ids)
		check := s.do("ada", at, form)
		check.says(200, strings.ReplaceAll(c.check, "device:", ""))
		form = check.form()
		form.Set("step", "save")
		assert.Equal(t, 303, s.do("ada", at, form).StatusCode, c.check)
		s.do("ada", "tokens/"+in.ID, nil).says(200, c.shown)
	}
	s.do("ada", "tokens/"+in.ID+"/history", nil).says(200, "Changed objects by ada")
}

func TestUIAnIDThatCannotBeIsShownAtTheObjects(t *testing.T) {
	s := resourceUI(t, nil)
	form := s.filled("ada")
	form.Set("objects:device", "these")
	form.Set("ids:device", strings.Repeat("y", 129))
	a := s.do("ada", "generate", form)
	a.says(422, "The list of objects contains", strings.Repeat("y", 129))
	assert.Contains(t, a.body, `<a href="#only">`)
	assert.Contains(t, a.body, `aria-describedby="only-problem"`)
	assert.Equal(t, "CI", a.form().Get("name"))
}

func TestUIAServiceOffersItsObjects(t *testing.T) {
	var choices []manage.Choice
	for i, id := range hostile {
		choices = append(choices, manage.Choice{ID: id, Label: fmt.Sprint("<b>Lamp</b> ", i)})
	}
	for i := range 30 {
		choices = append(choices, manage.Choice{ID: fmt.Sprint("d", i)})
	}
	s := resourceUI(t, func(search string) (found []manage.Choice, err error) {
		for _, c := range choices {
			if strings.Contains(c.Label+c.ID, search) {
				found = append(found, c)
			}
		}
		return found, nil
	})
	form := s.filled("ada")
	form.Set("objects:device", "these")
	form["ids:device"] = append([]string{"gone"}, hostile[0])
	form.Set("find:device", "d2")
	form.Set("step", "find")
	a := s.do("ada", "generate", form)
	a.says(200, "Generate an API token", "d2", "d29", "gone", "If you select none")
	a.says(200, "<b>Lamp</b> 0")
	assert.Equal(t, 1, strings.Count(a.text(), "Lamp"), "it was not found; but it is selected")
	assert.ElementsMatch(t, form["ids:device"], a.form()["ids:device"], "nothing is lost")
	assert.Equal(t, "CI", a.form().Get("name"))
	assert.Empty(t, s.tokens("ada"), "a search generates nothing")
	form.Del("step")
	s.do("ada", "generate", form).says(200, "API token generated")
	in := s.tokens("ada")[0]
	assert.ElementsMatch(t, []string{"device:gone", "device:" + hostile[0]}, in.Only)

	at := "tokens/" + in.ID + "/edit"
	edit := s.do("ada", at, nil)
	edit.says(200, "<b>Lamp</b> 3", hostile[3])
	assert.Contains(t, edit.body, `value="`+html.EscapeString(hostile[4])+`"`)
	edit.form()
	form = edit.form()
	form.Set("find:device", "nothing is called so")
	form.Set("step", "find")
	found := s.do("ada", at, form)
	found.says(200, "gone")
	assert.ElementsMatch(t, form["ids:device"], found.form()["ids:device"])
	assert.Equal(t, in.Version, s.get("ada", in.ID).Version, "a search changes nothing")
}

func TestUIWhereObjectsCannotBeListedTheyAreWritten(t *testing.T) {
	for name, list := range map[string]func(string) ([]manage.Choice, error){
		"failed":   func(string) ([]manage.Choice, error) { return nil, errors.New("the database is gone") },
		"panicked": func(string) ([]manage.Choice, error) { panic("on fire") },
	} {
		s := resourceUI(t, list)
		form := s.filled("ada")
		form.Set("objects:device", "these")
		form.Set("ids:device", "7")
		form.Set("name", "")
		a := s.do("ada", "generate", form)
		a.says(422, "They can’t be listed just now, so write them.")
		assert.Equal(t, "7\n", a.form().Get("ids:device"), name)
		form.Set("name", "CI")
		s.do("ada", "generate", form).says(200, "API token generated")
	}
}

func TestUIExplainSaysForWhichObjectsARequestIsLetThrough(t *testing.T) {
	s := resourceUI(t, nil)
	form := s.filled("ada")
	form.Set("objects:device", "these")
	form.Set("ids:device", "7")
	s.do("ada", "generate", form)
	in := s.tokens("ada")[0]
	at := "tokens/" + in.ID + "?" + url.Values{"route": {"PUT /devices/{id}"}}.Encode()
	s.do("ada", at, nil).says(200, "A request would be let through. Only for these objects: device:7")
	at = "tokens/" + in.ID + "?" + url.Values{"route": {"GET /devices"}}.Encode()
	s.do("ada", at, nil).says(200, "It would get status 403. The token is limited to some objects, and the request is not about one of these.")
}

func TestUIALinkFillsInObjects(t *testing.T) {
	s := resourceUI(t, nil)
	form := s.do("ada", "generate?only=device:7&only=device:8&name=x", nil).form()
	assert.Equal(t, "these", form.Get("objects:device"))
	assert.Equal(t, "7\n8\n", form.Get("ids:device"))
}

func TestUIAnAdministratorTakesObjectsAwayAndAddsNone(t *testing.T) {
	s := resourceUI(t, nil)
	in := s.generate("ada", "CI")
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:7", "device:8"}})
	require.NoError(t, err)
	at := "tokens/" + in.ID + "/edit"
	for _, c := range []struct {
		ids    string
		status int
	}{{"7\n9", 403}, {"7", 303}} {
		form := s.do("admin", at, nil).form()
		form.Set("ids:device", c.ids)
		form.Set("step", "save")
		assert.Equal(t, c.status, s.do("admin", at, form).StatusCode, c.ids)
	}
	assert.Equal(t, []string{"device:7"}, s.get("ada", in.ID).Only)
}

func TestUIATypeThatTheCatalogLostIsShownAndCanBeRemoved(t *testing.T) {
	s := resourceUI(t, nil)
	in := s.generate("ada", "CI")
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &[]string{"device:7"}})
	require.NoError(t, err)
	after := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = s.store })
	after.do("ada", "tokens/"+in.ID, nil).says(200, "device7")
	at := "tokens/" + in.ID + "/edit"
	form := after.do("ada", at, nil).form()
	form.Set("objects:device", "all")
	form.Set("step", "save")
	assert.Equal(t, 303, after.do("ada", at, form).StatusCode)
	assert.Empty(t, after.get("ada", in.ID).Only)
}
