package valkey_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// To set the clock of the server back is to the value as if it had been written later, and the other way round.
func TestAClockThatIsSetTakesNothingFromASumOrAllOfIt(t *testing.T) {
	server := testserver.Redis(t)
	s := opened(t, server)
	defer s.Close()
	count := func(add time.Duration) time.Duration {
		t.Helper()
		sums, err := s.Count(t.Context(), map[string]time.Duration{"one": add})
		if err != nil {
			t.Fatal(err)
		}
		return sums["one"]
	}
	const key = "apitoken-limit:{one}"
	moved := func(by time.Duration) {
		t.Helper()
		var sum, at int64
		if _, err := fmt.Sscan(do(t, server, "GET", key), &sum, &at); err != nil {
			t.Fatal(err)
		}
		do(t, server, "SET", key, fmt.Sprint(sum, at+by.Microseconds()), "KEEPTTL")
	}
	const sum, little = 30 * time.Minute, 5 * time.Minute // the machine may be busy
	count(sum)
	moved(time.Hour)
	if got := count(time.Minute); got != sum+time.Minute {
		t.Errorf("after the clock was set back the sum is %s; want %s", got, sum+time.Minute)
	}
	moved(-10 * time.Minute)
	if got := count(0); got > sum-9*time.Minute || got < sum-9*time.Minute-little {
		t.Errorf("ten minutes after that the sum is %s; want %s", got, sum-9*time.Minute)
	}
	moved(-time.Hour)
	if got := count(time.Minute); got != time.Minute {
		t.Errorf("after the clock was set forward the sum is %s; want what was added", got)
	}
	if got := count(0); got > time.Minute {
		t.Errorf("nothing was added, and the sum is %s", got)
	}
}
