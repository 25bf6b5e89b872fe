package manage_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestUIANoticeOffersToUndoOnlyADeactivationThatTheFormMade(t *testing.T) {
	s := newUISite(t, nil)
	in := s.generate("ada", "Deploy")
	in, err := s.auth.As(s.actors["ada"]).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	to := fmt.Sprintf("?done=deactivated&id=%s&version=%d", in.ID, in.Version)
	s.do("ada", to, nil).says(200, "“Deploy” deactivated.", "Undo")
	assert.NotContains(t, s.do("ada", to+"&same=1", nil).text(), "Undo", "it was deactivated already")

	require.NoError(t, s.auth.As(s.actors["ada"]).Delete(t.Context(), in.ID))
	in = s.get("ada", in.ID)
	require.Equal(t, apitoken.StatusDeleted, in.Status)
	to = fmt.Sprintf("?done=deactivated&id=%s&version=%d", in.ID, in.Version)
	assert.NotContains(t, s.do("ada", to, nil).text(), "Undo", "it is deleted")
}

func TestUIAChangeOfPermissionsKeepsOnesThatTheCatalogDoesNotHave(t *testing.T) {
	var lost apitoken.Permission
	earlier := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		lost = c.Permissions.Define("devices:lost", "See lost devices")
	})
	actor := earlier.actors["ada"]
	actor.Grants = []apitoken.Permission{earlier.read, earlier.write, lost}
	in, _, err := earlier.auth.As(actor).Generate(t.Context(), apitoken.GenerateParams{
		Name: "Deploy", Permissions: []apitoken.Permission{earlier.read, lost}, Expiry: apitoken.Never(),
	})
	require.NoError(t, err)
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = earlier.store })
	at := "tokens/" + in.ID + "/edit"
	form := s.do("ada", at, nil).form()
	require.Equal(t, []string{"devices:lost"}, form["unknown"])
	form.Add("permission", "devices:write")
	check := s.do("ada", at, form)
	check.says(200, "Check the change", "Nothing is removed")
	s.do("ada", at, with(check.form(), "step", "save")).goesTo(s, at)
	now := s.get("ada", in.ID)
	assert.Equal(t, []apitoken.Permission{s.read, s.write}, now.Permissions)
	assert.Equal(t, []string{"devices:lost"}, now.Unknown)
}
