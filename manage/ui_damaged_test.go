package manage_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestUIADamagedTokenIsShownAndOnlyAnAdministratorDeletesIt(t *testing.T) {
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		key, err := apitoken.NewKey("mac", bytes.Repeat([]byte{2}, 32))
		require.NoError(t, err)
		c.IntegrityKeys = []apitoken.Key{key}
	})
	s.do("ada", "generate", s.filled("ada")).says(200, "API token generated")
	in := s.tokens("ada")[0]
	rec, err := s.store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	rec.Status, rec.Version = apitoken.StatusInactive, rec.Version+1
	require.NoError(t, s.store.Replace(t.Context(), rec))

	s.do("ada", "", nil).says(200, "CI", "Damaged")
	s.do("admin", "all", nil).says(200, "CI", "Damaged")
	own := s.do("ada", "tokens/"+in.ID, nil)
	own.says(200, "Damaged", "somebody changed it in the database")
	assert.NotContains(t, own.body, "/delete")
	assert.Contains(t, s.do("admin", "tokens/"+in.ID, nil).body, "/delete")
	s.do("admin", "tokens/"+in.ID+"/delete", nil).says(200, "CI")
}
