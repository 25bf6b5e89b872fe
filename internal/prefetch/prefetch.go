//go:build amd64 || arm64

// Package prefetch tells the processor what will be read soon.
package prefetch

import "unsafe"

// Line has the cache line at p loaded, without waiting for it. It changes nothing,
// and p may point anywhere.
//
//go:noescape
func Line(p unsafe.Pointer)
