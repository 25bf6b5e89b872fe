package manage_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUIUsersWithoutPermissionsOfTheirOwnGetNoFormToGenerate(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "of the application")
	_, err := s.auth.As(s.actors["ada"]).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	form := s.filled("ada")
	ada := s.actors["ada"]
	ada.Grants = nil
	s.actors["ada"] = ada

	a := s.do("ada", "generate", nil)
	a.says(200, "You cannot generate API tokens here", "You have no permissions that you could assign to a token.")
	assert.NotContains(t, a.body, "<form")
	a = s.do("ada", "generate", form)
	a.says(403, "You cannot generate API tokens here")
	assert.Len(t, s.tokens("ada"), 1)
	a = s.do("ada", "", nil)
	a.says(200, "of the application")
	assert.NotContains(t, a.body, `href="generate"`)

	at := "tokens/" + in.ID
	a = s.do("ada", at+"/activate", url.Values{"version": {fmt.Sprint(s.get("ada", in.ID).Version)}})
	a.says(403, "You may not grant what you do not have: devices:read")
}
