package managertest

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A delegation is an attempt of an actor who came by token, who has the permissions of ada
// and may manage others. All tokens but those of the attempt itself are bound: they have
// devices:read, an hour, and 192.0.2.0/24.
type delegation struct {
	*world
	t              *testing.T
	begin, end     time.Time // of the acting token
	acting         *apitoken.TokenInfo
	newest, old    *apitoken.Manager // by the acting token; old is nil without a rotation
	sibling, other string            // the IDs of a token of the same owner, and of grace
	inactive       string            // of the owner, by the owner
	made           []*apitoken.TokenInfo
}

// delegate returns an acting token. If rotated, it has an old secret, too.
func (w *world) delegate(t *testing.T, rotated bool) *delegation {
	now := time.Now().UTC().Truncate(time.Microsecond)
	d := &delegation{world: w, t: t, begin: now.Add(-time.Hour), end: now.Add(time.Hour)}
	bound := func(g *apitoken.GenerateParams) {
		g.Expiry, g.NotBefore, g.Networks = apitoken.At(d.end), d.begin, prefixes("192.0.2.0/24")
	}
	acting, secret := w.generate(w.ada, bound)
	sibling, _ := w.generate(w.ada, bound)
	inactive, _ := w.generate(w.ada, bound)
	other, _ := w.generate(w.grace, bound)
	_, err := w.auth.As(w.ada).Deactivate(t.Context(), inactive.ID)
	require.NoError(t, err)
	d.acting, d.sibling, d.inactive, d.other = acting, sibling.ID, inactive.ID, other.ID
	if rotated {
		old := secret
		_, secret, err = w.auth.As(w.ada).Rotate(t.Context(), acting.ID, time.Minute, "key")
		require.NoError(t, err)
		d.old = w.auth.As(d.actor(old))
	}
	d.newest = w.auth.As(d.actor(secret))
	return d
}

// actor returns the actor who came by a secret.
func (d *delegation) actor(secret apitoken.Secret) apitoken.Actor {
	tok, err := d.auth.Verify(d.t.Context(), apitoken.Credential{Secret: secret, Address: netip.MustParseAddr("192.0.2.7")}, apitoken.AnyToken())
	require.NoError(d.t, err)
	return apitoken.Actor{
		User: "ada", Environment: "demo", Grants: []apitoken.Permission{d.read, d.write, d.reports}, ManageOthers: true,
		Token: tok, Address: netip.MustParseAddr("::ffff:192.0.2.7"),
	}
}

// generate makes a token by token: without bounds, before edit.
func (d *delegation) generate(m *apitoken.Manager, edit func(*apitoken.GenerateParams)) error {
	g := apitoken.GenerateParams{Name: "child", Permissions: []apitoken.Permission{d.read}}
	edit(&g)
	info, _, err := m.Generate(d.t.Context(), g)
	if err == nil {
		d.made = append(d.made, info)
	}
	return err
}

func (d *delegation) imports(m *apitoken.Manager, edit func(*apitoken.ImportParams)) error {
	i := apitoken.ImportParams{Secret: apitoken.NewSecret(strings.ToLower(d.acting.ID) + "-of-an-earlier-system")}
	i.Name, i.Permissions = "child", []apitoken.Permission{d.read}
	edit(&i)
	info, err := m.Import(d.t.Context(), i)
	if err == nil {
		d.made = append(d.made, info)
	}
	return err
}

func (d *delegation) update(m *apitoken.Manager, id string, u apitoken.UpdateParams) error {
	_, err := m.Update(d.t.Context(), id, u)
	return err
}

// outcomes of an attempt: the field that is wrong, or one of these.
const (
	works     = ""
	forbidden = "forbidden"
)

func outcome(err error) string {
	if isForbidden(err) {
		return forbidden
	}
	if err != nil && fieldOf(err) == "" {
		return err.Error()
	}
	return fieldOf(err)
}

