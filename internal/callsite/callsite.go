// Package callsite finds the place in the source from which a package was called.
package callsite

import (
	"fmt"
	"runtime"
	"strings"
)

// Outside returns the file:line of the first caller outside a package. Its tests are outside.
func Outside(pkg string) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, pkg+".") || strings.HasSuffix(f.File, "_test.go") || !more {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}
