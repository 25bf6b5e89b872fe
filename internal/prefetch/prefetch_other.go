//go:build !amd64 && !arm64

// Package prefetch tells the processor what will be read soon.
package prefetch

import "unsafe"

// Line does nothing on this processor.
func Line(unsafe.Pointer) {}
