package usage

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAUseRepeatsWithinFiveSeconds(t *testing.T) {
	var mark atomic.Int64
	at := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		what    string
		secret  int
		source  uint8
		after   time.Duration
		repeats bool
	}{
		{"the first", 0, 1, 0, false},
		{"the same again", 0, 1, 0, true},
		{"a little later", 0, 1, 4999 * time.Millisecond, true},
		{"by an older secret", 1, 1, 0, false},
		{"from another source", 1, 2, 0, false},
		{"as at first, which is not the last", 0, 1, 0, false},
		{"five seconds later", 0, 1, 5 * time.Second, false},
	} {
		assert.Equal(t, c.repeats, Repeats(&mark, c.secret, c.source, at.Add(c.after)), c.what)
	}
}
