package apitoken_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/reports"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheStoreKeepsTheRulesOfTheManager(t *testing.T) {
	managertest.Run(t, func(*testing.T) apitoken.Store { return memory.New() })
}

// Who is to end a leaked token has its text at hand, and may well give that for
// its ID. It is not found; it must not get into logs on the way.
func TestATokenThatIsGivenForAnIDIsNotRepeated(t *testing.T) {
	var log bytes.Buffer
	logEvent := apitoken.LogEvents(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	c := newCanaries(t)
	g := newRig(t, func(config *apitoken.Config) {
		config.Observe = func(ctx context.Context, ev apitoken.Event) {
			logEvent(ctx, ev)
			fmt.Fprintf(&log, "%+v", ev)
		}
	})
	c.token("the token", apitoken.NewSecret(goodToken.text))
	m := g.As(apitoken.Actor{User: "admin", Environment: "production", Grants: wire.All(), ManageOthers: true})
	check := func(what string, err error) {
		t.Helper()
		assert.ErrorIs(t, err, apitoken.ErrNotFound, what)
		assert.Empty(t, c.in(fmt.Sprintf("%v %+v", err, err)), "the error of %s", what)
		assert.Empty(t, c.in(log.String()), "the events of %s", what)
		log.Reset()
	}
	id := goodToken.text
	name := "x"
	_, err := m.Get(t.Context(), id)
	check("Get", err)
	_, err = m.Deactivate(t.Context(), id)
	check("Deactivate", err)
	_, err = m.Activate(t.Context(), id)
	check("Activate", err)
	_, err = m.Update(t.Context(), id, apitoken.UpdateParams{Name: &name})
	check("Update", err)
	_, _, err = m.Rotate(t.Context(), id, 0, "")
	check("Rotate", err)
	_, err = m.EndOverlap(t.Context(), id)
	check("EndOverlap", err)
	_, err = m.Reveal(t.Context(), id)
	check("Reveal", err)
	check("Delete", m.Delete(t.Context(), id))
	_, err = m.Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
	check("Bulk", err)
}

// A store or an audit may answer with what is a named error elsewhere. A manager
// whose answer is not known must not seem to know that a token is not there.
func TestWhatIsUnavailableIsNoOtherNamedError(t *testing.T) {
	for _, cause := range []error{
		apitoken.ErrNotFound, apitoken.ErrExists, apitoken.ErrConflict, apitoken.ErrRotating, apitoken.ErrAlreadyRotated,
		apitoken.ErrNotRotating, apitoken.ErrNotRevealable, &apitoken.FieldError{Field: "name", Problem: "is short"},
	} {
		g := newRig(t, func(c *apitoken.Config) {
			c.Audit = func(context.Context, apitoken.Event) error { return fmt.Errorf("audit: %w", cause) }
		})
		_, err := g.As(ada).Deactivate(t.Context(), goodToken.id)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.NotErrorIs(t, err, cause)
		assert.NotErrorAs(t, err, new(*apitoken.FieldError))
	}
}

type circularStore struct {
	*memory.Store
	all   []apitoken.Record
	calls int
}

var errPatience = errors.New("the patience of the test is over")

func (s *circularStore) Scan(context.Context, string, int) ([]apitoken.Record, error) {
	if s.calls++; s.calls > 100 {
		return nil, errPatience
	}
	return s.all, nil
}

func (s *circularStore) List(_ context.Context, q apitoken.Query) (apitoken.Page, error) {
	if s.calls++; s.calls > 100 {
		return apitoken.Page{}, errPatience
	}
	list := slices.Clone(s.all[:min(len(s.all), q.Limit)])
	if q.Status == apitoken.StatusDeleted {
		for i := range list {
			list[i].Status, list[i].DeletedAt, list[i].DeletedBy = apitoken.StatusDeleted, time.Now(), "ada"
		}
	}
	return apitoken.Page{Records: list, Next: &apitoken.Position{ID: s.all[0].ID}}, nil
}

// A store that lists in circles ends what reads all of it, and not only with the
// caller's patience.
func TestAStoreThatListsInCirclesIsAnErrorAtOnce(t *testing.T) {
	var all []apitoken.Record
	for i := range 256 {
		all = append(all, mint(fmt.Sprint("circle ", i)).record(wireRead))
	}
	store := &circularStore{Store: memory.New(), all: all}
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, Store: store})
	require.NoError(t, err)
	for name, f := range map[string]func() error{
		"Rekey": func() error { _, err := auth.Rekey(t.Context(), apitoken.RekeyParams{}); return err },
		"Purge": func() error {
			_, err := auth.As(apitoken.Actor{User: "admin", Environment: "production", ManageOthers: true}).Purge(t.Context())
			return err
		},
		"PreviewPolicy": func() (err error) {
			admin := auth.As(apitoken.Actor{User: "admin", Environment: "production", ManageOthers: true})
			for _, err = range reports.PreviewPolicy(t.Context(), admin, apitoken.Policy{}) {
			}
			return err
		},
	} {
		store.calls = 0
		assert.ErrorIs(t, f(), apitoken.ErrUnavailable, name)
		assert.Less(t, store.calls, 100, name)
	}
}

func TestAnAuditThatEndsItsGoroutineStopsTheChange(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.Audit = func(context.Context, apitoken.Event) error { runtime.Goexit(); return nil }
	})
	_, err := g.As(ada).Deactivate(t.Context(), goodToken.id)
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.Equal(t, 204, g.get(goodToken.text))
}

