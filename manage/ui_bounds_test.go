package manage_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A readsStore counts reads of single records.
type readsStore struct {
	apitoken.Store
	n int
}

func (s *readsStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	s.n++
	return s.Store.Get(ctx, id)
}

func TestUIALinkThatAsksForMuchGetsLittle(t *testing.T) {
	s := newUISite(t, nil)
	small := len(s.do("ada", "generate?permission=x", nil).body)
	var names strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&names, "%d,", i)
	}
	for _, query := range []string{
		"permission=" + names.String() + "devices:read,reports",
		"permission=" + strings.Repeat("no:such&permission=", 9_000) + "devices:read,reports",
		"permission=" + strings.Repeat("reports,", 60_000) + "devices:read",
	} {
		a := s.do("ada", "generate?"+query, nil)
		a.says(200, "reports, which you do not have yourself")
		assert.Contains(t, a.body, `value="devices:read" checked`)
		assert.Less(t, len(a.body), small+5000)
	}
	s.do("ada", "generate?permission="+names.String(), nil).says(200, "99,990 more that this service does not know")
}

func TestUIABulkFormReadsNoMoreThanAPageOfTheList(t *testing.T) {
	store := &readsStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
	form := url.Values{"action": {"delete"}}
	var ids []string
	for i := range 151 {
		ids = append(ids, s.generate("ada", fmt.Sprint(i)).ID)
	}
	store.n = 0
	form["id"] = ids
	s.do("ada", "bulk?"+form.Encode(), nil).says(422, "You can change 150 at once")
	form.Set("action", "paint")
	form["id"] = ids[:150]
	s.do("ada", "bulk?"+form.Encode(), nil).says(422, "activated, deactivated or deleted")
	assert.Zero(t, store.n)
	form.Set("action", "delete")
	s.do("ada", "bulk?"+form.Encode(), nil).says(200, "Delete 150 API tokens?")
	assert.Equal(t, 150, store.n)
}

func TestUIFormsAreBounded(t *testing.T) {
	s := newUISite(t, nil)
	form := s.filled("ada")
	form.Set("networks", strings.Repeat("x", 300<<10))
	s.do("ada", "generate", form).says(400, "could not be read")
	assert.Empty(t, s.tokens("ada"))
}
