package apitoken_test

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A fullStore can be read, but not written while it is full.
type fullStore struct {
	apitoken.Store
	full atomic.Bool
}

var errFull = errors.New("out of memory")

func (s *fullStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.full.Load() {
		return errFull
	}
	return s.Store.Replace(ctx, rec)
}

func (s *fullStore) Delete(ctx context.Context, id string) error {
	if s.full.Load() {
		return errFull
	}
	return s.Store.Delete(ctx, id)
}

// fullRigs returns two nodes over a store, and a token of ada's.
func fullRigs(t *testing.T, edit ...func(*apitoken.Config)) (s *fullStore, g, another *rig, in *apitoken.TokenInfo, secret string) {
	s = new(fullStore)
	g = newRig(t, append(edit, func(c *apitoken.Config) { s.Store, c.Store = c.Store, s })...)
	another = newRig(t, func(c *apitoken.Config) { c.Store = s })
	in, text := g.generate(t)
	require.Equal(t, 204, g.get(text.Reveal()))
	require.Equal(t, 204, another.get(text.Reveal()))
	g.events = nil
	return s, g, another, in, text.Reveal()
}

func (s *fullStore) stored(t *testing.T, id string) apitoken.Record {
	rec, err := s.Get(context.Background(), id)
	require.NoError(t, err)
	return rec
}

// changeStored changes a record as another node would.
func (s *fullStore) changeStored(t *testing.T, id string, edit func(*apitoken.Record)) {
	rec := s.stored(t, id)
	rec.Version++
	edit(&rec)
	require.NoError(t, s.Store.Replace(context.Background(), rec))
}

// a retry is due by then.
const soon = time.Minute

func TestATokenWhoseRevocationCannotBeWrittenIsRefusedHereUntilItIs(t *testing.T) {
	for what, revoke := range map[string]func(m *apitoken.Manager, id string) error{
		"deactivate": func(m *apitoken.Manager, id string) error {
			_, err := m.Deactivate(context.Background(), id)
			return err
		},
		"update": func(m *apitoken.Manager, id string) error {
			_, err := m.Update(context.Background(), id, apitoken.UpdateParams{Active: new(false)})
			return err
		},
		"bulk": func(m *apitoken.Manager, id string) error {
			_, err := m.Bulk(context.Background(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
			return err
		},
		"delete": func(m *apitoken.Manager, id string) error { return m.Delete(context.Background(), id) },
		"by a client that goes away": func(m *apitoken.Manager, id string) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, err := m.Deactivate(ctx, id)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				s, g, another, in, secret := fullRigs(t, func(c *apitoken.Config) {
					c.Audit = func(context.Context, apitoken.Event) error { asked.Add(1); return nil }
				})
				s.full.Store(true)
				asked.Store(0)
				err := revoke(g.As(admin), in.ID)
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
				assert.ErrorContains(t, err, "the token may still be accepted")
				assert.EqualValues(t, 1, asked.Load())
				time.Sleep(soon)
				assert.Equal(t, 401, g.get(secret))
				assert.Equal(t, apitoken.ErrDeactivated, g.lastEvent().Reason)
				x, err := g.As(ada).Explain(t.Context(), in.ID, apitoken.All(wireRead), networkless)
				require.NoError(t, err)
				assert.Equal(t, []apitoken.Reason{apitoken.ErrDeactivated}, x.Reasons)
				assert.Equal(t, 204, another.get(secret))

				s.full.Store(false)
				time.Sleep(soon)
				assert.NotEqual(t, 204, another.get(secret))
				assert.NotEqual(t, 204, g.get(secret))
				assert.Greater(t, asked.Load(), int64(1), "audited again")
				asked.Store(0)
				time.Sleep(soon)
				assert.Zero(t, asked.Load(), "and then no more")
				if rec := s.stored(t, in.ID); what == "delete" {
					assert.Equal(t, apitoken.StatusDeleted, rec.Status)
				} else {
					assert.Equal(t, "admin", rec.DeactivatedBy)
					assert.Equal(t, in.Version+1, rec.Version)
					s.changeStored(t, in.ID, func(rec *apitoken.Record) { rec.Status, rec.DeactivatedBy = apitoken.StatusActive, "" })
					time.Sleep(2 * time.Second)
					assert.Equal(t, 204, g.get(secret), "the block has ended")
				}
			})
		})
	}
}

