package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// fuzz runs every target for FUZZTIME. The default of make check is a number of
// executions, as a time may be over before the fuzzing begins; targets that get by
// fifty times a second, as where a database does the work, have their own.
func fuzz(budget, ofStores string) stage {
	return stage{"fuzz", func(w *workspace, r *results) { fuzzAll(w, r, budget, ofStores) }}
}

func fuzzAll(w *workspace, r *results, budget, ofStores string) {
	r.out.begin("listing the fuzz targets")
	targets, err := findTests(w, fuzzTarget)
	r.out.end("listing the fuzz targets")
	if err != nil {
		r.check("listing the fuzz targets", err)
	}
	cache, err := w.goEnv("GOCACHE") // where the go command keeps what fuzzers have found
	if err != nil {
		r.check("go env", err)
	}
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		r.check("making a directory", err)
		return
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "fuzz.exe") // a package's tests, compiled once for all its targets
	built := ""
	for _, t := range targets {
		r.out.begin(r.name(t))
		budget := budget
		if strings.HasPrefix(w.name(t.Package), "stores/") || t.Test == "FuzzPage" { // which makes whole pages
			budget = ofStores
		}
		budget = cmp.Or(os.Getenv("FUZZTIME"), budget)
		var out []byte
		var err error
		if built != t.Package {
			out, err = w.command(w.root.Dir, "go", "test", "-c", "-vet=off", "-fuzz=.", "-o", program, t.Package).CombinedOutput()
		}
		if err == nil {
			built = t.Package
			cmd := w.command(w.dir(t.Package), program, "-test.run=^$", "-test.fuzz=^"+t.Test+"$", "-test.fuzztime="+budget,
				"-test.fuzzcachedir="+filepath.Join(cache, "fuzz", filepath.FromSlash(t.Package)))
			out, err = cmd.CombinedOutput()
		}
		r.out.end(r.name(t))
		done := executions(out)
		if err == nil && done == "" {
			err = fmt.Errorf("nothing was fuzzed in FUZZTIME=%s", budget)
		}
		if err != nil && !(lateStop(out) && done != "") {
			fmt.Fprintf(r.out, "%s\nFAIL  %s: %v\n", out, r.name(t), err)
			r.record(t, failed)
			continue
		}
		fmt.Fprintf(r.out, "ok    %s: %s\n", r.name(t), done)
		r.record(t, passed)
	}
}

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(\w+ \*testing\.F\)`)

// lateStop tells a failure that is none: at the end of its time the fuzzer may
// take its own deadline for an error of the target (golang/go#75804, until Go
// 1.27). A target that fails leaves its input.
func lateStop(out []byte) bool {
	return bytes.Contains(out, []byte("\n    context deadline exceeded\n")) &&
		!bytes.Contains(out, []byte("Failing input written to")) &&
		!bytes.Contains(out, []byte("panic:"))
}

var elapsed = regexp.MustCompile(`elapsed: .*, execs: [1-9]\d*`)

// executions is the last that the fuzzer said of its progress, "" if it did not
// get beyond the inputs that it had.
func executions(out []byte) string {
	all := elapsed.FindAll(out, -1)
	if len(all) == 0 {
		return ""
	}
	return string(all[len(all)-1])
}
