package manage_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
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
			answer.says(200, "Showing 1 of 1", want[len(want)-17:])
		}
	}
	gone := "acme_00000000000000000" + text[22:]
	assert.Equal(t, "?q=acme_00000000000000000", s.do("ada", "?q="+gone, nil).goesTo(s, ""), "of no token")
	s.do("ada", "?q="+earlier, nil).says(200, "No API token matches")
	assert.Equal(t, "all?owner=bob", s.do("admin", "all?owner=+bob+", nil).goesTo(s, "all"))
	s.do("admin", "all?owner=bob&q=nightly", nil).says(200, "Showing 1 of 1")
}