func TestABlockEndsWithoutAWriteWhereTheTokenWasChangedBySomebodyElse(t *testing.T) {
	for what, test := range map[string]struct {
		meanwhile func(s *fullStore, t *testing.T, id string)
		status    int // afterwards
	}{
		"deactivated and activated": {func(s *fullStore, t *testing.T, id string) {
			for _, action := range []apitoken.Action{"deactivate", "activate"} {
				s.changeStored(t, id, func(rec *apitoken.Record) {
					rec.History = append([]apitoken.HistoryEntry{{At: time.Now().UTC(), By: "joan", Action: action, Fields: []string{"active"}}}, rec.History...)
				})
			}
		}, 204},
		"deactivated": {func(s *fullStore, t *testing.T, id string) {
			s.changeStored(t, id, func(rec *apitoken.Record) { rec.Status, rec.DeactivatedBy = apitoken.StatusInactive, "joan" })
		}, 401},
		"deleted": {func(s *fullStore, t *testing.T, id string) {
			require.NoError(t, s.Store.Delete(context.Background(), id))
		}, 401},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g, _, in, secret := fullRigs(t)
				s.full.Store(true)
				_, err := g.As(admin).Deactivate(t.Context(), in.ID)
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
				require.Equal(t, 401, g.get(secret))
				test.meanwhile(s, t, in.ID)
				before, _ := s.Get(t.Context(), in.ID)
				time.Sleep(soon)
				assert.Equal(t, test.status, g.get(secret))
				after, _ := s.Get(t.Context(), in.ID)
				assert.Equal(t, before, after)
			})
		})
	}
}

func TestARenameDoesNotEndABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, another, in, secret := fullRigs(t)
		s.full.Store(true)
		_, err := g.As(admin).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		s.changeStored(t, in.ID, func(rec *apitoken.Record) { rec.Name = "another" })
		s.full.Store(false)
		time.Sleep(soon)
		assert.Equal(t, 401, another.get(secret))
		assert.Equal(t, "another", s.stored(t, in.ID).Name)
	})
}

func TestWhatIsForbiddenVetoedOrNotAuditedBlocksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var verdict error
		s, g, _, in, secret := fullRigs(t, func(c *apitoken.Config) {
			c.Audit = func(context.Context, apitoken.Event) error { return verdict }
		})
		s.full.Store(true)
		eve := apitoken.Actor{User: "eve", Environment: "production", Grants: wire.All()}
		_, err := g.As(eve).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
		for _, verdict = range []error{&apitoken.ForbiddenError{Rule: "four eyes"}, errors.New("no answer")} {
			_, err = g.As(admin).Deactivate(t.Context(), in.ID)
			require.Error(t, err)
			require.Error(t, g.As(admin).Delete(t.Context(), in.ID))
		}
		assert.Equal(t, 204, g.get(secret))
	})
}

func TestABlockEndsWhenItsRetryIsVetoed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var vetoes atomic.Bool
		s, g, _, in, secret := fullRigs(t, func(c *apitoken.Config) {
			c.Audit = func(context.Context, apitoken.Event) error {
				if vetoes.Load() {
					return &apitoken.ForbiddenError{Rule: "four eyes"}
				}
				return nil
			}
		})
		s.full.Store(true)
		_, err := g.As(admin).Deactivate(t.Context(), in.ID)
		require.Error(t, err)
		require.Equal(t, 401, g.get(secret))
		vetoes.Store(true)
		time.Sleep(soon)
		assert.Equal(t, 204, g.get(secret))
	})
}

func TestActivatingEndsABlockForWhoMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, _, in, secret := fullRigs(t)
		s.full.Store(true)
		_, err := g.As(admin).Deactivate(t.Context(), in.ID)
		require.Error(t, err)
		var forbidden *apitoken.ForbiddenError
		_, err = g.As(ada).Activate(t.Context(), in.ID)
		require.ErrorAs(t, err, &forbidden, "although it is active in the store")
		_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Active: new(true)})
		require.ErrorAs(t, err, &forbidden)
		require.Equal(t, 401, g.get(secret), "what an administrator has blocked its owner cannot end")
		_, err = g.As(admin).Activate(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, 204, g.get(secret))
		s.full.Store(false)
		time.Sleep(soon)
		assert.Equal(t, apitoken.StatusActive, s.stored(t, in.ID).Status)
	})
}

func TestAtMostAThousandTokensAreBlockedHalfOfThemByTheirOwners(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, func(t *testing.T) {
		s, g, _, in, secret := fullRigs(t)
		var ids, secrets []string
		for range 1001 {
			in, secret := g.generate(t)
			ids, secrets = append(ids, in.ID), append(secrets, secret.Reveal())
		}
		s.full.Store(true)
		count := func() (n int) {
			for _, secret := range secrets {
				if g.get(secret) == 401 {
					n++
				}
			}
			return n
		}
		for _, id := range ids {
			_, err := g.As(ada).Deactivate(t.Context(), id)
			require.ErrorIs(t, err, apitoken.ErrUnavailable)
		}
		require.Equal(t, 500, count())
		_, err := g.As(admin).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.Equal(t, 401, g.get(secret))
		for _, id := range ids {
			_, err := g.As(admin).Deactivate(t.Context(), id)
			require.ErrorIs(t, err, apitoken.ErrUnavailable)
		}
		assert.Equal(t, 999, count())
	})
}