func (s Suite) TestWhoCameByTokenComesAwayWithNoMoreThanThat(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"), foreignOn)
	for rotated, rows := range [][]struct {
		what string
		want string
		do   func(d *delegation) error
	}{delegationRows, oldSecretRows} {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s %s", [...]string{"", "old secret: "}[rotated], row.what), func(t *testing.T) {
				d := w.delegate(t, rotated == 1)
				ids := []string{d.acting.ID, d.sibling, d.inactive, d.other}
				stored := func(id string) apitoken.Record {
					rec := w.stored(id)
					rec.Uses = nil // which are written in the background
					return rec
				}
				var before []apitoken.Record
				for _, id := range ids {
					before = append(before, stored(id))
				}
				err := row.do(d)
				require.Equal(t, row.want, outcome(err), "%v", err)
				for i, id := range ids {
					if row.want != works {
						require.Equal(t, before[i], stored(id), "nothing was changed")
					}
				}
				if row.want != works {
					require.Empty(t, d.made)
				}
				for _, in := range d.made {
					require.Subset(t, []apitoken.Permission{d.read}, in.Permissions)
					require.False(t, in.ExpiresAt.IsZero() || in.ExpiresAt.After(d.end), "expires %s, and not by %s", in.ExpiresAt, d.end)
					require.False(t, in.NotBefore.Before(d.begin))
					require.NotEmpty(t, in.Networks)
					for _, n := range in.Networks {
						require.True(t, prefixes("192.0.2.0/24")[0].Contains(n.Addr()) && n.Bits() >= 24, n)
					}
				}
			})
		}
	}
}

// The Token of an actor may be of a moment ago, or of another node. What counts is what
// the store has.
func (s Suite) TestAnActingTokenIsBoundAsItIsNow(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	ada := w.auth.As(w.ada)
	for _, c := range []struct {
		what      string
		want      string
		meanwhile func(d *delegation) error
	}{
		{"deactivated", forbidden, func(d *delegation) error { _, err := ada.Deactivate(t.Context(), d.acting.ID); return err }},
		{"deleted", forbidden, func(d *delegation) error { return ada.Delete(t.Context(), d.acting.ID) }},
		{"rotated", forbidden, func(d *delegation) error {
			_, _, err := ada.Rotate(t.Context(), d.acting.ID, time.Minute, "")
			return err
		}},
		{"without the permission", forbidden, func(d *delegation) error {
			return d.update(ada, d.acting.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{w.write})})
		}},
		{"not valid yet", forbidden, func(d *delegation) error {
			return d.update(ada, d.acting.ID, apitoken.UpdateParams{NotBefore: new(d.begin.Add(90 * time.Minute))})
		}},
		{"shorter", "expiry", func(d *delegation) error {
			return d.update(ada, d.acting.ID, apitoken.UpdateParams{Expiry: apitoken.At(d.end.Add(-time.Minute))})
		}},
		{"narrower", "allowed_networks", func(d *delegation) error {
			return d.update(ada, d.acting.ID, apitoken.UpdateParams{Networks: new(prefixes("192.0.2.7/32"))})
		}},
		{"damaged", forbidden, func(d *delegation) error {
			rec := w.stored(d.acting.ID)
			rec.Name = "forged"
			w.tamper(rec)
			return nil
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			d := w.delegate(t, false)
			require.NoError(t, c.meanwhile(d))
			err := d.generate(d.newest, func(g *apitoken.GenerateParams) {
				g.Expiry, g.Networks = apitoken.At(d.end), prefixes("192.0.2.0/24")
			})
			require.Equal(t, c.want, outcome(err), "%v", err)
			if c.want == forbidden && c.what != "without the permission" {
				require.Equal(t, forbidden, outcome(d.update(d.newest, d.sibling, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})))
			}
			_, err = d.newest.Deactivate(t.Context(), d.sibling)
			require.NoError(t, err, "to deactivate asks nothing of the acting token")
		})
	}
}

