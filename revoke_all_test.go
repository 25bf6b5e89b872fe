package apitoken_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A crowd has tokens of joan: one of each status, the last deactivated by somebody else.
type crowd struct {
	*rig
	t     *testing.T
	store *crowdedStore
	joan  *apitoken.Manager
	all   []string
}

// A crowdedStore counts lists, refuses to write some tokens, and keeps others waiting.
type crowdedStore struct {
	apitoken.Store
	lists  int
	refuse string
	slow   time.Duration // of Create
	gets   atomic.Int64  // nanoseconds that Get takes
}

func (s *crowdedStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	time.Sleep(time.Duration(s.gets.Load()))
	return rec, err
}

func (s *crowdedStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	s.lists++
	return s.Store.List(ctx, q)
}

func (s *crowdedStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if rec.ID == s.refuse {
		return errors.New("the row is locked")
	}
	return s.Store.Replace(ctx, rec)
}

func (s *crowdedStore) Create(ctx context.Context, rec apitoken.Record) error {
	time.Sleep(s.slow)
	return s.Store.Create(ctx, rec)
}

var joanActor = apitoken.Actor{User: "joan", Environment: "production", Grants: wire.All()}

const settled = 5*time.Second + time.Millisecond // MaxStaleness and twice StoreTimeout

func newCrowd(t *testing.T, edit ...func(*apitoken.Config)) *crowd {
	c := &crowd{t: t}
	c.rig = newRig(t, append([]func(*apitoken.Config){func(config *apitoken.Config) {
		c.store = &crowdedStore{Store: config.Store}
		config.Store, config.ForeignTokens = c.store, apitoken.ForeignTokens{MinLen: 22, MaxLen: 40}
	}}, edit...)...)
	c.joan = c.As(joanActor)
	for range 4 {
		id, _ := c.generate(c.joan)
		c.all = append(c.all, id)
	}
	_, err := c.joan.Update(t.Context(), c.all[1], apitoken.UpdateParams{NotBefore: new(time.Now().Add(time.Minute))})
	require.NoError(t, err)
	_, err = c.joan.Deactivate(t.Context(), c.all[2])
	require.NoError(t, err)
	_, err = c.As(admin).Deactivate(t.Context(), c.all[3])
	require.NoError(t, err)
	return c
}

func (c *crowd) generate(m *apitoken.Manager) (string, apitoken.Secret) {
	in, secret, err := m.Generate(c.t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.In(time.Hour)})
	require.NoError(c.t, err)
	return in.ID, secret
}

// by returns joan as one who came by a token.
func (c *crowd) by(secret apitoken.Secret, edit ...func(*apitoken.Actor)) *apitoken.Manager {
	actor := joanActor
	var err error
	actor.Token, err = c.Verify(c.t.Context(), apitoken.Credential{Secret: secret, Environment: "production"}, apitoken.AnyToken())
	require.NoError(c.t, err)
	for _, e := range edit {
		e(&actor)
	}
	return c.As(actor)
}

func (c *crowd) inactive(ids ...string) {
	c.t.Helper()
	for _, id := range ids {
		rec, err := c.store.Get(c.t.Context(), id)
		require.NoError(c.t, err)
		assert.Equal(c.t, apitoken.StatusInactive, rec.Status)
	}
}

func TestAllTokensOfAnOwnerAreDeactivatedAlsoThoseThatAppearMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		other, _ := c.rig.generate(t)
		c.store.slow = 1900 * time.Millisecond
		late := make(chan string, 2)
		for _, after := range []time.Duration{0, 2 * time.Second} {
			go func() {
				time.Sleep(after)
				id, _ := c.generate(c.joan)
				late <- id
			}()
		}
		done, err := c.As(admin).RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan"})
		require.NoError(t, err)
		found := []string{<-late, <-late}
		assert.ElementsMatch(t, append(found, c.all[:3]...), idsOf(done), "but that which somebody else had deactivated")
		for _, in := range done {
			assert.Equal(t, apitoken.StatusInactive, in.Status)
			_, err := c.joan.Activate(t.Context(), in.ID)
			var forbidden *apitoken.ForbiddenError
			assert.ErrorAs(t, err, &forbidden)
		}
		c.inactive(append(found, c.all...)...)
		in, err := c.As(admin).Get(t.Context(), other.ID)
		require.NoError(t, err)
		assert.Equal(t, apitoken.StatusActive, in.Status)

		before, start := c.store.lists, time.Now()
		done, err = c.As(admin).RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan"})
		require.NoError(t, err)
		assert.Empty(t, done)
		assert.Equal(t, before+1, c.store.lists)
		assert.Zero(t, time.Since(start), "an owner without tokens is done at once")
		require.NoError(t, c.Close())
	})
}

func TestWhoMayRevokeAllTokensOfAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		team := ada
		team.ActsFor = []string{"joan"}
		before := c.store.lists
		for what, row := range map[string]struct {
			by   apitoken.Actor
			r    apitoken.RevokeParams
			want string // the field, or what the error says
		}{
			"somebody else":               {ada, apitoken.RevokeParams{Owner: "joan"}, "you may not see the tokens of others"},
			"somebody else, as a preview": {ada, apitoken.RevokeParams{Owner: "joan", Preview: true}, "you may not see the tokens of others"},
			"nobody":                      {apitoken.Actor{}, apitoken.RevokeParams{Owner: "joan"}, "an actor needs a user"},
			"a token of somebody else":    {ada, apitoken.RevokeParams{MadeWith: c.all[0]}, "not found"},
			"no token":                    {admin, apitoken.RevokeParams{MadeWith: "x"}, "not found"},
			"neither":                     {admin, apitoken.RevokeParams{}, "owner or made_with is required"},
			"both":                        {admin, apitoken.RevokeParams{Owner: "joan", MadeWith: c.all[0]}, "owner or made_with is required"},
		} {
			done, err := c.As(row.by).RevokeAll(t.Context(), row.r)
			assert.ErrorContains(t, err, row.want, what)
			assert.Empty(t, done, what)
		}
		assert.Equal(t, before, c.store.lists, "nobody was told anything")

		for _, m := range []*apitoken.Manager{c.joan, c.As(team)} {
			preview, err := m.RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan", Preview: true})
			require.NoError(t, err)
			assert.ElementsMatch(t, c.all[:2], idsOf(preview))
			done, err := m.RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan"})
			require.NoError(t, err)
			assert.ElementsMatch(t, c.all[:2], idsOf(done))
			for _, id := range c.all[:2] { // as owner, and so owners may undo it
				_, err = c.joan.Activate(t.Context(), id)
				require.NoError(t, err)
			}
		}
		require.NoError(t, c.Close())
	})
}

func TestATokenIsDeactivatedWithEverythingItMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		parent, secret := c.generate(c.joan)
		child, childSecret := c.generate(c.by(secret))
		gone, goneSecret := c.generate(c.by(childSecret))
		of, _ := c.generate(c.by(goneSecret))
		i := apitoken.ImportParams{Secret: apitoken.NewSecret("of-an-earlier-system-entirely"), CreatedAt: time.Now().Add(-24 * time.Hour)}
		i.Name, i.Owner, i.Permissions = "old", "noor", []apitoken.Permission{wireRead}
		old, err := c.by(goneSecret, func(a *apitoken.Actor) { a.User = "noor" }).Import(t.Context(), i)
		require.NoError(t, err, "it seems to be older than the token that made it, and is of another owner")
		require.NoError(t, c.by(goneSecret).Delete(t.Context(), gone))

		own := apitoken.RevokeParams{MadeWith: parent, Preview: true}
		preview, err := c.joan.RevokeAll(t.Context(), own)
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{parent, child, of}, idsOf(preview), "joan does not see the token of noor")
		preview, err = c.As(admin).RevokeAll(t.Context(), own)
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{parent, child, of, old.ID}, idsOf(preview))
		require.Equal(t, 204, c.get(secret.Reveal()), "nothing was changed")

		// One that is being made while its maker is deactivated is found.
		thief := c.by(childSecret)
		c.store.slow = 1900 * time.Millisecond
		late := make(chan string, 1)
		go func() {
			id, _ := c.generate(thief)
			late <- id
		}()
		time.Sleep(time.Millisecond)
		start := time.Now()
		done, err := c.As(admin).RevokeAll(t.Context(), apitoken.RevokeParams{MadeWith: parent})
		require.NoError(t, err)
		assert.Equal(t, parent, done[0].ID, "the first")
		assert.ElementsMatch(t, []string{parent, child, of, old.ID, <-late}, idsOf(done))
		assert.Less(t, time.Since(start), 3*settled)
		c.inactive(idsOf(done)...)
		in, err := c.joan.Get(t.Context(), c.all[0])
		require.NoError(t, err)
		assert.Equal(t, apitoken.StatusActive, in.Status, "which that token has not made")
		require.NoError(t, c.Close())
	})
}

