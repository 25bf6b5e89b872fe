package apitoken_test

import (
	"fmt"
	"strings"
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
	g := newRig(t, importing)
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
			ask.Description, ask.Owner = "", text
			_, err = g.As(admin).Import(t.Context(), apitoken.ImportParams{GenerateParams: ask, Secret: apitoken.NewSecret(earlier)})
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

// importing turns on tokens of an earlier system.
func importing(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 512} }

const earlier = "an-earlier-token-of-an-earlier-system"

func (g *rig) importEarlier(t testing.TB, text string) *apitoken.TokenInfo {
	t.Helper()
	info, err := g.As(ada).Import(t.Context(), apitoken.ImportParams{Secret: apitoken.NewSecret(text), GenerateParams: apitoken.GenerateParams{
		Name: "imported", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(),
	}})
	require.NoError(t, err)
	return info
}

func TestTheIDOfATokenIsFoundFromItsText(t *testing.T) {
	g := newRig(t, importing)
	info, secret := g.generate(t)
	imported := g.importEarlier(t, earlier)
	long := g.importEarlier(t, strings.Repeat("a", 512))
	for text, want := range map[string]string{
		secret.Reveal(): info.ID, earlier: imported.ID, strings.Repeat("a", 512): long.ID,
		"": "", "x": "", secret.Reveal()[:70]: "", secret.Reveal() + "x": "", "acme_" + earlier: "", earlier + " ": "", strings.Repeat("a", 513): "",
	} {
		id, ok := g.IDOf(apitoken.NewSecret(text))
		assert.Equal(t, want, id, "%q", text)
		assert.Equal(t, want != "", ok, "%q", text)
	}
	padded, ok := g.IDOf(apitoken.NewSecret(earlier + "="))
	assert.True(t, ok)
	assert.NotEqual(t, imported.ID, padded, "padding is a part of the text")
	_, ok = newRig(t).IDOf(apitoken.NewSecret(earlier))
	assert.False(t, ok, "without ForeignTokens")
	_, ok = new(apitoken.Authority).IDOf(secret)
	assert.False(t, ok, "of the zero Authority")
	_, ok = g.IDOf(apitoken.Secret{})
	assert.False(t, ok, "of the zero Secret")
}

func TestATokenIsFoundByWhatThePageShowsOfItAndByItsWholeText(t *testing.T) {
	g := newRig(t, importing)
	info, secret := g.generate(t)
	imported := g.importEarlier(t, earlier)
	long := g.importEarlier(t, strings.Repeat("a", 512))
	g.generate(t, func(p *apitoken.GenerateParams) { p.Name = "another" })
	text := secret.Reveal()
	for search, want := range map[string]string{
		info.ID: info.ID, " " + info.ID + "\u00a0": info.ID, info.DisplayID: info.ID, info.DisplayID + "…": info.ID, info.DisplayID + "...": info.ID,
		info.DisplayID[:12] + "…": info.ID, info.ID[:8] + "…": info.ID, " " + text + " ": info.ID, text[:60]: info.ID, text + "\n": info.ID,
		imported.ID: imported.ID, earlier: imported.ID, " " + earlier + "\t": imported.ID, strings.Repeat("a", 512): long.ID,
	} {
		page, err := g.As(ada).List(t.Context(), apitoken.ListParams{Text: search})
		require.NoError(t, err, "%q", search)
		if assert.Len(t, page.Tokens, 1, "%q", search) {
			assert.Equal(t, want, page.Tokens[0].ID, "%q", search)
		}
	}
}

// A name may begin as a token does, and be as long as one of an earlier system.
func TestASearchForANameIsNotTakenForAToken(t *testing.T) {
	g := newRig(t, importing)
	for _, name := range []string{"acme_deploy", "backup-of-the-devices-database", "wait…"} {
		info, _ := g.generate(t, func(p *apitoken.GenerateParams) { p.Name = name })
		page, err := g.As(ada).List(t.Context(), apitoken.ListParams{Text: name})
		require.NoError(t, err)
		if assert.Len(t, page.Tokens, 1, name) {
			assert.Equal(t, info.ID, page.Tokens[0].ID)
		}
	}
}

func TestNamesOfUsersAndEnvironmentsMayBeOfOneLetter(t *testing.T) {
	g := newRig(t)
	a := apitoken.Actor{User: "a", Environment: "b", Grants: wire.All()}
	in, _, err := g.As(a).Generate(t.Context(), apitoken.GenerateParams{Name: "c", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	assert.Equal(t, "a", in.Owner)
}
