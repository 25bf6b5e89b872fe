package managertest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestHistoryKeepsTheLast16Changes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		info, _ := w.generate(w.ada)
		require.Equal(t, "generate", string(info.History[0].Action))
		for i := range 20 {
			time.Sleep(time.Second)
			var err error
			info, err = w.auth.As(w.ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new(fmt.Sprint(i)), Description: new(fmt.Sprint(i))})
			require.NoError(t, err)
		}
		_, err := w.auth.As(w.admin).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		history := w.stored(info.ID).History
		require.Len(t, history, 16)
		require.Equal(t, apitoken.HistoryEntry{At: time.Now().UTC(), By: "admin", As: "manager", Action: "deactivate", Fields: []string{"active"}}, history[0])
		require.Equal(t, []string{"name", "description"}, history[1].Fields)
		require.True(t, history[1].At.After(history[15].At))
	})
}

func (s Suite) TestEveryChangeIsAnEventWithBeforeAndAfter(t *testing.T) {
	w := s.newWorld(t)
	info, _ := w.generate(w.ada)
	ev := w.lastEvent()
	require.Equal(t, "generate", string(ev.Action))
	require.Equal(t, "ada", ev.Actor)
	require.Equal(t, info.ID, ev.TokenID)
	require.Nil(t, ev.Before)
	require.Equal(t, info, ev.After)
	require.NoError(t, ev.Err)

	m := w.auth.As(w.admin)
	for _, c := range []struct {
		action string
		do     func() error
	}{
		{"deactivate", func() error { _, err := m.Deactivate(t.Context(), info.ID); return err }},
		{"activate", func() error { _, err := m.Activate(t.Context(), info.ID); return err }},
		{"update", func() error {
			_, err := m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.In(time.Hour)})
			return err
		}},
		{"delete", func() error { return m.Delete(t.Context(), info.ID) }},
	} {
		require.NoError(t, c.do())
		ev := w.lastEvent()
		require.Equal(t, c.action, string(ev.Action))
		require.Equal(t, "admin", ev.Actor)
		require.Equal(t, "ada", ev.Owner)
		require.Equal(t, "demo", ev.Environment)
		require.Equal(t, info.ID, ev.Before.ID)
		require.Equal(t, c.action == "delete", ev.After == nil)
	}

	info, _ = w.generate(w.ada)
	for _, c := range []struct {
		action string
		do     func() error
	}{
		{"generate", func() error {
			_, _, err := w.auth.As(w.ada).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Expiry: apitoken.Never(), Permissions: []apitoken.Permission{w.reports}})
			return err
		}},
		{"update", func() error {
			_, err := m.Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("taken over")})
			return err
		}},
		{"delete", func() error { return w.auth.As(w.eve).Delete(t.Context(), info.ID) }},
	} {
		err := c.do()
		require.Error(t, err)
		ev := w.lastEvent()
		require.Equal(t, c.action, string(ev.Action))
		require.Equal(t, err, ev.Err, "refused changes are events, too")
		require.Nil(t, ev.After)
		require.Nil(t, ev.Fields)
	}
}

func (s Suite) TestAPanicOfTheObserverDoesNotUndoOrHideAChange(t *testing.T) {
	w := s.newWorld(t, func(c *apitoken.Config) { c.Observe = func(context.Context, apitoken.Event) { panic("observer") } })
	info, _ := w.generate(w.ada)
	_, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, apitoken.StatusInactive, w.stored(info.ID).Status)
}
