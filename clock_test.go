package apitoken_test

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Expiry and not-before are judged at the moment of the decision by the wall clock
// of the machine, but by no less than has passed since New by the monotonic one. So
// a clock that is set forward ends tokens early until it is right again, which
// leaves nothing behind; and one that is set back gives no token more time.

// A wallClock goes where it is set. Its monotonic part, as production has one,
// does not notice, and goes on with pass alone.
type wallClock struct {
	mu   sync.Mutex
	real time.Time
	at   time.Time // without a monotonic part
}

// newClockRig returns a rig with a clock that was right until now.
func newClockRig(t testing.TB, edit ...func(*apitoken.Config)) (*rig, *wallClock) {
	t.Helper()
	now := time.Now()
	c := &wallClock{real: now, at: now.UTC().Truncate(time.Microsecond)}
	return newRigWithClock(t, c.now, edit...), c
}

func (c *wallClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return setBack(c.real, c.real.Round(0).Sub(c.at))
}

func (c *wallClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

// pass lets time go by.
func (c *wallClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real, c.at = c.real.Add(d), c.at.Add(d)
}

const year = 365 * 24 * time.Hour

// expectAt asks with a token at a moment.
func (g *rig) expectAt(t *testing.T, clock *wallClock, at time.Time, text string, want apitoken.Reason) {
	t.Helper()
	clock.set(at)
	_, err := g.Check(newRequest("/", "apiToken "+text), apitoken.All(wireRead))
	if want == "" {
		assert.NoError(t, err, "at %s", at)
	} else {
		assert.ErrorIs(t, err, want, "at %s", at)
	}
	a, s := g.ask(t, newRequest("/", "apiToken "+text))
	assert.Equal(t, want == "", s.called() == 1 && a.status == http.StatusNoContent, "at %s", at)
	if want != "" {
		mustRefuse(t, a, s, invalidToken, "")
	}
}

func TestTheExpiryIsExactToTheMicrosecondInBothDirections(t *testing.T) {
	g, clock := newClockRig(t)
	begin, end := clock.at.Add(24*time.Hour), clock.at.Add(90*24*time.Hour)
	_, secret := g.generate(t, func(a *apitoken.GenerateParams) {
		a.Expiry, a.NotBefore = apitoken.At(end.In(time.FixedZone("", 14*3600))), begin.In(time.FixedZone("", -12*3600))
	})
	text := secret.Reveal()
	for _, c := range []struct {
		at   time.Time
		want apitoken.Reason
	}{
		{begin.Add(-year), apitoken.ErrNotYetValid}, {begin.Add(-time.Hour), apitoken.ErrNotYetValid},
		{begin.Add(-1), apitoken.ErrNotYetValid}, {begin, ""}, {begin.Add(1), ""},
		{end.Add(-time.Hour), ""}, {end.Add(-time.Microsecond), ""}, {end.Add(-1), ""},
		{end, apitoken.ErrExpired}, {end.Add(1), apitoken.ErrExpired}, {end.Add(time.Hour), apitoken.ErrExpired}, {end.Add(year), apitoken.ErrExpired},
		{end.Add(-1), ""}, {begin.Add(-1), apitoken.ErrNotYetValid}, // set forward and then right again
	} {
		g.expectAt(t, clock, c.at, text, c.want)
	}
}

func TestAClockThatJumpsLeavesNothingBehind(t *testing.T) {
	for name, jump := range map[string]time.Duration{"an hour": time.Hour, "a year": year, "a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			g, clock := newClockRig(t)
			start := clock.at
			in, secret := g.generate(t, func(a *apitoken.GenerateParams) { a.Expiry = apitoken.In(jump / 2) })
			text := secret.Reveal()
			never, neverSecret := g.generate(t)

			g.expectAt(t, clock, start, text, "")
			g.expectAt(t, clock, start.Add(jump), text, apitoken.ErrExpired)
			g.expectAt(t, clock, start.Add(jump).Add(-jump), text, "") // no time has passed
			g.expectAt(t, clock, start.Add(-jump), text, "")
			g.expectAt(t, clock, start.Add(jump/2), text, apitoken.ErrExpired)
			g.expectAt(t, clock, start.Add(jump/2).Add(-1), text, "")

			// Once its time has really passed, no setting of the clock brings it back.
			clock.pass(jump/2 - time.Microsecond)
			g.expectAt(t, clock, start.Add(-jump), text, "")
			clock.pass(time.Microsecond)
			for _, at := range []time.Duration{-year, -jump, -1, 0, jump/2 - 1, jump / 2, jump, year} {
				g.expectAt(t, clock, start.Add(at), text, apitoken.ErrExpired)
			}

			// Expired for good is what nobody extends: not by using it, not by changes.
			clock.set(start.Add(jump))
			_, err := g.As(ada).Activate(t.Context(), in.ID)
			require.NoError(t, err)
			_, _, err = g.As(ada).Rotate(t.Context(), in.ID, 0, "")
			var forbidden *apitoken.ForbiddenError
			assert.ErrorAs(t, err, &forbidden)
			g.expectAt(t, clock, start.Add(jump), text, apitoken.ErrExpired)

			// A deactivation and a deletion have no clock.
			clock.set(start.Add(jump))
			_, err = g.As(ada).Deactivate(t.Context(), never.ID)
			require.NoError(t, err)
			for _, at := range []time.Duration{-year, -jump, -1, 0, 1, jump, year} {
				g.expectAt(t, clock, start.Add(at), neverSecret.Reveal(), apitoken.ErrDeactivated)
			}
			require.NoError(t, g.As(ada).Delete(t.Context(), never.ID))
			for _, at := range []time.Duration{-year, 0, year} {
				g.expectAt(t, clock, start.Add(at), neverSecret.Reveal(), apitoken.ErrUnknownToken)
			}
		})
	}
}

