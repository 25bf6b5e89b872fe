// Package alias reads strings as bytes, and bytes as strings, without copying them:
// hashes run for every request, and a million tokens show their texts.
package alias

import "unsafe"

// Bytes returns the bytes of a string, which must not be written.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// String returns bytes that nobody writes any more as a string.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
