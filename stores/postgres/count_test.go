package postgres

import (
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// To set the clock of the server back is to the row as if it had been written later, and the other way round.
func TestAClockThatIsSetTakesNothingFromASumOrAllOfIt(t *testing.T) {
	url := inSchema(t, testserver.PostgresDatabase(t))
	s := mustOpen(t, url)
	psql := operator(t, url)
	count := func(add time.Duration) time.Duration {
		t.Helper()
		sums, err := s.Count(t.Context(), map[string]time.Duration{"one": add})
		if err != nil {
			t.Fatal(err)
		}
		return sums["one"]
	}
	const sum, little = 30 * time.Minute, 5 * time.Minute // the machine may be busy
	count(sum)
	mustExec(t, psql, `UPDATE apitoken_limits SET at = at + interval '1 hour'`)
	if got := count(time.Minute); got != sum+time.Minute {
		t.Errorf("after the clock was set back the sum is %s; want %s", got, sum+time.Minute)
	}
	mustExec(t, psql, `UPDATE apitoken_limits SET at = at - interval '10 minutes'`)
	if got := count(0); got > sum-9*time.Minute || got < sum-9*time.Minute-little {
		t.Errorf("ten minutes after that the sum is %s; want %s", got, sum-9*time.Minute)
	}
	mustExec(t, psql, `UPDATE apitoken_limits SET at = at - interval '1 hour'`)
	if got := count(time.Minute); got != time.Minute {
		t.Errorf("after the clock was set forward the sum is %s; want what was added", got)
	}
	if got := count(0); got > time.Minute {
		t.Errorf("nothing was added, and the sum is %s", got)
	}
}
