package sqlite

import (
	"testing"
	"time"
)

func TestProcessesOnOneFileAddUpInOneSum(t *testing.T) {
	path := newPath(t)
	here, there := mustOpen(t, path), mustOpen(t, path)
	for i, s := range []*Store{here, there, here} {
		sums, err := s.Count(t.Context(), map[string]time.Duration{"one": time.Hour, "two": 0})
		added := time.Duration(i+1) * time.Hour
		if err != nil || sums["one"] > added || sums["one"] < added-10*time.Minute || sums["two"] != 0 {
			t.Errorf("after %s the sums are %s (%v)", added, sums, err)
		}
	}
}

// To set the clock back is to the row as if it had been written later, and the other way round.
func TestAClockThatIsSetTakesNothingFromASumOrAllOfIt(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	db := database(t, path)
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
	mustExec(t, db, `UPDATE apitoken_limits SET at = at + 3600000000`)
	if got := count(time.Minute); got != sum+time.Minute {
		t.Errorf("after the clock was set back the sum is %s; want %s", got, sum+time.Minute)
	}
	mustExec(t, db, `UPDATE apitoken_limits SET at = at - 600000000`)
	if got := count(0); got > sum-9*time.Minute || got < sum-9*time.Minute-little {
		t.Errorf("ten minutes after that the sum is %s; want %s", got, sum-9*time.Minute)
	}
	mustExec(t, db, `UPDATE apitoken_limits SET at = at - 3600000000`)
	if got := count(time.Minute); got != time.Minute {
		t.Errorf("after the clock was set forward the sum is %s; want what was added", got)
	}
}

func TestSumsThatAreOverAreRemoved(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	db := database(t, path)
	count := func(key string) {
		t.Helper()
		if _, err := s.Count(t.Context(), map[string]time.Duration{key: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	count("over")
	count("not over")
	mustExec(t, db, `UPDATE apitoken_limits SET at = at - 7200000000 WHERE key = 'over'`)
	count("other")
	if n := rowsOf(t, db, "apitoken_limits"); n != 3 {
		t.Errorf("there are %d sums; they are looked through every ten minutes only", n)
	}
	s.swept = time.Time{}
	count("other")
	if n := rowsOf(t, db, "apitoken_limits"); n != 2 {
		t.Errorf("there are %d sums; want 2", n)
	}
}

// A change waits for the disk, also after Count has written to the same log.
func TestOnlyCountDoesNotWaitForTheDisk(t *testing.T) {
	s := mustOpen(t, newPath(t))
	for _, c := range []struct {
		writer *writer
		want   int
	}{{&s.counter, 1}, {&s.writer, 2}} {
		var synchronous int
		if err := c.writer.conn.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&synchronous); err != nil || synchronous != c.want {
			t.Errorf("synchronous = %d (%v); want %d", synchronous, err, c.want)
		}
	}
}
