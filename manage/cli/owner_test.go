package cli_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestIDsAreListedAsTheTokensWereMade(t *testing.T) {
	d := newDesk(t)
	var ids []string
	for _, name := range []string{"c", "a", "b"} {
		ids = append(ids, second(d.generate(name)))
	}
	assert.Equal(t, ids, strings.Fields(d.must("list", "-q")))
	assert.Equal(t, []string{ids[1], ids[2], ids[0]}, strings.Fields(d.must("list", "-q", "-sort", "name")))
	assert.Regexp(t, `(?s) a\n.* b\n.* c$`, d.must("list"), "by name for people")
}

// listing runs f before each list.
type listing struct {
	apitoken.Store
	f func()
}

func (s *listing) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	s.f()
	return s.Store.List(ctx, q)
}

func TestAllTokensOfAUserAreDeactivatedAlsoThoseMadeMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		_, mine := d.generate("the operator's")
		d.generate("active", "-user", "bob")
		_, own := d.generate("deactivated by bob", "-user", "bob")
		d.must("deactivate", own, "-user", "bob")
		_, shut := d.generate("deactivated by the operator", "-user", "bob")
		d.must("deactivate", shut)

		passes := 0
		thief, err := d.auth.As(apitoken.Actor{}), error(nil)
		store := &listing{Store: d.store}
		store.f = func() {
			if passes++; 0 < passes && passes <= 3 {
				actor, _ := d.actor(t.Context(), "", "bob")
				thief = d.auth.As(actor)
				_, _, err = thief.Generate(t.Context(), apitoken.GenerateParams{
					Name: fmt.Sprint("meanwhile ", passes), Permissions: d.catalog.All()[:1], Expiry: apitoken.Never(),
				})
				require.NoError(t, err)
			}
		}
		d.config.Store = store
		d.open()
		passes = -1
		preview := d.must("deactivate", "-owner", "bob", "-preview")
		assert.Contains(t, preview, own+" bob deactivated by bob")
		assert.NotContains(t, preview, shut)
		passes = 0
		out := d.must("deactivate", "-owner", "bob")
		assert.Len(t, strings.Split(out, "\n"), 5, out)
		assert.NotContains(t, out, shut)
		assert.Equal(t, 5, passes, "until there is none, and some seconds later")
		assert.Equal(t, mine, d.must("list", "-q", "-status", "active"))
		for _, id := range strings.Fields(d.must("list", "-q", "-owner", "bob")) {
			assert.Equal(t, 4, d.run("", "activate", id, "-user", "bob").code)
		}
		assert.JSONEq(t, `{"done":[]}`, d.must("deactivate", "-owner", "bob", "-json"), "nothing is left")
		assert.Equal(t, "deactivated "+mine, d.must("deactivate", "-owner", "operator"), "one's own")
		assert.Equal(t, 2, d.run("", "deactivate", "-owner", "bob", mine).code)
		assert.Equal(t, 2, d.run("", "deactivate", "-owner", "bob", "-made-with", mine).code)
		assert.Equal(t, 2, d.run("", "deactivate", "-preview", mine).code)
		assert.Equal(t, 3, d.run("", "deactivate", "-made-with", own+"x").code)
		_, again := d.generate("another of the operator's")
		assert.Equal(t, "deactivated "+again, d.must("deactivate", "-made-with", again), "which has made none")
		assert.Equal(t, 4, d.run("", "deactivate", "-owner", "operator", "-user", "bob").code)
	})
}

// stubborn fails to replace one record.
type stubborn struct {
	apitoken.Store
	id string
}

func (s *stubborn) Replace(ctx context.Context, rec apitoken.Record) error {
	if rec.ID == s.id {
		return errors.New("the disk is full")
	}
	return s.Store.Replace(ctx, rec)
}

func TestATokenThatCannotBeDeactivatedDoesNotKeepTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		_, first := d.generate("first", "-user", "bob")
		text, _ := d.generate("second", "-user", "bob")
		d.config.Store = &stubborn{d.store, first}
		d.open()
		r := d.run("", "deactivate", "-owner", "bob")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, "1 tokens are done")
		assert.Contains(t, r.stderr, first)
		assert.ErrorIs(t, d.accepts(text), apitoken.ErrDeactivated)
		assert.Equal(t, 5, d.run("", "deactivate", "-owner", "bob").code)
	})
}
