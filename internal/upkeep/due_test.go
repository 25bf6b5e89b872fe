package upkeep

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

func TestWhatIsDueFollowsFromTheTimesOfAToken(t *testing.T) {
	rules := Rules{Notify: true, KeepExpired: 90 * day, KeepDeleted: 30 * day}
	reused := claims{}.with(claim{what: Reuse, due: noon, at: noon})
	living := func(lifetime, left time.Duration) Token {
		end := noon.Add(left)
		return Token{Active: true, CreatedAt: end.Add(-lifetime), ExpiresAt: end, EndsAt: end}
	}
	edited := func(t Token, edit func(*Token)) Token { edit(&t); return t }
	for _, c := range []struct {
		name  string
		rules Rules
		token Token
		want  []Work
	}{
		{"no expiry", rules, Token{Active: true, CreatedAt: noon.Add(-day)}, nil},
		{"just before 30 days", rules, living(365*day, 30*day+time.Microsecond), nil},
		{"30 days before", rules, living(365*day, 30*day), []Work{{Expiring, noon}}},
		{"15 days before", rules, living(365*day, 15*day), []Work{{Expiring, noon.Add(-15 * day)}}},
		{"just before 7 days", rules, living(365*day, 7*day+time.Microsecond), []Work{{Expiring, noon.Add(-23*day + time.Microsecond)}}},
		{"7 days before, and not the notice of 30 days", rules, living(365*day, 7*day), []Work{{Expiring, noon}}},
		{"a day before", rules, living(365*day, day), []Work{{Expiring, noon}}},
		{"a second before", rules, living(365*day, time.Second), []Work{{Expiring, noon.Add(time.Second - day)}}},
		{"the expiry", rules, living(365*day, 0), []Work{{Expired, noon}}},
		{"almost a week later", rules, living(365*day, -7*day+time.Microsecond), []Work{{Expired, noon.Add(-7*day + time.Microsecond)}}},
		{"a week later", rules, living(365*day, -7*day), nil},
		{"30 days before, of one that lives for 30 days", rules, living(30*day, 30*day), nil},
		{"20 days before, of one that lives for 30 days", rules, living(30*day, 20*day), nil},
		{"30 days before, of one that lives for a little longer", rules, living(30*day+time.Microsecond, 30*day), []Work{{Expiring, noon}}},
		{"5 days before, of one that lives for 7 days", rules, living(7*day, 5*day), nil},
		{"a day before, of one that lives for 7 days", rules, living(7*day, day), []Work{{Expiring, noon}}},
		{"an hour before, of one that lives for a day", rules, living(day, time.Hour), nil},
		{"the expiry of one that lives for an hour", rules, living(time.Hour, 0), []Work{{Expired, noon}}},
		{"inactive", rules, edited(living(365*day, day), func(t *Token) { t.Active = false }), nil},
		{"inactive and expired", rules, edited(living(365*day, 0), func(t *Token) { t.Active = false }), nil},
		{"no notices", Rules{KeepExpired: day}, edited(living(365*day, 0), func(t *Token) { t.Claims = reused }), nil},
		{"ended by the policy", rules, edited(living(365*day, 400*day), func(t *Token) { t.EndsAt = noon }), []Work{{Expired, noon}}},
		{"ended by the policy long ago", rules, Token{Active: true, CreatedAt: noon.Add(-999 * day), EndsAt: noon.Add(-900 * day)}, nil},
		{"just not expired long ago", rules, living(365*day, -90*day+time.Microsecond), nil},
		{"expired long ago", rules, living(365*day, -90*day), []Work{{Delete, noon}}},
		{"expired long ago and inactive", rules, edited(living(365*day, -90*day), func(t *Token) { t.Active = false }), []Work{{Delete, noon}}},
		{"expired long ago, to be kept", rules, edited(living(365*day, -90*day), func(t *Token) { t.Keep = true }), nil},
		{"expired long ago, all are kept", Rules{Notify: true}, living(365*day, -900*day), nil},
		{"to be deleted with a notice", Rules{Notify: true, KeepExpired: day}, living(365*day, -day), []Work{{Expired, noon.Add(-day)}, {Delete, noon}}},
		{"just not deleted long ago", rules, Token{DeletedAt: noon.Add(-30*day + time.Microsecond)}, nil},
		{"deleted long ago", rules, edited(living(365*day, -90*day), func(t *Token) { t.DeletedAt = noon.Add(-30 * day) }), []Work{{Purge, noon}}},
		{"deleted, and nothing is kept", Rules{Notify: true, KeepDeleted: -1}, Token{DeletedAt: noon}, []Work{{Purge, noon}}},
		{"a reuse", rules, Token{Active: true, Claims: reused}, []Work{{Reuse, noon}}},
		{"a reuse of one that is inactive", rules, Token{Claims: reused}, []Work{{Reuse, noon}}},
		{"a reuse a week ago", rules, Token{Claims: claims{}.with(claim{what: Reuse, due: noon.Add(-7 * day)})}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, c.rules.Due(c.token, noon))
		})
	}
}