func TestAClockThatIsSetBackBetweenChangesBreaksNone(t *testing.T) {
	g, clock := newClockRig(t)
	start := clock.at
	clock.set(start.Add(year)) // it was ahead
	in, secret := g.generate(t)
	m := g.As(ada)
	clock.set(start)
	in2, second, err := m.Rotate(t.Context(), in.ID, time.Hour, "")
	require.NoError(t, err)
	assert.Greater(t, in2.Version, in.Version)
	g.expectAt(t, clock, start, secret.Reveal(), "")
	g.expectAt(t, clock, start.Add(time.Hour-1), secret.Reveal(), "")
	g.expectAt(t, clock, start.Add(time.Hour), secret.Reveal(), apitoken.ErrRetiredSecret)
	g.expectAt(t, clock, start.Add(year), secret.Reveal(), apitoken.ErrRetiredSecret)
	g.expectAt(t, clock, start.Add(year), second.Reveal(), "")

	// Which secret is the newer one does not depend on the clock.
	clock.set(start)
	_, err = m.EndOverlap(t.Context(), in.ID)
	require.NoError(t, err)
	g.expectAt(t, clock, start, secret.Reveal(), apitoken.ErrRetiredSecret)
	g.expectAt(t, clock, start, second.Reveal(), "")
}

func TestExplainAndTheStatusGoByTheClockOfRequests(t *testing.T) {
	g, clock := newClockRig(t, func(c *apitoken.Config) { c.MaxLifetime = 30 * 24 * time.Hour })
	in, secret := g.generate(t, func(a *apitoken.GenerateParams) { a.Expiry = apitoken.In(time.Hour) })
	start := clock.at
	for _, set := range []time.Duration{0, -time.Minute, -year} { // also a clock that was ahead when the process began
		if set == -time.Minute {
			clock.pass(time.Hour)
		}
		want, status := apitoken.Reason(""), apitoken.StatusActive
		if set != 0 {
			want, status = apitoken.ErrExpired, apitoken.StatusExpired
		}
		g.expectAt(t, clock, start.Add(set), secret.Reveal(), want)
		x, err := g.As(ada).Explain(t.Context(), in.ID, apitoken.All(wireRead), netip.Addr{})
		require.NoError(t, err)
		assert.Equal(t, want == "", len(x.Reasons) == 0, "%v: %v", set, x.Reasons)
		info, err := g.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, status, info.Status, "%v", set)
	}
	administrator := ada
	administrator.ManageOthers = true
	for stopped, err := range reports.PreviewPolicy(t.Context(), g.As(administrator), apitoken.Policy{MaxLifetime: time.Hour}) {
		require.NoError(t, err)
		assert.NotEqual(t, in.ID, stopped.ID, "it is refused already")
	}
}

