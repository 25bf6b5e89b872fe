package manage_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

// swapped has every text of the page in brackets.
func swapped() *manage.Words {
	w := &manage.Words{Lang: "en", Texts: map[string]string{}}
	for _, text := range manage.Texts() {
		forms := strings.Split(text, "|")
		for i := range forms {
			forms[i] = "⟦" + forms[i] + "⟧"
		}
		w.Texts[text] = strings.Join(forms, "|")
	}
	return w
}

var (
	markup    = regexp.MustCompile(`(?s)<(code|pre|svg)\b.*?</(code|pre|svg)>`)
	dataTitle = regexp.MustCompile(`<bdi title="[^"]*">`)
	labels    = regexp.MustCompile(`(?s)\s(?:placeholder|title|alt|label|aria-label|data-(?:label|text|none|some|copied|press|selected|hidden|count|more|shown|expires|permissions)[a-z-]*)="([^"]*)"`)
	inner     = regexp.MustCompile(`⟦[^⟦⟧]*⟧`)
	letters   = regexp.MustCompile(`\p{L}{2,}.*`)
	// What is no text of the page: data, routes, units of time zones and formats.
	notTexts = regexp.MustCompile(`devices:(read|write)|reports|See devices & <their> state|Change devices|See reports|devices|` +
		`\b(GET|POST|demo|ada|bob|admin|Laptop|CI|for builds|UTC|acme\w*|CSV)\b|/[\w{}/-]+`)
)

// english returns what a page says that is no text of the table.
func (a *uiAnswer) english() []string {
	body := markup.ReplaceAllString(dataTitle.ReplaceAllString(a.body, ""), "")
	var said []string
	for _, m := range labels.FindAllStringSubmatch(body, -1) {
		said = append(said, m[1])
	}
	said = append(said, strings.Split(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, "\n"), "\n")...)
	text := html.UnescapeString(strings.Join(said, "\n"))
	text = notTexts.ReplaceAllString(text, "")
	for inner.MatchString(text) {
		text = inner.ReplaceAllString(text, "")
	}
	return letters.FindAllString(text, -1)
}

func TestUINoPageHasATextThatIsNotInTheTable(t *testing.T) {
	words := swapped()
	s := newUISite(t, func(_ *apitoken.Config, c *manage.Config) { c.Page.Words = words })
	mine, other, off := s.generate("admin", "Laptop"), s.generate("ada", "Laptop", s.read, s.write), s.generate("admin", "Laptop")
	_, err := s.auth.As(s.actors["admin"]).Deactivate(t.Context(), off.ID)
	assert.NoError(t, err)
	gone := s.generate("admin", "Laptop")
	assert.NoError(t, s.auth.As(s.actors["admin"]).Delete(t.Context(), gone.ID))
	pages := 0
	look := func(a *uiAnswer, path string) {
		pages++
		assert.NotEqual(t, 500, a.StatusCode, path)
		assert.Empty(t, a.english(), path)
	}
	for _, path := range []string{
		"", "all", "all?owner=ada", "?status=deleted", "?q=nothing", "?done=deactivated&id=" + mine.ID, "?done=deleted&n=3&same=2&left=1", "generate",
		"generate?name=Laptop&permission=devices:read,nothing:here&expires=400d", "who-can?route=GET+/devices", "revoke?owner=ada",
		"bulk?action=deactivate&id=" + mine.ID + "&id=" + other.ID, "bulk?action=activate&id=" + off.ID, "bulk?action=delete&id=" + off.ID, "bulk?action=delete", "nothing", "tokens/x",
	} {
		look(s.do("admin", path, nil), path)
	}
	for _, id := range []string{mine.ID, other.ID, off.ID, gone.ID} {
		for _, path := range []string{"", "/edit", "/rotate", "/activate", "/deactivate", "/delete", "/history", "/end-overlap", "?route=GET+/devices&from=192.0.2.7", "?from=x&route=POST+/devices"} {
			look(s.do("admin", "tokens/"+id+path, nil), path)
		}
	}
	look(s.do("", "", nil), "signed out")
	look(s.do("nobody", "", nil), "no environment")
	look(s.do("admin", "generate", url.Values{"expires": {"date"}, "networks": {"x"}, "name": {"\x01"}}), "generate, with mistakes")
	look(s.do("admin", "generate", s.filled("admin")), "generated")
	look(s.do("admin", "tokens/"+mine.ID+"/rotate", url.Values{"overlap": {"24h"}, "ticket": {s.do("admin", "tokens/"+mine.ID+"/rotate", nil).hidden("ticket")}}), "rotated")
	look(s.do("admin", "tokens/"+mine.ID, nil), "a rotation")
	look(s.do("admin", "tokens/"+mine.ID+"/end-overlap?keep=old", nil), "end of a rotation")
	look(s.do("", "generate", url.Values{"name": {"Laptop"}}), "signed out with a form")
	look(s.do("admin", "generate", url.Values{}, "Sec-Fetch-Site", "cross-site"), "from another site")
	look(s.do("admin", "bulk", url.Values{"action": {"nothing"}, "id": {mine.ID}}), "no such action")
	assert.Greater(t, pages, 60)
}
