package apitoken

import (
	"time"
	"unsafe"
)

// NewWithClock is New with a clock in place of time.Now, from the start on.
func NewWithClock(c Config, now func() time.Time) (*Authority, error) { return newAuthority(c, now) }

// EntrySize is what a token in memory takes beside its place in the table, in bytes.
const EntrySize = unsafe.Sizeof(node{})