func TestWorkIsOpenUntilItIsDoneAndForOthersAfterTenMinutes(t *testing.T) {
	work := Work{Expiring, noon}
	later := Work{Expiring, noon.Add(time.Hour)}
	other := Work{Expired, noon}
	claimed := parse(claims{}.with(claim{what: Expiring, due: noon, at: noon}))
	done := parse(claimed.with(claim{what: Expiring, due: noon, at: noon, done: true}))
	for _, c := range []struct {
		name   string
		claims claims
		work   Work
		now    time.Time
		want   bool
	}{
		{"nothing is claimed", claims{}, work, noon, true},
		{"claimed now", claimed, work, noon, false},
		{"claimed ten minutes ago, less a microsecond", claimed, work, noon.Add(10*time.Minute - time.Microsecond), false},
		{"claimed ten minutes ago", claimed, work, noon.Add(10 * time.Minute), true},
		{"claimed by a clock that is ahead", claimed, work, noon.Add(-10 * time.Minute), true},
		{"done", done, work, noon, false},
		{"done long ago", done, work, noon.Add(1000 * day), false},
		{"later work of the kind", done, later, noon, true},
		{"work of another kind", done, other, noon, true},
	} {
		require.Equal(t, c.want, c.claims.open(c.work, c.now), c.name)
	}
}

func TestThereIsOneClaimOfAKindAndTheOthersStay(t *testing.T) {
	var cs claims
	for i, what := range []string{Expiring, Reuse, Expiring, Expired, Reuse} {
		cs = parse(cs.with(claim{what: what, due: noon.Add(time.Duration(i) * time.Hour), at: noon, done: i%2 == 0}))
	}
	require.Len(t, cs.list, 3)
	require.Equal(t, claim{what: Expiring, due: noon.Add(2 * time.Hour), at: noon, done: true}, cs.of(Expiring))
	require.Equal(t, claim{what: Expired, due: noon.Add(3 * time.Hour), at: noon}, cs.of(Expired))
	require.Equal(t, claim{what: Reuse, due: noon.Add(4 * time.Hour), at: noon, done: true}, cs.of(Reuse))
	require.Zero(t, cs.of(Purge))
}

// A later version may have written more than is known here.
func TestWhatIsNotKnownOfClaimsIsKept(t *testing.T) {
	cs := claims{unknown: "\x03\x01x", list: []claim{{what: "later", unknown: "\x09\x01y"}, {what: Reuse, due: noon}}}
	next := parse(cs.with(claim{what: Reuse, due: noon, done: true}))
	require.Equal(t, cs.unknown, next.unknown)
	require.Equal(t, cs.list[0], next.of("later"))
	require.True(t, next.of(Reuse).done)
	for _, text := range []string{"x", "\x01", "\x03\x01x\x01\x00"} {
		require.Empty(t, parse(text), "what cannot be read is none: %q", text)
	}
}