func (s Suite) TestWhatAnActingTokenMakesEndsWithItUnderThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) { c.MaxLifetime = 10 * time.Hour })
		parent, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(10 * time.Hour) })
		rec := w.stored(parent.ID) // as before the policy
		rec.ExpiresAt, rec.Version = time.Time{}, rec.Version+1
		require.NoError(t, w.store.Replace(t.Context(), rec))
		by := w.ada
		var err error
		by.Token, err = w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
		require.NoError(t, err)
		m := w.auth.As(by)
		time.Sleep(9 * time.Hour)
		end := parent.CreatedAt.Add(10 * time.Hour)
		g := apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.At(end.Add(time.Microsecond))}
		_, _, err = m.Generate(t.Context(), g)
		require.Equal(t, "expiry", fieldOf(err))
		g.Expiry = apitoken.Expiry{}
		_, _, err = m.Generate(t.Context(), g)
		require.Equal(t, "expiry", fieldOf(err), "what has no expiry gives none")
		g.Expiry = apitoken.At(end)
		_, _, err = m.Generate(t.Context(), g)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		g.Expiry = apitoken.In(time.Minute)
		_, _, err = m.Generate(t.Context(), g)
		require.True(t, isForbidden(err), "it has expired meanwhile: %v", err)
	})
}

func (s Suite) TestATokenOfElsewhereActsForNobody(t *testing.T) {
	w := s.newWorld(t)
	here := w.delegate(t, false)
	_, secret := w.generate(w.eve)
	tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.NoError(t, err)
	actor := w.admin
	actor.Token = tok
	for name, err := range attempts(w, actor, here.sibling) {
		require.True(t, isForbidden(err), "%s, by a token of another environment: %v", name, err)
	}
}

func (s Suite) TestWhatIsDoneByTokenNamesTheTokenAndTheAddress(t *testing.T) {
	asked := make(map[string]string) // by action
	w := s.newWorld(t, func(c *apitoken.Config) {
		c.Audit = func(_ context.Context, ev apitoken.Event) error {
			asked[string(ev.Action)] = ev.Token.ID()
			return nil
		}
	})
	from := netip.MustParseAddr("192.0.2.7")
	d := w.delegate(t, false)
	require.NoError(t, d.generate(d.newest, func(*apitoken.GenerateParams) {}))
	made := d.made[0]
	require.Equal(t, d.acting.ID, made.CreatedWith)
	require.Equal(t, d.acting.ID, made.History[0].Via)
	require.Equal(t, from, made.History[0].Address, "IPv4 as IPv4")
	require.Empty(t, d.acting.CreatedWith)
	require.Empty(t, d.acting.History[0].Via)
	ev := w.lastEvent()
	require.Equal(t, d.acting.ID, ev.Token.ID())
	require.Equal(t, from, ev.Address)
	require.Equal(t, d.acting.ID, asked["generate"])

	in, err := d.newest.Deactivate(t.Context(), d.sibling)
	require.NoError(t, err)
	require.Equal(t, d.acting.ID, in.History[0].Via)
	require.Equal(t, from, in.History[0].Address)
	require.Equal(t, "ada", in.History[0].By)
	require.Equal(t, d.acting.ID, w.lastEvent().Token.ID())

	require.NoError(t, d.newest.Delete(t.Context(), made.ID))
	rec := w.stored(made.ID)
	require.Equal(t, d.acting.ID, rec.History[0].Via, "the tombstone knows who deleted it")
	require.Equal(t, d.acting.ID, rec.CreatedWith)

	_, err = w.auth.As(w.ada).Activate(t.Context(), d.sibling)
	require.NoError(t, err)
	require.Empty(t, w.stored(d.sibling).History[0].Via)
	require.False(t, w.stored(d.sibling).History[0].Address.IsValid())
}
