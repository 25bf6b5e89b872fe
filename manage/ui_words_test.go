package manage_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestUIThePageSpeaksTheLanguageOfItsReaders(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.Words = &manage.Words{Lang: "de", Texts: map[string]string{
			"There is no such page": "Hier ist nichts", "My API tokens": "Meine API-Tokens",
			"in {1} day|in {1} days": "in {1} Tag|in {1} Tagen",
		}}
	})
	a := s.do("ada", "nothing", nil)
	a.says(404, "Hier ist nichts", "Meine API-Tokens")
	assert.Contains(t, a.body, `<html lang="de" dir="ltr">`)
	in := s.generate("ada", "Laptop")
	s.do("ada", "tokens/"+in.ID, nil).says(200, "in 30 Tagen")
}

func TestUIWordsThatThePageDoesNotHaveAreRefused(t *testing.T) {
	s := newUISite(t, nil)
	s.config.Page.Words = &manage.Words{Lang: "de", Texts: map[string]string{"My tokens": "x", "{1}: {2}.": "{1}"}}
	_, err := manage.NewUI(s.config)
	assert.ErrorContains(t, err, `manage: Config.Page.Words: Texts has "My tokens", which is no text of the page`)
	assert.ErrorContains(t, err, `Texts["{1}: {2}."] lacks {2}`)
}

func TestUITimesAreInTheTimeZoneOfTheReader(t *testing.T) {
	zone := time.FixedZone("CEST", 2*60*60)
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.Location = func(r *http.Request) *time.Location {
			if r.Header.Get("User") == "bob" {
				return nil
			}
			return zone
		}
	})
	in, bobs := s.generate("ada", "Laptop"), s.generate("bob", "Server")
	s.do("ada", "tokens/"+in.ID, nil).says(200, in.CreatedAt.In(zone).Format("2006-01-02 15:04:05")+" CEST")
	s.do("bob", "tokens/"+bobs.ID, nil).says(200, bobs.CreatedAt.UTC().Format("2006-01-02 15:04:05")+" UTC")
}

func TestUIUsersAreAskedForOnceAndShownByTheirNames(t *testing.T) {
	var asked [][]string
	var names map[string]string
	var fails error
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.Users = func(_ context.Context, users []string) (map[string]string, error) {
			asked = append(asked, users)
			return names, fails
		}
	})
	s.generate("ada", "Laptop")
	s.generate("ada", "Phone")
	s.generate("bob", "Server")
	names = map[string]string{"ada": "Ada <Lovelace>", "admin": "éva"}
	a := s.do("admin", "all", nil)
	a.says(200, "Ada <Lovelace>", "bob", "É")
	assert.Contains(t, a.body, `<bdi title="ada">Ada &lt;Lovelace&gt;</bdi>`)
	require.Len(t, asked, 1, "one call for a page")
	assert.ElementsMatch(t, []string{"ada", "admin", "bob"}, asked[0])

	names, fails = map[string]string{"bob": "Bob"}, errors.New("directory on fire")
	s.do("admin", "all", nil).says(200, "Bob", "ada")

	s.config.Page.Users = func(context.Context, []string) (map[string]string, error) { panic("on fire") }
	s.handler = s.page()
	s.do("admin", "all", nil).says(200, "ada", "bob")
}

func TestUIThePathAboveThePageIsThatOfTheService(t *testing.T) {
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) {
		c.Page.Path = []manage.Crumb{{Label: "Settings", Link: "/settings"}, {Label: "People & access"}}
	})
	a := s.do("ada", "", nil)
	a.says(200, "Settings", "People & access")
	assert.Contains(t, a.body, `href="/settings"`)
	assert.False(t, strings.Contains(a.text(), "Environment settings"))
}
