package testserver

import (
	"strings"
	"testing"
)

// watched says that the race detector watches, which makes everything ten times slower.
var watched bool

// Unwatched skips a test where the race detector watches: one that does much, one thing
// after the other, or whose goroutines are watched in another test. "make check" runs
// it without the race detector.
func Unwatched(t testing.TB) {
	t.Helper()
	if watched {
		t.Skip("has no races that other tests do not have; make check runs it")
	}
}

// UnwatchedLists skips what the suite of stores asks of lists, filters and scans, which is
// most of its time and does one thing after the other, where the race detector watches, and
// more parts that take long over a store.
func UnwatchedLists(t testing.TB, more ...string) {
	t.Helper()
	_, name, _ := strings.Cut(t.Name(), "/")
	for _, about := range append(more, "List", "Status", "Position", "Filter", "Counts", "IDsAre", "EnvironmentsAre", "Paging", "ScanReads", "KeysInUse") {
		if strings.Contains(name, about) {
			Unwatched(t)
		}
	}
}
