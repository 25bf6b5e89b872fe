package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// What the root package's own tests have to reach: this much of the statements of the
// root package and of its parts, and all statements that decide about a request.
const coverageGoal = 95

var parts = []string{
	"alias", "bitset", "bulkhead", "cache", "credential", "cursor", "derived", "entry", "feed", "grammar", "keyring", "limit", "lookup", "network", "permission", "rawquery", "resource", "spelling", "tagged", "text", "usage",
}

// Files by their names, which differ in the root package and its parts.
var decisionPath = []string{
	"application.go", "area.go", "bulkhead.go", "cache.go", "credential.go", "decide.go", "decider.go", "derive.go", "derived.go", "entry.go", "grammar.go",
	"hide.go", "limits.go", "lookup.go", "middleware.go", "object.go", "rawquery.go", "refusal.go", "shared.go", "vary.go",
}

var cover = stage{"coverage of the root package and its parts", func(w *workspace, r *results) {
	err := func() error {
		dir, err := os.MkdirTemp("", "check")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "profile")
		packages := "."
		for _, part := range parts {
			packages += ",./internal/" + part
		}
		r.gotest("go test -cover", w.command(w.root.Dir, "go", slices.Concat(goTest, []string{"-coverpkg=" + packages, "-coverprofile=" + file, "."})...))
		profile, err := os.Open(file)
		if err != nil {
			return err
		}
		defer profile.Close()
		return judgeCoverage(r.out, profile)
	}()
	r.check("coverage", err)
}}

// judgeCoverage reads a cover profile, prints the coverage and says what is
// missing. A line of a profile, from "go doc golang.org/x/tools/cover":
//
//	path/file.go:10.2,12.30 number-of-statements count
func judgeCoverage(out io.Writer, profile io.Reader) error {
	var statements, covered int
	files := map[string][]lines{} // by file, what no test reaches
	for scan := bufio.NewScanner(profile); scan.Scan(); {
		file, block, _ := strings.Cut(scan.Text(), ":")
		var l lines
		var column, n, count int
		if _, err := fmt.Sscanf(block, "%d.%d,%d.%d %d %d", &l.from, &column, &l.to, &column, &n, &count); err != nil {
			continue // "mode: set"
		}
		file = path.Base(file)
		missed := files[file]
		statements += n
		if count > 0 {
			covered += n
		} else {
			missed = append(missed, l)
		}
		files[file] = missed
	}
	if statements == 0 {
		return errors.New("the profile is empty")
	}
	percent := 100 * float64(covered) / float64(statements)
	fmt.Fprintf(out, "%d of %d statements, %.1f %%\n", covered, statements, percent)

	var errs []error
	if percent < coverageGoal {
		errs = append(errs, fmt.Errorf("%.1f %% of the statements is less than %d %%", percent, coverageGoal))
	}
	for _, file := range decisionPath {
		if missed, ok := files[file]; !ok {
			errs = append(errs, fmt.Errorf("%s, of the decision path, has no statements: was it renamed?", file))
		} else if missed != nil {
			errs = append(errs, fmt.Errorf("%s, of the decision path: no test reaches lines %s", file, join(missed)))
		}
	}
	return errors.Join(errs...)
}

type lines struct{ from, to int }

// join lists lines in order, what overlaps or adjoins as one.
func join(list []lines) string {
	slices.SortFunc(list, func(a, b lines) int { return cmp.Compare(a.from, b.from) })
	var joined []lines
	for _, l := range list {
		if last := len(joined) - 1; last >= 0 && l.from <= joined[last].to+1 {
			joined[last].to = max(joined[last].to, l.to)
		} else {
			joined = append(joined, l)
		}
	}
	var texts []string
	for _, l := range joined {
		texts = append(texts, fmt.Sprintf("%d-%d", l.from, l.to))
	}
	return strings.Join(texts, ", ")
}