func TestAChangeThatWasMadeButNotAnsweredIsForgottenWhenItIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lossyStore{before: make(chan struct{}), after: make(chan struct{})}
		g := newRig(t, func(c *apitoken.Config) {
			s.tapStore = c.Store.(*tapStore)
			c.Store, c.MaxStaleness = s, 1000*time.Hour
		})
		close(s.before) // the store makes it, and says nothing
		info, secret := g.generate(t)
		require.Equal(t, 204, g.get(secret.Reveal()))
		_, err := g.As(ada).Deactivate(t.Context(), info.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.Equal(t, 401, g.get(secret.Reveal()))
		close(s.after)
	})
}

func TestWhoCameByTokenGrantsOnlyWhatHeHasHimself(t *testing.T) {
	g := newRig(t)
	_, secret := g.generate(t)
	tok, err := g.Verify(t.Context(), apitoken.Credential{Secret: secret, Environment: "production"}, apitoken.AnyToken())
	require.NoError(t, err)
	require.True(t, tok.Has(wireRead))
	actor := apitoken.Actor{User: "ada", Environment: "production", Token: tok}
	_, _, err = g.As(actor).Generate(t.Context(), apitoken.GenerateParams{Name: "n", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
	_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
	assert.True(t, forbidden, err)
	assert.Empty(t, g.As(actor).Grantable())
}

func TestAChangeThatFailedIsToldWithoutWhatItWouldHaveMade(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.Store = failingReplace{c.Store} })
	info, _ := g.generate(t)
	_, err := g.As(ada).Deactivate(t.Context(), info.ID)
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	ev := g.event(t)
	assert.ErrorIs(t, ev.Err, apitoken.ErrUnavailable)
	assert.NotNil(t, ev.Before)
	assert.Nil(t, ev.After)
	assert.Nil(t, ev.Fields)
}

type failingReplace struct{ apitoken.Store }

func (failingReplace) Replace(context.Context, apitoken.Record) error { return errors.New("down") }

func TestNothingIsImportedWhileForeignTokensAreOff(t *testing.T) {
	g := newRig(t)
	ask := apitoken.GenerateParams{Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}
	for _, i := range []apitoken.ImportParams{
		{GenerateParams: ask, Secret: apitoken.NewSecret("8as7bf9a8s7498svaps8dfabsf")},
		{GenerateParams: ask, SHA256: sha256Of("8as7bf9a8s7498svaps8dfabsf")},
	} {
		_, err := g.As(ada).Import(t.Context(), i)
		field, _ := errors.AsType[*apitoken.FieldError](err)
		require.NotNil(t, field, err)
		assert.Equal(t, "secret", field.Field)
	}
}

// A change may find that another node has made it already. Then nothing is
// written, but it is acknowledged all the same, and holds on this node from then
// on: not only when the feed says so, or the lease is over.
func TestAChangeThatAnotherNodeHasMadeHoldsHereOnceItIsAcknowledgedHere(t *testing.T) {
	for _, c := range []struct {
		name      string
		elsewhere func(t *testing.T, m *apitoken.Manager, id string)
		here      func(t *testing.T, m *apitoken.Manager, id string)
	}{
		{"deactivated",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Deactivate(t.Context(), id)
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				info, err := m.Deactivate(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, apitoken.StatusInactive, info.Status)
			}},
		{"deactivated in bulk",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Deactivate(t.Context(), id)
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				done, err := m.Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
				require.NoError(t, err)
				require.Equal(t, []string{id}, done)
			}},
		{"narrowed",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireReports}})
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, err := m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireReports}})
				require.NoError(t, err)
			}},
		{"rotated, with the same key",
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, _, err := m.Rotate(t.Context(), id, 0, "key")
				require.NoError(t, err)
			},
			func(t *testing.T, m *apitoken.Manager, id string) {
				_, _, err := m.Rotate(t.Context(), id, 0, "key")
				require.ErrorIs(t, err, apitoken.ErrAlreadyRotated)
			}},
		{"deleted",
			func(t *testing.T, m *apitoken.Manager, id string) { require.NoError(t, m.Delete(t.Context(), id)) },
			func(t *testing.T, m *apitoken.Manager, id string) {
				require.ErrorIs(t, m.Delete(t.Context(), id), apitoken.ErrNotFound)
			}},
		{"deleted in bulk",
			func(t *testing.T, m *apitoken.Manager, id string) { require.NoError(t, m.Delete(t.Context(), id)) },
			func(t *testing.T, m *apitoken.Manager, id string) {
				done, err := m.Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{id}})
				require.NoError(t, err)
				require.Equal(t, []string{id}, done)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here := newRig(t, func(c *apitoken.Config) { c.MaxStaleness = 1000 * time.Hour })
				there := newRig(t, func(c *apitoken.Config) { c.Store, c.MaxStaleness = here.store, 1000*time.Hour })
				info, secret := here.generate(t)
				require.Equal(t, 204, here.get(secret.Reveal()))
				c.elsewhere(t, there.As(ada), info.ID)
				require.Equal(t, 204, here.get(secret.Reveal()), "nobody has told this node yet")
				c.here(t, here.As(ada), info.ID)
				assert.NotEqual(t, 204, here.get(secret.Reveal()))
			})
		})
	}
}
