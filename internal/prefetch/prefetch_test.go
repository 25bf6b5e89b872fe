package prefetch

import (
	"testing"
	"unsafe"
)

func TestAnythingCanBeAskedForAndNothingChanges(t *testing.T) {
	n := 7
	Line(unsafe.Pointer(&n))
	Line(nil)
	if n != 7 {
		t.Error(n)
	}
}
