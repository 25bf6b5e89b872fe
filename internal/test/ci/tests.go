package main

import (
	"os"
	"path/filepath"
)

var workspaceTests = stage{"all modules together", func(w *workspace, r *results) {
	args := []string{"test", "-json", "-count=1", "-timeout=30m"} // on a slow machine
	if err := raceDetector(w); err == nil {
		// The SQLite that is translated to Go is 16 times slower if every memory
		// access in it is watched, and not where our races are. Not more than that is
		// left out: a package that is not watched may bring the program its copy of a
		// generic function of sync, and then encoding/json seems to race.
		args = append(args, "-race", "-gcflags=modernc.org/sqlite/lib=-race=false")
	} else {
		r.skip("the race detector", "needs a C compiler (Debian: gcc libc6-dev)")
	}
	r.gotest(w.command(w.root.Dir, "go", append(args, "work")...))
}}

// raceDetector tries to link a program with the race detector, which takes cgo,
// a C compiler and a platform that has it.
func raceDetector(w *workspace) error {
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return quiet(w.command(w.root.Dir, "go", "build", "-race", "-buildvcs=false", "-o", filepath.Join(dir, "check"), "./internal/test/ci"))
}

var moduleTests = stage{"each module alone", func(w *workspace, r *results) {
	for _, m := range w.modules {
		r.check("go build in "+w.name(m.Path), quiet(w.alone(m.Dir, "go", "build", "-buildvcs=false", "-o", os.DevNull, "./...")))
		r.check("go vet in "+w.name(m.Path), quiet(w.alone(m.Dir, "go", "vet", "./...")))
		r.gotest(w.alone(m.Dir, "go", "test", "-json", "-count=1", "-short", "-timeout=30m", "./..."))
	}
}}
