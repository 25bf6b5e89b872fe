package managertest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestAStoreThatFailsAChangeIsUnavailableAndTellsTheObserver(t *testing.T) {
	broken := errors.New("disk on fire at 10.0.0.7")
	faulty := &faultyStore{Store: s.open(t)}
	w := s.newWorld(t, func(c *apitoken.Config) { c.Store = faulty })
	info, _ := w.generate(w.ada)
	for what, fail := range map[string]func(){
		"an error": func() { faulty.err = broken },
		"a panic":  func() { faulty.panics = true },
	} {
		fail()
		for name, err := range attempts(w, w.ada, info.ID) {
			require.ErrorIs(t, err, apitoken.ErrUnavailable, "%s: %s", what, name)
		}
		require.Equal(t, apitoken.ErrUnavailable, w.lastEvent().Reason)
		faulty.err, faulty.panics = nil, false
	}
	require.Equal(t, info.Version, w.stored(info.ID).Version)
}

// A faultyStore fails on demand, before it changes anything.
type faultyStore struct {
	apitoken.Store
	err    error
	panics bool
}

func (s *faultyStore) fault() error {
	if s.panics {
		panic("store")
	}
	return s.err
}

func (s *faultyStore) Create(ctx context.Context, rec apitoken.Record) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.Create(ctx, rec)
}

func (s *faultyStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := s.fault(); err != nil {
		return apitoken.Record{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *faultyStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if err := s.fault(); err != nil {
		return apitoken.Page{}, err
	}
	return s.Store.List(ctx, q)
}

func (s Suite) TestACallerThatGoesAwayDoesNotBreakOffAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{Store: s.open(t)}
		w := s.newWorld(t, func(c *apitoken.Config) { c.Store = slow })
		info, _ := w.generate(w.ada)
		slow.delay = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		_, err := w.auth.As(w.ada).Deactivate(ctx, info.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		time.Sleep(5 * time.Second) // and is tried again, which finds that it was made
		require.Equal(t, apitoken.StatusInactive, w.stored(info.ID).Status, "it was under way")
		require.Equal(t, info.Version+1, w.stored(info.ID).Version)
	})
}

type slowStore struct {
	apitoken.Store
	delay time.Duration
}

func (s *slowStore) Replace(ctx context.Context, rec apitoken.Record) error {
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Store.Replace(ctx, rec)
}
