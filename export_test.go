package apitoken

import (
	"time"
	"unsafe"
)

// SetNow replaces the wall clock of a, before it is used.
func SetNow(a *Authority, now func() time.Time) { a.now = now }

// EntrySize is what a token in memory takes beside its place in the table, in bytes.
const EntrySize = unsafe.Sizeof(entry{})
