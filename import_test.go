package apitoken_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// importStore counts how many records each CreateAll is given.
type importStore struct {
	*memory.Store
	batches []int
	all     func(ctx context.Context, recs []apitoken.Record) ([]bool, error)
}

func (s *importStore) CreateAll(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
	s.batches = append(s.batches, len(recs))
	return s.all(ctx, recs)
}

// An importRig is an Authority that takes tokens of an earlier system.
type importRig struct {
	*apitoken.Authority
	store   *importStore
	read    apitoken.Permission
	m       *apitoken.Manager
	audited []string // names of tokens
	told    []string // names and errors
	audit   func(apitoken.Event) error
}

func newImportRig(t *testing.T, edit ...func(*apitoken.Config)) *importRig {
	g := &importRig{store: &importStore{Store: memory.New()}, audit: func(apitoken.Event) error { return nil }}
	g.store.all = g.store.Store.CreateAll
	catalog := new(apitoken.Catalog)
	g.read = catalog.Define("devices:read", "See devices")
	c := apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: g.store, ForeignTokens: apitoken.ForeignTokens{MinLen: 22, MaxLen: 64},
		Audit: func(_ context.Context, ev apitoken.Event) error {
			if ev.Action != "import" {
				return nil
			}
			g.audited = append(g.audited, ev.After.Name)
			return g.audit(ev)
		},
		Observe: func(_ context.Context, ev apitoken.Event) {
			if ev.Action == "import" {
				g.told = append(g.told, fmt.Sprintf("%s %v", ev.TokenID, ev.Err))
			}
		},
	}
	for _, f := range edit {
		f(&c)
	}
	var err error
	g.Authority, err = apitoken.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { g.Close() })
	g.m = g.As(apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: catalog.All()})
	return g
}

func (g *importRig) params(name string) apitoken.ImportParams {
	sum := sha256.Sum256([]byte(importedText(name)))
	return apitoken.ImportParams{SHA256: sum[:], GenerateParams: apitoken.GenerateParams{
		Name: name, Permissions: []apitoken.Permission{g.read}, Expiry: apitoken.Never(),
	}}
}

func importedText(name string) string { return "token-of-an-earlier-system." + name }

func (g *importRig) works(t *testing.T, name string) bool {
	_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(importedText(name))}, apitoken.All(g.read))
	return err == nil
}

// Between two batches, or while the audit is asked, the acting token may be deactivated.
func TestAnImportEndsWithTheTokenThatItsActorCameBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parent *apitoken.TokenInfo
		var m *apitoken.Manager
		seen := 0
		g := newImportRig(t, func(c *apitoken.Config) {
			c.Observe = func(_ context.Context, ev apitoken.Event) {
				if ev.Action != "import" {
					return
				}
				if seen++; seen == 200 { // the first batch
					done, err := m.RevokeAll(t.Context(), apitoken.RevokeParams{MadeWith: parent.ID})
					assert.NoError(t, err)
					assert.Len(t, done, 201)
				}
			}
		})
		actor := apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: g.Catalog().All()}
		m = g.As(actor)
		parent, secret, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "a", Permissions: []apitoken.Permission{g.read}, Expiry: apitoken.Never()})
		require.NoError(t, err)
		actor.Token, err = g.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
		require.NoError(t, err)
		var list []apitoken.ImportParams
		for i := range 400 {
			list = append(list, g.params(fmt.Sprint("n", i)))
		}
		_, errs := g.As(actor).ImportAll(t.Context(), list)
		assert.NoError(t, errs[199])
		for i, err := range errs[200:] {
			_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
			require.True(t, forbidden, "%d: %v", 200+i, err)
		}
		assert.False(t, g.works(t, "n399"))
	})
}

func TestManyAreImportedByTheRulesForOne(t *testing.T) {
	g := newImportRig(t)
	g.audit = func(ev apitoken.Event) error {
		if ev.After.Name == "vetoed" {
			return &apitoken.ForbiddenError{Rule: "not this one"}
		}
		return nil
	}
	_, err := g.m.Import(t.Context(), g.params("old"))
	require.NoError(t, err)
	deleted, err := g.m.Import(t.Context(), g.params("deleted"))
	require.NoError(t, err)
	require.NoError(t, g.m.Delete(t.Context(), deleted.ID))
	g.audited, g.told = nil, nil

	others := g.params("others")
	others.Owner = "bob"
	expired := g.params("expired")
	expired.Expiry = apitoken.In(-time.Hour)
	list := []apitoken.ImportParams{g.params("first"), g.params("old"), others, g.params("vetoed"), g.params("deleted"), expired, g.params("first"), g.params("last")}
	tokens, errs := g.m.ImportAll(t.Context(), list)
	require.Len(t, tokens, len(list))
	require.Len(t, errs, len(list))
	var forbidden *apitoken.ForbiddenError
	var field *apitoken.FieldError
	for i, right := range []func(error) bool{
		func(err error) bool { return err == nil },
		func(err error) bool { return err == apitoken.ErrExists },
		func(err error) bool { return errors.As(err, &forbidden) },
		func(err error) bool { return errors.As(err, &forbidden) },
		func(err error) bool { return errors.As(err, &forbidden) },
		func(err error) bool { return errors.As(err, &field) },
		func(err error) bool { return err == apitoken.ErrExists },
		func(err error) bool { return err == nil },
	} {
		assert.True(t, right(errs[i]), "%d: %v", i, errs[i])
		assert.Equal(t, errs[i] == nil, tokens[i] != nil)
	}
	assert.Equal(t, "first", tokens[0].Name)
	assert.Equal(t, "last", tokens[7].Name)
	assert.Equal(t, []string{"first", "old", "vetoed", "deleted", "first", "last"}, g.audited)
	assert.Len(t, g.told, len(list), "the observer is told of each")
	assert.Equal(t, tokens[7].ID+" <nil>", g.told[7])
	assert.Equal(t, []int{5}, g.store.batches)
	for name, want := range map[string]bool{"first": true, "old": true, "vetoed": false, "deleted": false, "last": true} {
		assert.Equal(t, want, g.works(t, name), name)
	}
}