func TestWhatIsMadeSlowlyWithATokenThatIsRevokedIsFound(t *testing.T) {
	const slow = 1900 * time.Millisecond // less than StoreTimeout
	for name, audit := range map[string]bool{"by the audit": true, "by the store": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waits := false
				c := newCrowd(t, func(config *apitoken.Config) {
					config.Audit = func(_ context.Context, ev apitoken.Event) error {
						if waits && ev.Action == "generate" {
							time.Sleep(slow)
						}
						return nil
					}
				})
				parent, secret := c.generate(c.joan)
				thief := c.by(secret)
				waits, c.store.slow = audit, slow
				begins := time.Millisecond // the acting token was read
				if !audit {
					c.store.gets.Store(int64(slow))
					begins += slow // and is being read again
				}
				made := make(chan apitoken.Secret)
				go func() {
					_, secret, _ := thief.Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.In(time.Minute)})
					made <- secret
				}()
				time.Sleep(begins)
				c.store.gets.Store(0)
				done := make(chan error)
				go func() {
					_, err := c.joan.RevokeAll(t.Context(), apitoken.RevokeParams{MadeWith: parent})
					done <- err
				}()
				secret = <-made
				require.NoError(t, <-done)
				if text := secret.Reveal(); text != "" {
					assert.Equal(t, 401, c.get(text))
				}
				require.NoError(t, c.Close())
			})
		})
	}
}

func TestWhatAPurgedOrDeletedTokenMadeIsFoundByItsTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		parent, secret := c.generate(c.joan)
		child, _ := c.generate(c.by(secret))
		require.NoError(t, c.joan.Delete(t.Context(), parent))
		done, err := c.joan.RevokeAll(t.Context(), apitoken.RevokeParams{MadeWith: parent})
		require.NoError(t, err)
		assert.Equal(t, []string{child}, idsOf(done))
		require.NoError(t, c.Close())
	})
}

func TestWhatCannotBeDeactivatedDoesNotKeepTheOthersAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, func(config *apitoken.Config) { config.StoreTimeout = 100 * time.Millisecond })
		c.store.refuse = c.all[0]
		done, err := c.As(admin).RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan"})
		var left *apitoken.BulkError
		require.ErrorAs(t, err, &left)
		assert.Equal(t, c.all[0], left.ID)
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.ElementsMatch(t, c.all[1:3], idsOf(done))
		c.inactive(c.all[1:]...)
		require.NoError(t, c.Close())
	})
}

func TestTheContextEndsRevokeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done, err := c.As(admin).RevokeAll(ctx, apitoken.RevokeParams{Owner: "joan"})
		assert.ErrorIs(t, err, apitoken.ErrUnavailable, "nobody knows what appears yet")
		assert.Len(t, done, 3)
		require.NoError(t, c.Close())
	})
}

// An owner who makes tokens all the time does not keep the caller for ever.
func TestRevokeAllGivesUpOnAnOwnerWhoMakesTokensAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				c.generate(c.joan)
				time.Sleep(100 * time.Millisecond)
			}
		}()
		start := time.Now()
		_, err := c.As(admin).RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan"})
		assert.ErrorContains(t, err, "new ones appear faster")
		assert.Less(t, time.Since(start), 2*time.Minute)
		cancel()
		time.Sleep(time.Second)
		require.NoError(t, c.Close())
	})
}

func TestATokenOfANewerVersionIsNamedAndADamagedOneLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		newer, err := c.store.Get(t.Context(), c.all[0])
		require.NoError(t, err)
		newer.Unknown, newer.Version = unknown(32, "idle bound"), newer.Version+1
		require.NoError(t, c.store.Replace(t.Context(), newer))
		broken, err := c.store.Get(t.Context(), c.all[1])
		require.NoError(t, err)
		broken.Secrets[0].Digest, broken.Version = []byte("short"), broken.Version+1
		require.NoError(t, c.store.Replace(t.Context(), broken))
		done, err := c.As(admin).RevokeAll(t.Context(), apitoken.RevokeParams{Owner: "joan"})
		var left *apitoken.BulkError
		require.ErrorAs(t, err, &left)
		assert.Equal(t, c.all[0], left.ID)
		assert.Equal(t, c.all[2:3], idsOf(done))
		require.NoError(t, c.Close())
	})
}

func idsOf(tokens []*apitoken.TokenInfo) (ids []string) {
	for _, in := range tokens {
		ids = append(ids, in.ID)
	}
	return ids
}
