package managertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestAuditIsAskedBeforeAndCanVetoEveryChange(t *testing.T) {
	var verdict error
	var asked []string
	w := s.newWorld(t, foreignOn, withKeys(t, "a"), func(c *apitoken.Config) {
		c.Audit = func(_ context.Context, ev apitoken.Event) error {
			asked = append(asked, string(ev.Action))
			if verdict != nil && ev.Actor == "ada" && verdict.Error() == "panic" {
				panic("audit")
			}
			return verdict
		}
	})
	active, secret := w.generate(w.ada)
	inactive, _ := w.generate(w.ada)
	rotating, _ := w.generate(w.ada)
	m := w.auth.As(w.ada)
	_, err := m.Deactivate(t.Context(), inactive.ID)
	require.NoError(t, err)
	_, _, err = m.Rotate(t.Context(), rotating.ID, time.Hour, "")
	require.NoError(t, err)
	changes := map[string]func() error{
		"generate": func() error {
			info, secret, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()})
			require.Nil(t, info)
			require.Empty(t, secret.Reveal())
			return err
		},
		"import": func() error {
			_, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
			return err
		},
		"update": func() error {
			_, err := m.Update(t.Context(), active.ID, apitoken.UpdateParams{Name: new("x")})
			return err
		},
		"deactivate":  func() error { _, err := m.Deactivate(t.Context(), active.ID); return err },
		"activate":    func() error { _, err := m.Activate(t.Context(), inactive.ID); return err },
		"rotate":      func() error { _, _, err := m.Rotate(t.Context(), active.ID, 0, ""); return err },
		"end_overlap": func() error { _, err := m.EndOverlap(t.Context(), rotating.ID); return err },
		"reveal": func() error {
			secret, err := m.Reveal(t.Context(), active.ID)
			require.Empty(t, secret.Reveal())
			return err
		},
		"delete": func() error { return m.Delete(t.Context(), active.ID) },
	}
	before := []apitoken.Record{w.stored(active.ID), w.stored(inactive.ID), w.stored(rotating.ID)}
	for _, v := range []struct {
		verdict error
		is      func(error) bool
	}{
		{&apitoken.ForbiddenError{Rule: "four eyes"}, isForbidden},
		{errors.New("audit log unreachable"), func(err error) bool { return errors.Is(err, apitoken.ErrUnavailable) }},
		{errors.New("panic"), func(err error) bool { return errors.Is(err, apitoken.ErrUnavailable) }},
	} {
		verdict = v.verdict
		for action, change := range changes {
			asked = nil
			err := change()
			require.True(t, v.is(err), "%s: %v", action, err)
			require.Equal(t, []string{action}, asked)
			require.Equal(t, action, string(w.lastEvent().Action))
			require.Equal(t, err, w.lastEvent().Err, "the observer is told")
		}
		require.True(t, w.works(secret), "requests go on without the audit")
	}
	require.Equal(t, before, []apitoken.Record{w.stored(active.ID), w.stored(inactive.ID), w.stored(rotating.ID)})
	list, err := m.List(t.Context(), apitoken.ListParams{})
	require.NoError(t, err)
	require.Len(t, list.Tokens, 3)
	verdict, asked = nil, nil
	_, err = w.auth.As(w.eve).Update(t.Context(), active.ID, apitoken.UpdateParams{Name: new("x")})
	require.Error(t, err)
	require.Empty(t, asked, "what is refused anyway is not asked about")
}

func (s Suite) TestAConflictDoesNotAskTheAuditTwice(t *testing.T) {
	asked := 0
	conflicts := &conflictingStore{Store: s.open(t), times: 3}
	w := s.newWorld(t, func(c *apitoken.Config) {
		c.Store = conflicts
		c.Audit = func(context.Context, apitoken.Event) error { asked++; return nil }
	})
	info, _ := w.generate(w.ada)
	asked = 0
	_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("x")})
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	require.Zero(t, conflicts.times)

}

func (s Suite) TestAChangeThatAlwaysMeetsAnotherIsNotTriedForEver(t *testing.T) {
	conflicts := &conflictingStore{Store: s.open(t), times: 1e9}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store, c.StoreTimeout = conflicts, 5*time.Second })
	info, _ := w.generate(w.ada)
	_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("y")})
	require.Error(t, err)
	require.Less(t, conflicts.times, int(1e9))
}

// A conflictingStore reports conflicts before it makes a change.
type conflictingStore struct {
	apitoken.Store
	times int
}

func (s *conflictingStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.times > 0 {
		s.times--
		return apitoken.ErrConflict
	}
	return s.Store.Replace(ctx, rec)
}
