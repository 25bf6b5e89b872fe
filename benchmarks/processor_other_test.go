//go:build !unix

package benchmarks

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
