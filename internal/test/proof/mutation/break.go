package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A brk is a small edit of a file that makes it wrong: source[from:to] becomes
// text.
type brk struct {
	file     string
	from, to int
	text     string

	line     int
	what     string // what it breaks, or what the mutator did
	old, new string // the code, to show
	seeded   bool
	result
}

func (b *brk) String() string { return fmt.Sprintf("%s:%d: %s", b.file, b.line, b.what) }

// dir is the directory of its package, "." for the root package.
func (b *brk) dir() string { return path.Dir(b.file) }

// directories are those with breaks.
func directories(breaks []*brk) map[string]bool {
	dirs := map[string]bool{}
	for _, b := range breaks {
		dirs[b.dir()] = true
	}
	return dirs
}

func at(file string, source []byte, from, to int, text, what string) *brk {
	return &brk{
		file: file, from: from, to: to, text: text,
		line: 1 + strings.Count(string(source[:from]), "\n"), what: what,
		old: oneLine(string(source[from:to])), new: oneLine(text),
	}
}

// oneLine is a piece of code as it can stand in a table.
func oneLine(code string) string {
	code = strings.Join(strings.Fields(code), " ")
	if len(code) > 90 {
		code = code[:87] + "..."
	}
	return code
}

// seededBreaks makes the breaks of seeds.go. It is an error if the code that one
// replaces is not there, or there more than once: the list has to follow the code.
func seededBreaks(root string) ([]*brk, error) {
	var breaks []*brk
	for _, s := range seeds {
		source, err := os.ReadFile(filepath.Join(root, s.file))
		if err != nil {
			return nil, err
		}
		i := strings.Index(string(source), s.old)
		if i < 0 || strings.Contains(string(source[i+1:]), s.old) {
			return nil, fmt.Errorf("%s has not exactly once what is to be broken (%s): %s", s.file, s.breaks, s.old)
		}
		b := at(s.file, source, i, i+len(s.old), s.new, s.breaks)
		b.seeded = true
		breaks = append(breaks, b)
	}
	return breaks, nil
}
