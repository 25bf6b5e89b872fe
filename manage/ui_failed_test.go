package manage_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Config.Failed gets the error of a 503 of either handler.
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

func TestUIASelectionThatWasChangedInPartIsNotSaidToBeUnchanged(t *testing.T) {
	var frozen int
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		c.Audit = func(_ context.Context, ev apitoken.Event) error {
			if ev.Action == "deactivate" {
				if frozen++; frozen > 1 {
					return &apitoken.ForbiddenError{Rule: "change freeze"}
				}
			}
			return nil
		}
	})
	one, two := s.generate("ada", "one"), s.generate("ada", "two")
	answer := s.do("ada", "bulk", url.Values{"action": {"deactivate"}, "id": {one.ID, two.ID}})
	answer.says(403, "Change freeze", "1 token was changed. Then it stopped at “two”")
	assert.NotContains(t, answer.text(), "Nothing was changed")
	assert.Equal(t, apitoken.StatusInactive, s.get("ada", one.ID).Status)
}

// uiBrokenStore fails on demand.
type uiBrokenStore struct {
	*memory.Store
	broken bool
}

func (s *uiBrokenStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if s.broken {
		return apitoken.Record{}, errors.New("disk on fire")
	}
	return s.Store.Get(ctx, id)
}

func (s *uiBrokenStore) Create(ctx context.Context, rec apitoken.Record) error {
	if s.broken {
		return errors.New("disk on fire")
	}
	return s.Store.Create(ctx, rec)
}

func (s *uiBrokenStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if s.broken {
		return apitoken.Page{}, errors.New("disk on fire")
	}
	return s.Store.List(ctx, q)
}

func TestUIAStoreThatFailsIsSaidSo(t *testing.T) {
	store := &uiBrokenStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
	in := s.generate("ada", "Laptop")
	form := s.filled("ada")
	store.broken = true
	for _, path := range []string{"", "tokens/" + in.ID, "tokens/" + in.ID + "/delete"} {
		a := s.do("ada", path, nil)
		a.says(503, "unavailable")
		assert.NotContains(t, a.body, "fire")
	}
	s.do("ada", "generate", nil).says(200)
	s.do("ada", "tokens/"+in.ID+"/delete", url.Values{}).says(503, "made, or not")
	s.do("ada", "generate", form).says(503)
	store.broken = false
	s.do("ada", "generate", form).says(200, "API token generated")
}
