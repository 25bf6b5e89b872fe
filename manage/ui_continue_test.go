package manage_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A slowStore takes a time for each piece of a list that it reads, of 10 tokens at most.
type slowStore struct {
	*memory.Store
	piece time.Duration
}

func (s *slowStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	time.Sleep(s.piece)
	q.Limit = min(q.Limit, 10)
	return s.Store.List(ctx, q)
}

var (
	nextPage   = regexp.MustCompile(`href="\./([^"]*)" rel="next"`)
	rowOfToken = regexp.MustCompile(`<a class="name"[^>]*><bdi>([^<]*)`)
)

// whole returns the names in a list, from its first page to its last, and how many pages they are.
func (s *uiSite) whole(user, path string) (names []string, pages int) {
	s.t.Helper()
	for next := path; next != "" || pages == 0; pages++ {
		a := s.do(user, next, nil)
		a.says(200)
		for _, m := range rowOfToken.FindAllStringSubmatch(a.body, -1) {
			names = append(names, m[1])
		}
		next = ""
		if m := nextPage.FindStringSubmatch(a.body); m != nil {
			next = html.UnescapeString(m[1])
		}
	}
	return names, pages
}

func TestUISavedFiltersFindWhatSomebodyShouldLookAt(t *testing.T) {
	for _, piece := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("a store that needs ", piece), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { savedFiltersFind(t, piece) })
		})
	}
}

// savedFiltersFind has so many tokens that a filter which looks at all of them needs several
// pieces; with a slow store it shows one of them on a page.
func savedFiltersFind(t *testing.T, piece time.Duration) {
	store := &slowStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) {
		key, err := apitoken.NewKey("mac", bytes.Repeat([]byte{2}, 32))
		require.NoError(t, err)
		c.Store, c.IntegrityKeys = store, []apitoken.Key{key}
	})
	make := func(name string, expiry apitoken.Expiry) *apitoken.TokenInfo {
		in, _, err := s.auth.As(s.actors["ada"]).Generate(t.Context(), apitoken.GenerateParams{
			Name: name, Permissions: []apitoken.Permission{s.read}, Expiry: expiry,
		})
		require.NoError(t, err)
		return in
	}
	old := make("Damaged", apitoken.In(40*24*time.Hour))
	s.used(old, time.Hour)
	ends := make("Ends soon", apitoken.In(20*24*time.Hour))
	make("Ends late", apitoken.In(40*24*time.Hour))
	lasts := make("Lasts", apitoken.Never())
	s.used(ends, time.Hour)
	s.used(lasts, 100*24*time.Hour)
	for i := range 20 {
		s.used(make(fmt.Sprint("Other ", i), apitoken.In(50*24*time.Hour)), time.Hour)
	}
	rec, err := s.store.Get(t.Context(), old.ID)
	require.NoError(t, err)
	rec.Name, rec.Version = "Edited", rec.Version+1
	require.NoError(t, store.Replace(t.Context(), rec))
	store.piece = piece
	for show, want := range map[string][]string{
		"expiring": {"Ends soon"}, "unused": {"Lasts"}, "never-used": {"Ends late"}, "never-expires": {"Lasts"}, "damaged": {"Edited"},
	} {
		for user, page := range map[string]string{"ada": "", "admin": "all"} {
			names, pages := s.whole(user, page+"?show="+show)
			assert.Equal(t, want, names, "%s of %s", show, user)
			if show == "damaged" && piece > 0 {
				assert.Equal(t, 3, pages, "Continue leads to the rest")
			}
			assert.Contains(t, s.do(user, page+"?show="+show, nil).body, `show=`+show+`" aria-current="true"`)
		}
	}
	names, _ := s.whole("ada", "?show=nothing")
	assert.Len(t, names, 24, "there is no such filter")
}

// In a look of two seconds, a store that needs one for each 10 tokens shows 20 of them.
func TestUIAllThatMatchAreChangedInSeveralLooks(t *testing.T) {
	synctest.Test(t, changesInSeveralLooks)
}

func changesInSeveralLooks(t *testing.T) {
	store := &slowStore{Store: memory.New()}
	s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
	for i := range 45 {
		s.generate("bob", fmt.Sprintf("Sensor %03d", i))
	}
	s.generate("bob", "Laptop")
	store.piece = time.Second
	// change does what a user does who answers each question. It returns what was asked, and said at the end.
	change := func(action string) (asked []string, said string) {
		at := "bulk?all=1&back=" + url.QueryEscape("?q=sensor") + "&action=" + action
		for strings.HasPrefix(at, "bulk?") {
			ask := s.do("bob", at, nil)
			ask.says(200)
			require.Less(t, len(asked), 10, "it does not end")
			f := ask.form()
			asked = append(asked, f.Get("total"))
			f.Set("typed", f.Get("total"))
			a := s.do("bob", "bulk", f)
			for a.StatusCode != 303 {
				a.says(200, "Continue")
				a = s.do("bob", "bulk", a.form())
			}
			at = a.goesTo(s, "bulk")
		}
		return asked, s.do("bob", at, nil).text()
	}
	for range 2 { // the second time, the first ones are so already
		asked, said := change("deactivate")
		assert.Equal(t, []string{"20", "20", "5"}, asked)
		assert.Regexp(t, "5 (API tokens|were) deactivated", said)
		inactive, _ := s.whole("bob", "?status=inactive")
		assert.Len(t, inactive, 45)
	}
	ask := s.do("bob", "bulk?all=1&back="+url.QueryEscape("?q=sensor")+"&action=activate", nil)
	ask.says(200, "Activate 20 API tokens?", "you are asked about the others after them")
	a := s.do("bob", "bulk", ask.form())
	for a.StatusCode != 303 {
		a = s.do("bob", "bulk", a.form())
	}
	next := s.do("bob", a.goesTo(s, "bulk"), nil)
	next.says(200, "20 API tokens activated.", "Activate 20 API tokens?")
	asked, _ := change("delete")
	assert.Equal(t, []string{"20", "20", "5"}, asked)
	left, _ := s.whole("bob", "")
	assert.Equal(t, []string{"Laptop"}, left)
}

// A store that needs a second for each read of a token has "Who can make this call?" stop after five.
func TestUIWhoCanStopsWhenItTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowReads{Store: memory.New()}
		s := newUISite(t, func(c *apitoken.Config, _ *manage.Config) { c.Store = store })
		for i := range 8 {
			s.generate("ada", fmt.Sprint("Laptop ", i))
		}
		store.each = time.Second
		page := s.do("admin", "who-can?route="+url.QueryEscape("GET /devices"), nil)
		page.says(200, "not all tokens were looked at")
		assert.Equal(t, 4, strings.Count(page.text(), "Laptop "))
	})
}

// A slowReads takes a time for each token that it reads.
type slowReads struct {
	*memory.Store
	each time.Duration
}

func (s *slowReads) Get(ctx context.Context, id string) (apitoken.Record, error) {
	time.Sleep(s.each)
	return s.Store.Get(ctx, id)
}