func TestOfManyTheStoreIsGivenAFewHundredAtOnce(t *testing.T) {
	g := newImportRig(t)
	var list []apitoken.ImportParams
	for i := range 401 {
		list = append(list, g.params(fmt.Sprint(i)))
	}
	_, errs := g.m.ImportAll(t.Context(), list)
	assert.NoError(t, errors.Join(errs...))
	assert.Equal(t, []int{200, 200}, g.store.batches, "and one by Create")
	assert.True(t, g.works(t, "400"))
	tokens, errs := g.m.ImportAll(t.Context(), nil)
	assert.Empty(t, tokens)
	assert.Empty(t, errs)
}

func TestAStoreThatHasNoCreateAllIsGivenOneAtATime(t *testing.T) {
	g := newImportRig(t, func(c *apitoken.Config) { c.Store = struct{ apitoken.Store }{c.Store} })
	_, errs := g.m.ImportAll(t.Context(), []apitoken.ImportParams{g.params("a"), g.params("b")})
	assert.NoError(t, errors.Join(errs...))
	assert.Empty(t, g.store.batches)
	assert.True(t, g.works(t, "b"))
}

func TestAfterAStoreThatDoesNotAnswerNothingMoreIsImported(t *testing.T) {
	for name, all := range map[string]func(*importStore, []apitoken.Record) ([]bool, error){
		"an error":            func(*importStore, []apitoken.Record) ([]bool, error) { return nil, errors.New("down") },
		"too few answers":     func(_ *importStore, recs []apitoken.Record) ([]bool, error) { return make([]bool, len(recs)-1), nil },
		"an error of another": func(*importStore, []apitoken.Record) ([]bool, error) { return nil, context.Canceled },
	} {
		t.Run(name, func(t *testing.T) {
			g := newImportRig(t)
			g.store.all = func(_ context.Context, recs []apitoken.Record) ([]bool, error) { return all(g.store, recs) }
			var list []apitoken.ImportParams
			for i := range 600 {
				list = append(list, g.params(fmt.Sprint(i)))
			}
			tokens, errs := g.m.ImportAll(t.Context(), list)
			for i, err := range errs {
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
				require.Nil(t, tokens[i])
			}
			assert.Len(t, g.store.batches, 1)
			assert.Len(t, g.audited, 200)
			assert.Len(t, g.told, 600)
		})
	}
}

func TestAfterAnAuditThatFailsNothingMoreIsImported(t *testing.T) {
	g := newImportRig(t)
	g.audit = func(ev apitoken.Event) error {
		if ev.After.Name == "b" {
			return errors.New("the log is full")
		}
		return nil
	}
	_, errs := g.m.ImportAll(t.Context(), []apitoken.ImportParams{g.params("a"), g.params("b"), g.params("c")})
	for _, err := range errs {
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	}
	assert.Equal(t, []string{"a", "b"}, g.audited)
	assert.Empty(t, g.store.batches)
	assert.False(t, g.works(t, "a"))
}

func TestACheckSaysWhatAnImportWouldAndDoesNothing(t *testing.T) {
	g := newImportRig(t)
	assert.NoError(t, g.m.CheckImport(t.Context(), g.params("a")))
	long := g.params("a")
	long.Name = strings.Repeat("x", 201)
	var field *apitoken.FieldError
	assert.ErrorAs(t, g.m.CheckImport(t.Context(), long), &field)
	stranger := g.As(apitoken.Actor{User: "eve", Environment: apitoken.DefaultEnvironment})
	var forbidden *apitoken.ForbiddenError
	assert.ErrorAs(t, stranger.CheckImport(t.Context(), g.params("a")), &forbidden)
	assert.ErrorIs(t, new(apitoken.Authority).As(apitoken.Actor{User: "ada", Environment: "e"}).CheckImport(t.Context(), g.params("a")), apitoken.ErrUnavailable)
	assert.Empty(t, g.audited)
	assert.Empty(t, g.told)
	assert.False(t, g.works(t, "a"))
}