var networkless netip.Addr

func (g *rig) lastEvent() apitoken.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.events[len(g.events)-1]
}

// Owners cannot rid themselves of an administrator's revocation that could not be
// written by one of their own, which they could then take back.
func TestAnOwnerDoesNotEndTheBlockOfAnAdministrator(t *testing.T) {
	member := apitoken.Actor{User: "noor", Environment: "production", Grants: wire.All(), ActsFor: []string{"ada"}}
	for what, at := range map[string]func(g, another *rig) *apitoken.Manager{
		"here":                              func(g, _ *rig) *apitoken.Manager { return g.As(ada) },
		"on another node":                   func(_, another *rig) *apitoken.Manager { return another.As(ada) },
		"as one of a team":                  func(g, _ *rig) *apitoken.Manager { return g.As(member) },
		"as one of a team, on another node": func(_, another *rig) *apitoken.Manager { return another.As(member) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g, another, in, secret := fullRigs(t)
				s.full.Store(true)
				_, err := g.As(admin).Deactivate(t.Context(), in.ID)
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
				s.full.Store(false)
				m := at(g, another)
				_, err = m.Deactivate(t.Context(), in.ID)
				require.NoError(t, err)
				_, err = m.Activate(t.Context(), in.ID)
				if !strings.HasSuffix(what, "on another node") {
					var forbidden *apitoken.ForbiddenError
					require.ErrorAs(t, err, &forbidden)
				} else {
					require.NoError(t, err, "of the block another node knows nothing")
				}
				assert.Equal(t, 401, g.get(secret))

				time.Sleep(soon)
				assert.Equal(t, "admin", s.stored(t, in.ID).DeactivatedBy)
				assert.Equal(t, 401, g.get(secret))
				assert.Equal(t, 401, another.get(secret))
			})
		})
	}
}

func TestADeactivationThatIsWrittenEndsTheBlockAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, another, in, secret := fullRigs(t)
		s.full.Store(true)
		_, err := g.As(admin).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		s.full.Store(false)
		_, err = g.As(admin).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		joan := apitoken.Actor{User: "joan", Environment: "production", Grants: wire.All(), ManageOthers: true}
		_, err = another.As(joan).Activate(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, 204, g.get(secret))
	})
}

func TestADeactivationThatWasOvertakenBlocksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(overtakenStore)
		g := newRig(t, func(c *apitoken.Config) { s.scannedStore, c.Store = memory.New(), s })
		in, secret := g.generate(t)
		s.overtake = func(rec apitoken.Record) { // another node
			rec.Status = apitoken.StatusActive
			assert.NoError(t, s.scannedStore.Replace(context.Background(), rec))
		}
		_, err := g.As(admin).Update(t.Context(), in.ID, apitoken.UpdateParams{Active: new(false), IfVersion: in.Version})
		require.ErrorIs(t, err, apitoken.ErrConflict)
		assert.Equal(t, 204, g.get(secret.Reveal()))
		time.Sleep(soon)
		assert.Equal(t, 204, g.get(secret.Reveal()))
	})
}

func TestTheBlockOfAnOwnerDoesNotReplaceThatOfAnAdministrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, _, in, secret := fullRigs(t)
		s.full.Store(true)
		for _, actor := range []apitoken.Actor{admin, ada} {
			_, err := g.As(actor).Deactivate(t.Context(), in.ID)
			require.ErrorIs(t, err, apitoken.ErrUnavailable)
		}
		_, err := g.As(ada).Activate(t.Context(), in.ID)
		var forbidden *apitoken.ForbiddenError
		require.ErrorAs(t, err, &forbidden)
		assert.Equal(t, 401, g.get(secret))
	})
}

func TestARetryEndsNoBlockThatCameMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var meanwhile atomic.Pointer[func()] // the next deactivation by ada calls it
		s, g, _, in, secret := fullRigs(t, func(c *apitoken.Config) {
			c.Audit = func(_ context.Context, ev apitoken.Event) error {
				if ev.Actor == "ada" && ev.Action == "deactivate" {
					if f := meanwhile.Swap(nil); f != nil {
						(*f)()
					}
				}
				return nil
			}
		})
		s.full.Store(true)
		_, err := g.As(ada).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		var retried atomic.Bool
		meanwhile.Store(new(func() { // the owner's deactivation is tried again
			retried.Store(true)
			_, err := g.As(admin).Deactivate(context.Background(), in.ID)
			assert.ErrorIs(t, err, apitoken.ErrUnavailable)
			s.full.Store(false)
		}))
		time.Sleep(soon)
		require.True(t, retried.Load())
		assert.Equal(t, "admin", s.stored(t, in.ID).DeactivatedBy)
		assert.Equal(t, 401, g.get(secret))
	})
}

