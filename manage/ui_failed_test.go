package manage_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Config.Failed is told why a request is answered with 503, whichever of the two
// handlers it was made to.
func TestUIWhyAPageCannotBeShownIsToldToFailed(t *testing.T) {
	var told []error
	s := newUISite(t, func(c *apitoken.Config, m *manage.Config) {
		c.Store = deadStore{memory.New()}
		m.Failed = func(_ *http.Request, err error) { told = append(told, err) }
	})
	a := s.do("ada", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
	require.Len(t, told, 1)
	assert.ErrorContains(t, told[0], "disk on fire")
}

type deadStore struct{ apitoken.Store }

func (deadStore) List(context.Context, apitoken.Query) (apitoken.Page, error) {
	return apitoken.Page{}, errors.New("disk on fire")
}
