//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// The promise, in seconds, and without a word on speed.
var brief = scale{
	revocations: 30, rows: 10_000, maxStaleness: time.Second / 2,
	fault: 2 * time.Second, outage: 2 * time.Second, pause: 100 * time.Millisecond,
}

func TestOnPostgreSQLADeactivationIsNeverSeenLaterThanMaxStaleness(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	keepsThePromise(t, newPostgres(t))
}

func TestOnRedisADeactivationIsNeverSeenLaterThanMaxStaleness(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	keepsThePromise(t, newRedis(t))
}

// make check has no time for a third engine.
func TestOnMariaDBADeactivationIsNeverSeenLaterThanMaxStaleness(t *testing.T) {
	testserver.LongVariant(t)
	keepsThePromise(t, newMariaDB(t))
}

func keepsThePromise(t *testing.T, e *engine) {
	s := brief
	nothing := func(t *testing.T, wrong []string) {
		for _, w := range wrong {
			t.Error(w)
		}
	}
	t.Run("the feed is up", func(t *testing.T) {
		v := measureRevocations(t, e, s.revocations, s.maxStaleness)
		nothing(t, v.wrong)
	})
	t.Run("the feed fails", func(t *testing.T) {
		for _, x := range faultsOf(e) {
			t.Run(x.name, func(t *testing.T) {
				t.Parallel()
				v := underFault(t, e, x, s.maxStaleness, s.fault, s.pause)
				nothing(t, v.wrong)
				if v.revoked == 0 || len(v.other) == 0 {
					t.Error("nothing was deactivated, or refused")
				}
			})
		}
	})
	for _, o := range outagesOf(t, e) {
		t.Run("the store is "+o.name, func(t *testing.T) {
			v := underOutage(t, e, o, s.maxStaleness, s.outage)
			nothing(t, v.wrong)
		})
	}
	if e.dsn != "" {
		t.Run("a cold start", func(t *testing.T) {
			nothing(t, startCold(t, e, s.rows).wrong)
		})
	}
}

func TestTheReportCountsWhatIsWrong(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out}
	r.fault(fault{name: "a fault"}, faulty{verdict: verdict{wrong: []string{"one", "two"}}})
	if !strings.Contains(out.String(), "| 2 |") || len(r.broken) != 2 {
		t.Errorf("%s%v", &out, r.broken)
	}
}
