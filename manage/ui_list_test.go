package manage_test

import (
	"context"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestUIASearchForAWholeTokenLeavesNoSecretInTheAddress(t *testing.T) {
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64}
	})
	const earlier = "an-earlier-token-of-an-earlier-system"
	ask := apitoken.GenerateParams{Name: "nightly", Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never()}
	info, secret, err := s.auth.As(s.actors["bob"]).Generate(t.Context(), ask)
	require.NoError(t, err)
	ask.Name = "imported"
	imported, err := s.auth.As(s.actors["bob"]).Import(t.Context(), apitoken.ImportParams{GenerateParams: ask, Secret: apitoken.NewSecret(earlier)})
	require.NoError(t, err)
	text := secret.Reveal()
	for _, page := range []string{"", "all"} {
		for pasted, want := range map[string]string{
			text: info.DisplayID, " " + text + " ": info.DisplayID, text[:50]: info.DisplayID, info.DisplayID + "…": info.DisplayID,
			" " + info.ID: info.ID, earlier + " ": imported.ID,
		} {
			user := map[string]string{"": "bob", "all": "admin"}[page]
			to := s.do(user, page+"?sort=name&cursor=x&q="+url.QueryEscape(pasted), nil).goesTo(s, page)
			assert.Equal(t, page+"?q="+want+"&sort=name", to)
			answer := s.do(user, to, nil)
			answer.says(200, "1 API token", want[len(want)-17:])
		}
	}
	gone := "acme_00000000000000000" + text[22:]
	assert.Equal(t, "?q=acme_00000000000000000", s.do("ada", "?q="+gone, nil).goesTo(s, ""), "of no token")
	s.do("ada", "?q="+earlier, nil).says(200, "No API token matches")
	assert.Equal(t, "all?owner=bob", s.do("admin", "all?owner=+bob+", nil).goesTo(s, "all"))
	s.do("admin", "all?owner=bob&q=nightly", nil).says(200, "1 API token")
}

func TestUIListsAreFilteredSortedAndPagedByTheirAddress(t *testing.T) {
	testserver.Unwatched(t)
	s := newUISite(t, nil)
	for i := range 120 {
		s.generate("bob", fmt.Sprintf("Sensor %03d", i))
	}
	s.generate("ada", "Laptop", s.write)
	a := s.do("admin", "all?q=sensor&sort=name", nil)
	a.says(200, "1 to 50 of 120 API tokens", "Clear filters")
	assert.Contains(t, a.body, `aria-sort="ascending"`)
	var names []string
	path := "all?q=sensor&sort=name"
	for path != "" {
		a := s.do("admin", path, nil)
		for _, m := range regexp.MustCompile(`<a class="name"[^>]*><bdi>([^<]*)`).FindAllStringSubmatch(a.body, -1) {
			names = append(names, m[1])
		}
		path = ""
		if m := regexp.MustCompile(`href="\./([^"]*)" rel="next"`).FindStringSubmatch(a.body); m != nil {
			path = html.UnescapeString(m[1])
			assert.Contains(t, path, "q=sensor")
		}
	}
	require.Len(t, names, 120)
	assert.Equal(t, "Sensor 000", names[0])
	assert.Equal(t, "Sensor 119", names[119])
	s.do("admin", "all?owner=ada", nil).says(200, "1 API token", "Laptop")
	s.do("admin", "all?permission=devices:write", nil).says(200, "1 API token", "Laptop")
	s.do("admin", "all?status=inactive", nil).says(200, "No API token matches")
	s.do("ada", "?owner=bob", nil).says(200, "1 API token", "Laptop")
	s.do("admin", "all?permission=gone", nil).says(200, "No API token matches")
}

func TestUICountsStopAtAThousand(t *testing.T) {
	testserver.Unwatched(t)
	s := newUISite(t, nil)
	for i := range 1001 {
		s.generate("bob", fmt.Sprint("Token ", i))
	}
	s.do("admin", "all", nil).says(200, "1 to 50 of 1,000 or more API tokens")
}

func TestUIADeletedTokenCanBeLookedAtAndNothingElse(t *testing.T) {
	s := newUISite(t, func(*apitoken.Config, *manage.Config) {})
	info, _, err := s.auth.As(s.actors["ada"]).Generate(t.Context(), apitoken.GenerateParams{
		Name: "nightly", Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never(),
	})
	require.NoError(t, err)
	require.NoError(t, s.auth.As(s.actors["ada"]).Delete(t.Context(), info.ID))
	s.do("ada", "?q=nightly", nil).says(200, "No API token matches")
	list := s.do("ada", "?status=deleted", nil)
	list.says(200, "1 API token", "nightly", "Deleted")
	assert.NotContains(t, list.body, `name="action"`)
	page := s.do("ada", "tokens/"+info.ID, nil)
	page.says(200, "nightly", "by ada", "its secret with it", "Deleted")
	assert.NotRegexp(t, "tokens/"+info.ID+"/[^h]", page.body, "nothing but the history")
	for _, form := range []string{"rotate", "activate", "deactivate", "delete"} {
		s.do("ada", "tokens/"+info.ID+"/"+form, nil).says(404)
	}
}

// A hastyStore stops after each token that it looks at in a list with a text, and finds none but those named "Laptop".
type hastyStore struct{ apitoken.Store }

func (s hastyStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if q.Text == "" {
		return s.Store.List(ctx, q)
	}
	q.Limit = 1
	page, err := s.Store.List(ctx, q)
	if page.Count, page.More = 0, true; page.Next != nil {
		page.Partial = true
		if page.Records[0].Name != "Laptop" {
			page.Records = nil
		}
	}
	page.Count = len(page.Records)
	return page, err
}

func TestUIAPartialPageSaysSoAndGoesOn(t *testing.T) {
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = hastyStore{memory.New()} })
	for _, name := range []string{"Lamp", "Laptop", "Lapwing"} {
		s.generate("ada", name)
	}
	next := func(a *uiAnswer, label string) string {
		m := regexp.MustCompile(`href="\./([^"]*)" rel="next">([^<]*)`).FindStringSubmatch(a.body)
		require.NotNil(t, m, a.body)
		assert.Equal(t, label, m[2])
		return html.UnescapeString(m[1])
	}
	a := s.do("ada", "?q=la&sort=name", nil)
	a.says(200, "No API token found yet", "The service has not searched all API tokens yet", "Clear filters")
	assert.NotContains(t, a.body, "No API token matches")
	a = s.do("ada", next(a, "Continue"), nil)
	a.says(200, "1 API token on this page", "Laptop", "The service has not searched all API tokens yet")
	a = s.do("ada", next(a, "Continue"), nil)
	a.says(200, "1 API token on this page", "Lapwing")
	assert.NotContains(t, a.body, "has not searched")
	assert.NotContains(t, a.body, `rel="next"`)
}
