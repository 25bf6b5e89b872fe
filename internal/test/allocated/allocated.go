// Package allocated measures what code allocates.
package allocated

import (
	"math"
	"runtime"
)

// Per returns the heap objects and the bytes that one of n calls of f allocates,
// rounded down. The runtime counts for the whole process, so what other goroutines
// allocate meanwhile is added. Per takes the least of many measurements, on one
// processor: each is over before another goroutine has its turn, as a rule.
// f runs once before, for what it allocates only the first time.
func Per(n int, f func()) (objects, bytes uint64) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f()
	objects, bytes = math.MaxUint64, math.MaxUint64
	for range 10 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			f()
		}
		runtime.ReadMemStats(&after)
		objects = min(objects, (after.Mallocs-before.Mallocs)/uint64(n))
		bytes = min(bytes, (after.TotalAlloc-before.TotalAlloc)/uint64(n))
	}
	return objects, bytes
}
