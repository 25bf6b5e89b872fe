package apitoken_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// What people and programs write: names, search texts, times.

// invisible are texts that show nothing, or nothing that can be told apart.
var invisible = []string{
	" ", "\u00a0", "\u3000", "\u200b", "\u2060", "\ufeff", "\u00ad", "\u2800", "\u3164", "\u115f",
	"\u034f", "\ufe0f", "\u180b", "\U000e0041", "\ufffe", " \u200d\u200b ",
}

// reordering are texts that are not read in the order in which they are stored.
var reordering = []string{"a\u202eb", "a\u202ab\u202c", "a\u2066b\u2069", "a\u2068b", "a\u061cb", "\u200fa", "a\u200e"}

func TestANameThatCannotBeSeenOrReordersIsRefusedByItsField(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} })
	info, _ := g.generate(t)
	admin := ada
	admin.ManageOthers = true
	refused := func(err error, field, want, text string) {
		t.Helper()
		var wrong *apitoken.FieldError
		require.ErrorAs(t, err, &wrong, "%s %+q", field, text)
		assert.Equal(t, field, wrong.Field, "%+q", text)
		assert.Contains(t, wrong.Problem, want, "%s %+q", field, text)
	}
	for want, texts := range map[string][]string{"no visible character": invisible, "reorder": reordering} {
		for _, text := range texts {
			ask := apitoken.GenerateParams{Name: text, Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}
			_, _, err := g.As(ada).Generate(t.Context(), ask)
			refused(err, "name", want, text)
			ask.Name, ask.Description = "x", text
			_, _, err = g.As(ada).Generate(t.Context(), ask)
			refused(err, "description", want, text)
			_, err = g.As(ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: &text})
			refused(err, "name", want, text)
			ask.Description = ""
			_, err = g.As(admin).Import(t.Context(), apitoken.ImportParams{GenerateParams: ask, Owner: text, Secret: apitoken.NewSecret("an-earlier-token-of-an-earlier-system")})
			refused(err, "owner", want, text)

			_, err = g.As(apitoken.Actor{User: text, Environment: "production"}).List(t.Context(), apitoken.ListParams{})
			var forbidden *apitoken.ForbiddenError
			assert.ErrorAs(t, err, &forbidden, "user %+q", text)
			assert.PanicsWithValue(t, assert.AnError, func() {
				defer func() {
					assert.Contains(t, fmt.Sprint(recover()), want)
					panic(assert.AnError)
				}()
				new(apitoken.Catalog).Define("a:b", text)
			}, "description of a permission %+q", text)
		}
	}
}

func TestANameMayBeOfAnyScriptAndOfEmoji(t *testing.T) {
	g := newRig(t)
	for _, name := range []string{
		"x", "Ünïcode", "e\u0301", "संख्या", "پشتیبان\u200cگیری", "גיבוי", "夜間", "👩\u200d💻", "❤\ufe0f", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "soft\u00adhyphen", "\ue000",
	} {
		info, _ := g.generate(t, func(p *apitoken.GenerateParams) { p.Name, p.Description = name, name })
		assert.Equal(t, name, info.Name)
	}
}

// Somebody may have written such a name into the database: its token is still listed.
func TestANameOfTheStoreThatCannotBeSeenDoesNotEndAList(t *testing.T) {
	g := newRig(t, noCache)
	rec, err := g.store.Get(t.Context(), goodToken.id)
	require.NoError(t, err)
	admin := ada
	admin.User, admin.ManageOthers = "admin", true
	for _, name := range append(invisible, reordering...) {
		rec.Name = name
		rec.Version++
		require.NoError(t, g.store.Replace(t.Context(), rec))
		seen, cursor := 0, ""
		for {
			page, err := g.As(admin).List(t.Context(), apitoken.ListParams{AllOwners: true, Limit: 1, Cursor: cursor})
			require.NoError(t, err, "%+q", name)
			seen++
			if cursor = page.Next; cursor == "" {
				assert.Equal(t, page.Count, seen)
				break
			}
		}
	}
}

func TestTheLastMomentOfTheYear9999IsAnExpiry(t *testing.T) {
	g := newRig(t)
	end := time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	info, _ := g.generate(t, func(p *apitoken.GenerateParams) { p.Expiry = apitoken.At(end) })
	assert.Equal(t, end.Truncate(time.Microsecond), info.ExpiresAt)
	_, err := g.As(ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.Never(), NotBefore: &end})
	require.NoError(t, err)
	late := end.Add(time.Nanosecond)
	_, err = g.As(ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.At(late)})
	assert.ErrorContains(t, err, "lies after the year 9999")
	_, err = g.As(ada).Update(t.Context(), info.ID, apitoken.UpdateParams{NotBefore: &late})
	assert.ErrorContains(t, err, "outside the years")
}