// Changes take their moment from the wall clock alone. What they promise from then
// on has passed by the monotonic one: a limit, but on the side that refuses.
func TestAnOverlapThatBeginsWithAClockThatWasSetBackEndsAtOnce(t *testing.T) {
	g, clock := newClockRig(t)
	in, secret := g.generate(t)
	clock.set(clock.at.Add(-year))
	_, second, err := g.As(ada).Rotate(t.Context(), in.ID, time.Hour, "")
	require.NoError(t, err)
	g.expectAt(t, clock, clock.at, secret.Reveal(), apitoken.ErrRetiredSecret)
	g.expectAt(t, clock, clock.at, second.Reveal(), "")
}

// A forgetful store says that it records uses, and does not.
type forgetful struct{ *memory.Store }

func (forgetful) Touch(context.Context, []apitoken.Use) error { return nil }

func TestAPolicyIsJudgedByTheClockInBothDirections(t *testing.T) {
	const life = 30 * 24 * time.Hour
	g, clock := newClockRig(t, func(c *apitoken.Config) {
		c.Store, c.MaxLifetime, c.MaxIdle = forgetful{memory.New()}, life, 2*time.Hour
	})
	start := clock.at
	_, secret := g.generate(t, func(a *apitoken.GenerateParams) { a.Expiry = apitoken.In(life) })
	for _, c := range []struct {
		at   time.Duration
		want apitoken.Reason
	}{
		{0, ""}, {2*time.Hour - 1, ""}, {2 * time.Hour, apitoken.ErrIdle}, {life - 1, apitoken.ErrIdle}, {life, apitoken.ErrExpired},
		{year, apitoken.ErrExpired}, {time.Hour, ""}, {-time.Hour, ""}, {-year, ""}, {3 * time.Hour, apitoken.ErrIdle},
	} {
		g.expectAt(t, clock, start.Add(c.at), secret.Reveal(), c.want)
	}
	clock.pass(2 * time.Hour)
	g.expectAt(t, clock, start.Add(-year), secret.Reveal(), apitoken.ErrIdle)
	clock.pass(life)
	g.expectAt(t, clock, start.Add(-year), secret.Reveal(), apitoken.ErrExpired)
}

func TestATokenExpiresWhileTheStoreIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, noCache)
		_, secret := g.generate(t, func(a *apitoken.GenerateParams) { a.Expiry = apitoken.In(time.Second) })
		time.Sleep(time.Second - 1)
		a, s := g.ask(t, newRequest("/", "apiToken "+secret.Reveal()))
		require.Equal(t, 204, a.status)
		require.Equal(t, 1, s.called())
		g.event(t)
		g.store.get = slowGet(g, time.Nanosecond)
		a, s = g.ask(t, newRequest("/", "apiToken "+secret.Reveal()))
		mustRefuse(t, a, s, invalidToken, "")
		require.Equal(t, apitoken.ErrExpired, g.event(t).Reason)
	})
}

func slowGet(g *rig, d time.Duration) func(context.Context, string) (apitoken.Record, error) {
	return func(ctx context.Context, id string) (apitoken.Record, error) {
		time.Sleep(d)
		return g.store.Store.Get(ctx, id)
	}
}

