package manage_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

// labeledUI returns a site with types of objects, whose labels come from list; and a token of
// ada that is limited to the objects.
func labeledUI(t *testing.T, list func(ctx context.Context, resourceType, search string) ([]manage.Choice, error), only ...string) (*uiSite, *apitoken.TokenInfo) {
	s := newUISite(t, func(c *apitoken.Config, m *manage.Config) {
		c.Permissions.Resource("device", "Device")
		c.Permissions.Resource("room", "Room")
		m.Routes = append(m.Routes, apitoken.Route{Method: "PUT", Pattern: "/devices/{id}", Permissions: []string{"devices:read"}, Match: "all", Resources: []string{"device"}, Filtered: []string{"room"}})
		m.ListResources = func(ctx context.Context, _ apitoken.Actor, resourceType, search string) ([]manage.Choice, error) {
			return list(ctx, resourceType, search)
		}
	})
	in := s.generate("ada", "CI")
	_, err := s.auth.As(s.actors["ada"]).Update(t.Context(), in.ID, apitoken.UpdateParams{Only: &only})
	require.NoError(t, err)
	return s, in
}

func TestUIObjectsAreShownByTheLabelsOfTheService(t *testing.T) {
	var calls []string
	s, in := labeledUI(t, func(_ context.Context, resourceType, search string) (found []manage.Choice, _ error) {
		calls = append(calls, resourceType+" "+search)
		for _, c := range []manage.Choice{{ID: "7", Label: "Pump <7>"}, {ID: "8", Label: "Valve"}, {ID: "9"}} {
			if resourceType == "device" && (search == "" && c.ID != "8" || search == c.ID) {
				found = append(found, c)
			}
		}
		return found, nil
	}, "device:7", "device:8", "device:9", "device:gone", "room:")
	at := "tokens/" + in.ID
	s.do("ada", at, nil).says(200, "DevicePump <7> (7)Valve (8)9gone", "RoomNone at all")
	assert.Equal(t, []string{"device ", "device 8", "device gone"}, calls, "the list once, and what it does not have")
	s.do("ada", at+"?"+url.Values{"route": {"PUT /devices/{id}"}}.Encode(), nil).says(200, "Pump <7> (device:7)", "Room: none at all")
	who := s.do("admin", "who-can?"+url.Values{"route": {"PUT /devices/{id}"}}.Encode(), nil)
	who.says(200, "Objects", "Pump <7> (device:7)Valve (device:8)device:9and 2 more")
	list := s.do("admin", "all", nil)
	list.says(200, "Only for these objects:Pump <7> (device:7)")
	assert.Contains(t, list.body, `href="./all?only=device%3A7"`)
	assert.Contains(t, s.do("ada", at, nil).body, `href="../?only=device%3A7"`)
	edit := s.do("ada", at+"/edit", nil)
	edit.says(200, "Pump <7>7 9 Valve8 gone")
	form := edit.form()
	form["ids:device"] = []string{"7", "9", "10"}
	s.do("ada", at+"/edit", form).says(200, "RemovedValve (8)gone Added10")
	for _, page := range []string{at, "", at + "/edit"} {
		assert.NotContains(t, s.do("ada", page, nil).body, "Pump <7>", "a label is text")
	}
	calls = nil
	s.do("ada", "tokens/"+s.generate("ada", "Other").ID, nil).says(200, "Other")
	assert.Empty(t, calls, "no object is shown")
	s.do("ada", "generate", with(with(s.filled("ada"), "objects:device", "these"), "ids:device", "8")).says(200, "ObjectsValve (device:8)")
}

func TestUIAListHasTheTokensThatAreLimitedToAnObject(t *testing.T) {
	s, _ := labeledUI(t, func(context.Context, string, string) ([]manage.Choice, error) {
		return []manage.Choice{{ID: "7", Label: "Pump"}}, nil
	}, "device:7")
	s.generate("ada", "Laptop")
	for only, says := range map[string]string{
		"device:7": "Only tokens that are limited to Pump (device:7).", "device": "Only tokens that are limited to some objects of the type device.",
	} {
		a := s.do("ada", "?only="+only, nil)
		a.says(200, says, "1 API token")
		assert.NotContains(t, a.text(), "Laptop")
		assert.Equal(t, only, a.hidden("only"), "the filter stays when another is added")
	}
	s.do("ada", "?only=device:8", nil).says(200, "No API token matches")
	s.do("ada", "bulk?all=1&action=delete&back="+url.QueryEscape("?only=device:7"), nil).says(200, "Delete 1 API token?")
}

func TestUIObjectsOfAServiceThatFailsAreShownByTheirIDs(t *testing.T) {
	for name, list := range map[string]func(context.Context, string, string) ([]manage.Choice, error){
		"failed":   func(context.Context, string, string) ([]manage.Choice, error) { return nil, errors.New("down") },
		"panicked": func(context.Context, string, string) ([]manage.Choice, error) { panic("on fire") },
		"slow":     func(ctx context.Context, _, _ string) ([]manage.Choice, error) { <-ctx.Done(); return nil, ctx.Err() },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, in := labeledUI(t, list, "device:7", "room:1")
			begun := time.Now()
			s.do("ada", "tokens/"+in.ID, nil).says(200, "Device7", "Room1")
			assert.LessOrEqual(t, time.Since(begun), 2*time.Second, name)
		})
	}
}

func TestUIManyObjectsAreNamedByFewCalls(t *testing.T) {
	var only, calls []string
	for i := range 90 {
		only = append(only, fmt.Sprintf("device:%02d", i))
	}
	s, in := labeledUI(t, func(_ context.Context, resourceType, search string) ([]manage.Choice, error) {
		calls = append(calls, resourceType+search)
		return []manage.Choice{{ID: search, Label: "Lamp " + search}}, nil
	}, only...)
	page := s.do("ada", "tokens/"+in.ID, nil)
	page.says(200, "Lamp 00 (00)", "Lamp 07 (07)", "89")
	assert.Len(t, calls, 9)
	assert.Equal(t, 8, strings.Count(page.text(), "Lamp"))
	s.do("admin", "all", nil).says(200, "and 87 more")
}

func TestUIWhatALimitedTokenCanDoIsWhatExplainSays(t *testing.T) {
	s, in := labeledUI(t, func(context.Context, string, string) ([]manage.Choice, error) { return nil, nil }, "device:7")
	const forgotten = "The token is limited to some objects. The request is about none of these, or the route does not say which object it is about."
	page := s.do("ada", "tokens/"+in.ID, nil)
	page.says(200, "The service accepts 1 of 6 calls with this token")
	rows := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)<td><code><span class="method">(\w+)</span> ([^<]*)</code>.*?<td>(.*?)</td>`).FindAllStringSubmatch(page.body, -1) {
		rows[m[1]+" "+m[2]] = m[3]
	}
	assert.Len(t, rows, 6)
	for _, rt := range s.config.Routes {
		name := rt.Method + " " + rt.Pattern
		if rt.Match == "open" {
			assert.Empty(t, rows[name])
			continue
		}
		explained := s.do("ada", "tokens/"+in.ID+"?"+url.Values{"route": {name}}.Encode(), nil).text()
		accepts := strings.Contains(explained, "The service would accept this request.")
		assert.Equal(t, accepts, strings.Contains(rows[name], "Accepted"), name)
		assert.Equal(t, rt.Resources == nil, strings.Contains(rows[name], forgotten), name)
		assert.Equal(t, rt.Resources == nil, strings.Contains(explained, "status 403. ") && strings.Contains(explained, forgotten), name)
	}
}
