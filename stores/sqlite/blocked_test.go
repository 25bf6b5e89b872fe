package sqlite

import (
	"bufio"
	"io"
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/managertest"
)

// Another process may keep the database locked for writers for as long as it likes.
func TestRevocationsThatCannotBeWrittenInALockedDatabaseAreWrittenLater(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := mustOpen(t, path)
	var unlock io.Closer
	managertest.RunReadOnly(t, s, func() {
		other := child(t, "lock", path, "")
		var err error
		if unlock, err = other.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := other.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Wait() })
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}, func() { unlock.Close() })
}