// setBack returns t as it is read when the wall clock has been set back by d since
// the process began, which the monotonic clock does not notice.
func setBack(t time.Time, d time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t)) // package time: a flag, 33 bits of seconds, 30 of nanoseconds
	const flag, nano = 1 << 63, 1<<30 - 1
	at := time.Duration(*wall&^flag>>30)*time.Second + time.Duration(*wall&nano) - d
	*wall = flag | uint64(at/time.Second)<<30 | uint64(at%time.Second)
	return t
}

func TestAnExpiredTokenStaysSoWhenTheWallClockIsSetBack(t *testing.T) {
	real := time.Now()
	require.Equal(t, time.Hour+1, real.Round(0).Sub(setBack(real, time.Hour+1).Round(0)))
	require.Zero(t, real.Sub(setBack(real, time.Hour)), "for the monotonic clock nothing happened")

	for _, back := range []time.Duration{0, time.Hour, 365 * 24 * time.Hour} {
		now, setBy := time.Now(), time.Duration(0)
		g := newRigWithClock(t, func() time.Time { return setBack(now, setBy) })
		info, secret := g.generate(t, func(a *apitoken.GenerateParams) { a.Expiry = apitoken.In(time.Minute) })
		setBy = back
		require.Equal(t, 204, g.get(secret.Reveal()))
		now = now.Add(time.Minute - time.Microsecond)
		require.Equal(t, 204, g.get(secret.Reveal()), "set back by %v", back)
		now = now.Add(time.Microsecond)
		require.Equal(t, 401, g.get(secret.Reveal()), "set back by %v", back)
		require.NotEmpty(t, info.ID)
	}
}

func TestATokenExpiresWhenTheWallClockIsSetForward(t *testing.T) {
	now := time.Now()
	g := newRigWithClock(t, func() time.Time { return now })
	_, secret := g.generate(t, func(a *apitoken.GenerateParams) { a.Expiry = apitoken.In(time.Minute) })
	require.Equal(t, 204, g.get(secret.Reveal()))
	now = setBack(now, -time.Hour)
	require.Equal(t, 401, g.get(secret.Reveal()))
}

func TestWhatIsInMemoryDoesNotBecomeFreshWhenTheWallClockIsSetBack(t *testing.T) {
	for _, back := range []time.Duration{0, time.Hour, 365 * 24 * time.Hour} {
		now := time.Now()
		g := newRigWithClock(t, func() time.Time { return now })
		require.Equal(t, 204, g.get(goodToken.text))
		g.deactivateElsewhere(t, goodToken.id)
		now = setBack(now.Add(time.Second), back)
		require.Equal(t, 204, g.get(goodToken.text))
		now = now.Add(1)
		require.Equal(t, 401, g.get(goodToken.text), "set back by %v", back)
	}
}

func TestWhatIsInMemoryIsOldAfterASuspendThatTheMonotonicClockDidNotNotice(t *testing.T) {
	now := time.Now()
	g := newRigWithClock(t, func() time.Time { return now })
	require.Equal(t, 204, g.get(goodToken.text))
	g.deactivateElsewhere(t, goodToken.id)
	now = setBack(now, -time.Hour)
	require.Equal(t, 401, g.get(goodToken.text))
}

func TestTheLongestLifetimeEndsATokenWithALaterExpiryOfItsOwn(t *testing.T) {
	g, clock := newClockRig(t, func(c *apitoken.Config) { c.MaxLifetime = 24 * time.Hour })
	created := clock.at
	end := created.Add(24 * time.Hour)
	for name, expiry := range map[string]time.Time{
		"later by a microsecond": end.Add(time.Microsecond), "later by a year": end.Add(year), "the same": end, "none": {},
	} {
		tok := mint(name)
		rec := tok.record(wireRead)
		rec.CreatedAt, rec.ExpiresAt = created, expiry
		require.NoError(t, g.store.Create(t.Context(), rec))
		g.expectAt(t, clock, created, tok.text, "")
		g.expectAt(t, clock, end.Add(-time.Microsecond), tok.text, "")
		g.expectAt(t, clock, end, tok.text, apitoken.ErrExpired)
		g.expectAt(t, clock, end.Add(time.Hour), tok.text, apitoken.ErrExpired)
	}
}
