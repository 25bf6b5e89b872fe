package apitoken

import (
	"time"
	"unsafe"
)

// NewWithClock is New with a clock in place of time.Now, from the start on.
func NewWithClock(c Config, now func() time.Time) (*Authority, error) { return newAuthority(c, now) }

// RaceEnabled says that the race detector makes everything ten times slower. Then
// the largest tables and texts are taken in part or not at all; the coverage gate and
// the tests of the module alone run all of them, without it.
var RaceEnabled bool

// EntrySize is what a token in memory takes beside its place in the table, in bytes.
const EntrySize = unsafe.Sizeof(*node{}.Plain) + unsafe.Sizeof(pointers{})
