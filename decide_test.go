package apitoken

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A situation is a combination of facts, told in words: by fact, what is so. The
// model below knows the words and the order of the answers, and nothing of evaluate.
type situation map[string]string

const testNow, testDay = int64(1_900_000_000_000_000), int64(86_400_000_000)

// situations calls f for every combination of what can be so.
func situations(f func(situation, *facts)) {
	answers := func(set func(*facts, answer), words ...string) []func(situation, *facts, string) {
		var choices []func(situation, *facts, string)
		for i, word := range words {
			choices = append(choices, func(s situation, f *facts, name string) {
				s[name] = word
				set(f, answer(i))
			})
		}
		return choices
	}
	parts := []struct {
		name    string
		choices []func(situation, *facts, string)
	}{
		{"credential", answers(func(f *facts, a answer) { f.credential = a }, "", "one", "none", "malformed")[1:]},
		{"need", answers(func(f *facts, a answer) { f.requirement = a * failed }, "", "senseless")},
		{"record", answers(func(f *facts, a answer) { f.record = a }, "", "there", "unknown", "unreadable", "of a later version", "not waited for")},
		{"secret", answers(func(f *facts, a answer) { f.secret = a }, "", "right", "wrong")},
		{"until", answers(func(f *facts, a answer) {
			f.until = []int64{noTime, testNow + 1, testNow}[a]
		}, "never", "later", "past")},
		{"life", answers(func(f *facts, a answer) {
			l := life{Created: testNow - 40*testDay, Expires: noTime, NotBefore: noTime, Used: testNow - testDay}
			f.policy = Policy{MaxIdle: 30 * 24 * 3600e9}
			f.now = testNow
			switch a {
			case 0:
				return
			case 2:
				l.Inactive = true
			case 3:
				l.Expires = testNow
			case 4:
				f.policy.MaxLifetime, l.Expires = 40*24*3600e9, testNow+testDay
			case 5:
				l.Used = testNow - 30*testDay
			case 6:
				l.NotBefore = testNow + 1
			case 7:
				l.Inactive, l.Expires, l.Used, l.NotBefore = true, testNow, noTime, testNow+1
			case 8:
				f.blocked = true
			case 9:
				f.ends = testNow // a derived token, whose parent goes on
			}
			f.life = &l
		}, "", "good", "inactive", "expired", "too old", "idle", "early", "all four", "blocked", "derived, and over")},
		{"environment", answers(func(f *facts, a answer) { f.environment = a }, "", "same", "other", "unknown")},
		{"address", answers(func(f *facts, a answer) { f.address = a }, "", "inside", "outside", "unknown")},
		{"owner", answers(func(f *facts, a answer) {
			f.owner = [...]answer{notAsked, yes, no, failed, abandoned}[a]
		}, "", "there", "gone", "unknown", "not waited for")},
		{"permissions", answers(func(f *facts, a answer) { f.permissions = a }, "", "enough", "too few")},
	}
	// The four answers about objects take turns, which meets each of the others with all of
	// them: four times as many combinations would take as much longer.
	objects := answers(func(f *facts, a answer) { f.objects = a }, "", "of its", "of others", "unknown")
	n := 0
	var walk func(i int, s situation, so *facts)
	walk = func(i int, s situation, so *facts) {
		if i == len(parts) {
			objects[n%len(objects)](s, so, "objects")
			n++
			f(s, so)
			return
		}
		for _, choose := range parts[i].choices {
			next := *so
			choose(s, &next, parts[i].name)
			walk(i+1, s, &next)
		}
	}
	walk(0, situation{}, &facts{})
}

// answers are the answers to requests in their order, each with when it is given.
var answers = []struct {
	reason Reason
	when   func(s situation) bool
}{
	{ErrMalformed, func(s situation) bool { return s["credential"] == "malformed" }},
	{ErrNoToken, func(s situation) bool { return s["credential"] == "none" }},
	{ErrUnavailable, func(s situation) bool { return s["need"] == "senseless" }},
	{ErrUnknownToken, func(s situation) bool { return s["record"] == "unknown" }},
	{ErrUnavailable, func(s situation) bool { return s["record"] == "unreadable" }},
	{errNewerRecord, func(s situation) bool { return s["record"] == "of a later version" }},
	{errCanceled, func(s situation) bool { return s["record"] == "not waited for" }},
	{ErrWrongSecret, func(s situation) bool { return s["secret"] == "wrong" }},
	{ErrRetiredSecret, func(s situation) bool { return s["life"] != "" && s["until"] == "past" }},
	{ErrUnavailable, func(s situation) bool { return s["environment"] == "unknown" }},
	{ErrEnvironment, func(s situation) bool { return s["environment"] == "other" }},
	{ErrDeactivated, func(s situation) bool {
		return s["life"] == "inactive" || s["life"] == "blocked" || s["life"] == "all four"
	}},
	{ErrExpired, func(s situation) bool {
		return s["life"] == "expired" || s["life"] == "too old" || s["life"] == "all four" || s["life"] == "derived, and over"
	}},
	{ErrIdle, func(s situation) bool { return s["life"] == "idle" || s["life"] == "all four" }},
	{ErrNotYetValid, func(s situation) bool { return s["life"] == "early" || s["life"] == "all four" }},
	{ErrUnavailable, func(s situation) bool { return s["address"] == "unknown" }},
	{ErrAddressNotAllowed, func(s situation) bool { return s["address"] == "outside" }},
	{ErrNoOwner, func(s situation) bool { return s["owner"] == "gone" }},
	{ErrUnavailable, func(s situation) bool { return s["owner"] == "unknown" }},
	{errCanceled, func(s situation) bool { return s["owner"] == "not waited for" }},
	{ErrMissingPermission, func(s situation) bool { return s["permissions"] == "too few" }},
	{ErrResourceNotAllowed, func(s situation) bool { return s["objects"] == "of others" }},
	{errUnknownResource, func(s situation) bool { return s["objects"] == "unknown" }},
}

func TestEveryCombinationOfFactsHasTheReasonsOfTheTableInItsOrder(t *testing.T) {
	n, accepted := 0, 0
	situations(func(s situation, f *facts) {
		if n++; RaceEnabled && n%61 != 0 { // there are no goroutines in it
			return
		}
		got := evaluate(f)
		i := 0
		for _, a := range answers {
			if !a.when(s) {
				continue
			}
			if i >= int(got.n) || reasons[got.rows[i]].reason != a.reason {
				require.Equal(t, a.reason, got.all()[min(i, int(got.n)):], "reason %d of %v: %v", i, s, got.all())
			}
			i++
		}
		if i != int(got.n) {
			require.Equal(t, i, got.n, "%v: %v", s, got.all())
		}
		if got.first() == "" {
			accepted++
		}
	})
	t.Logf("%d combinations, %d accepted", n, accepted)
	assert.Greater(t, n, 300_000)
	assert.NotZero(t, accepted)
}

func TestNoReasonStandsAgainstWhatWasNotAsked(t *testing.T) {
	against := evaluate(&facts{until: noTime})
	assert.Empty(t, against.all())
}

// UnixMicro overflows some 292,000 years from 1970.
func TestATimeBeyondTheRangeOfMicrosecondsIsFarAheadOrFarBack(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for year, want := range map[int]Status{400_000: StatusActive, -400_000: StatusExpired} {
		rec := Record{Status: StatusActive, CreatedAt: now, ExpiresAt: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}
		assert.Equal(t, want, rec.StatusAt(now), year)
	}
}
