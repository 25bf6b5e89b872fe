package main

import (
	"fmt"
	"path"
	"strings"
)

// A brk is a small edit of a file that makes it wrong: source[from:to] becomes
// text.
type brk struct {
	file     string
	function string
	from, to int
	text     string

	line     int
	what     string // what it breaks, or what the mutator did
	old, new string // the code, to show
	seeded   bool
	why      string // nobody can notice it, "" if somebody can
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

// place makes a break of a part of a file.
func place(s *source, from, to int, text string) *brk {
	b := &brk{file: s.name, from: from, to: to, text: text, line: 1 + strings.Count(string(s.text[:from]), "\n")}
	b.old, b.new = oneLine(string(s.text[from:to])), oneLine(text)
	return b
}

// same reports whether two breaks make the same program.
func (b *brk) same(o *brk, s *source) bool {
	return b.file == o.file && string(s.text[:b.from])+b.text+string(s.text[b.to:]) == string(s.text[:o.from])+o.text+string(s.text[o.to:])
}

// oneLine is a piece of code as it can stand in a table.
func oneLine(code string) string {
	code = strings.Join(strings.Fields(code), " ")
	if len(code) > 90 {
		code = code[:87] + "..."
	}
	return code
}

// A stale is an entry of our lists that is not, or no more, about the code as it is.
type stale struct{ entry, why string }

func (s stale) String() string { return s.entry + ": " + s.why }

// seededBreaks makes the breaks of a list of seeds. Those that cannot be made are
// gone, and those that were found in another function than they name are moved: the
// list has to be brought up to date some time, but the code may change before.
func seededBreaks(l *library, seeds []seed) (breaks []*brk, gone, moved []stale) {
	became := map[string]string{} // functions that were found under another name
	for _, s := range seeds {
		if _, elsewhere, err := l.where(s.in, s.edit); err == nil && elsewhere != "" {
			if name, ok := became[s.in]; ok && name != elsewhere {
				elsewhere = "" // it was split, or what was found is something else
			}
			became[s.in] = elsewhere
		}
	}
	for _, s := range seeds {
		b, elsewhere, err := l.where(s.in, s.edit)
		if name := became[s.in]; err != nil && name != "" {
			dir, _ := split(s.in)
			if b, _, err = l.where(dir+" "+name, s.edit); err == nil {
				elsewhere = name
			}
		}
		if err != nil {
			gone = append(gone, stale{s.breaks, err.Error()})
			continue
		}
		if elsewhere != "" {
			moved = append(moved, stale{s.breaks, fmt.Sprintf("found in %s, not in %s", elsewhere, s.in)})
		}
		b.what, b.seeded, b.why = s.breaks, true, arguedSeeds[s.breaks]
		breaks = append(breaks, b)
	}
	return breaks, gone, moved
}

// argue gives breaks of the mutator the reasons why nobody can notice them, and
// returns the entries that are about none of all that it can make.
func argue(l *library, all []*brk, entries []argument) (gone []stale) {
	for _, a := range entries {
		b, _, err := l.where(a.in, a.edit)
		if err != nil {
			gone = append(gone, stale{a.in + ", " + a.edit.said, err.Error()})
			continue
		}
		s := l.source(b.file)
		found := false
		for _, o := range all {
			if o.function == b.function && o.same(b, s) {
				o.why, found = a.why, true
			}
		}
		if !found {
			gone = append(gone, stale{a.in + ", " + a.edit.said, "the mutator makes no such break"})
		}
	}
	return gone
}

// unusedArguments are the reasons that are given for no seed.
func unusedArguments(seeds []seed) (gone []stale) {
	said := map[string]bool{}
	for _, s := range seeds {
		said[s.breaks] = true
	}
	for breaks := range arguedSeeds {
		if !said[breaks] {
			gone = append(gone, stale{breaks, "no seed says this"})
		}
	}
	return gone
}