func TestAnOwnerWhoActivatesDoesNotSettleTheDeactivationOfAnAdministrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, another, in, secret := fullRigs(t)
		_, err := g.As(ada).Deactivate(t.Context(), in.ID)
		require.NoError(t, err)
		s.full.Store(true)
		_, err = g.As(admin).Deactivate(t.Context(), in.ID) // too, so that ada cannot activate it
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		s.full.Store(false)
		_, err = another.As(ada).Activate(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, 401, g.get(secret))

		time.Sleep(soon)
		assert.Equal(t, "admin", s.stored(t, in.ID).DeactivatedBy)
		assert.Equal(t, 401, g.get(secret))
	})
}

// Only the deactivation is tried again, with nothing that is the caller's.
func TestWhatIsTriedAgainIsTheDeactivationAlone(t *testing.T) {
	for what, change := range map[string]func(u *apitoken.UpdateParams, in *apitoken.TokenInfo){
		"the caller uses the variable again": func(u *apitoken.UpdateParams, _ *apitoken.TokenInfo) {},
		"of a version":                       func(u *apitoken.UpdateParams, in *apitoken.TokenInfo) { u.IfVersion = in.Version },
		"with an expiry that has passed by then": func(u *apitoken.UpdateParams, _ *apitoken.TokenInfo) {
			u.Expiry = apitoken.In(time.Second)
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g, _, in, _ := fullRigs(t)
				s.full.Store(true)
				active := false
				u := apitoken.UpdateParams{Active: &active}
				change(&u, in)
				_, err := g.As(ada).Update(t.Context(), in.ID, u)
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
				active = true
				s.changeStored(t, in.ID, func(rec *apitoken.Record) { rec.Name = "renamed" })
				time.Sleep(soon)
				s.full.Store(false)
				time.Sleep(soon)
				assert.Equal(t, apitoken.StatusInactive, s.stored(t, in.ID).Status)
			})
		})
	}
}

func TestWhatIsBlockedStaysSoAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, _, in, secret := fullRigs(t)
		s.full.Store(true)
		_, err := g.As(ada).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.NoError(t, g.Close())
		assert.Equal(t, 401, g.get(secret))
	})
}

func TestAnUpdateThatActivatesEndsABlockAsActivateDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, _, in, secret := fullRigs(t)
		s.full.Store(true)
		_, err := g.As(ada).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		s.full.Store(false)
		_, err = g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Active: new(true), Name: new("other")})
		require.NoError(t, err)
		assert.Equal(t, 204, g.get(secret))
	})
}

func TestAnObserverThatEndsTheGoroutineOfARetryDoesNotEndTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends atomic.Bool
		s, g, _, in, _ := fullRigs(t, func(c *apitoken.Config) {
			c.Observe = func(_ context.Context, ev apitoken.Event) {
				if ends.Load() && ev.Action != "use" {
					runtime.Goexit()
				}
			}
		})
		s.full.Store(true)
		_, err := g.As(ada).Deactivate(t.Context(), in.ID)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		ends.Store(true)
		time.Sleep(soon)
		ends.Store(false)
		s.full.Store(false)
		time.Sleep(soon)
		assert.Equal(t, apitoken.StatusInactive, s.stored(t, in.ID).Status)
	})
}

func TestTheZeroAuthoritySaysOfNoTokenThatItMayBeLive(t *testing.T) {
	_, err := new(apitoken.Authority).As(ada).Deactivate(t.Context(), mint("any").id)
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.NotContains(t, err.Error(), "may still be accepted")
}

func TestADeletionThatIsTriedAgainSparesATokenThatWasMadeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, another, in, secret := fullRigs(t)
		s.full.Store(true)
		require.ErrorIs(t, g.As(admin).Delete(t.Context(), in.ID), apitoken.ErrUnavailable)
		s.changeStored(t, in.ID, func(rec *apitoken.Record) { rec.CreatedAt = rec.CreatedAt.Add(time.Minute) })
		s.full.Store(false)
		time.Sleep(soon)
		assert.Equal(t, 204, another.get(secret))
		assert.Equal(t, 204, g.get(secret), "the block has ended")
		assert.Equal(t, apitoken.StatusActive, s.stored(t, in.ID).Status)
	})
}
