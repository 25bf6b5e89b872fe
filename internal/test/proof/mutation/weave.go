package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A program for each break would take longer to compile than to test. So there is
// one with all of them: beside each function stand its broken copies, and at its
// beginning it looks at an environment variable and calls one of them instead.

// variable names the environment variable with the number of the break, which is
// its index and one.
const variable = "APITOKEN_BREAK"

const switchFile = "break_switch.go"

const switchSource = `package %s

import (
	"os"
	"strconv"
)

var breakNumber, _ = strconv.Atoi(os.Getenv("` + variable + `"))
`

// A woven is a file with broken copies of its functions.
type woven struct {
	pkg   string // the name of its package
	text  string
	begin []int // the lines at which copies begin, ascending
	of    []int // the number of the break of each
}

// breakAt returns the number of the break whose copy has a line, 0 for none.
func (w *woven) breakAt(line int) int {
	i, _ := slices.BinarySearch(w.begin, line+1)
	if i == 0 {
		return 0
	}
	return w.of[i-1]
}

// weave makes the woven form of every file of a directory that breaks are in.
// Those that cannot be woven in get the verdict invalid.
func weave(root, dir string, breaks []*brk) (map[string]*woven, error) {
	files := map[string]*woven{}
	for i, b := range breaks {
		if b.verdict != "" || b.dir() != dir {
			continue
		}
		if files[b.file] == nil {
			files[b.file] = new(woven)
		}
		files[b.file].of = append(files[b.file].of, i+1)
	}
	for file, w := range files {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, file, source, 0)
		if err != nil {
			return nil, err
		}
		offset := func(p token.Pos) int { return set.Position(p).Offset }
		calls := map[*ast.FuncDecl]string{} // what a function begins with
		var copies strings.Builder
		line := strings.Count(string(source), "\n") + 1
		numbers := w.of
		w.pkg, w.of = tree.Name.Name, nil
		for _, number := range numbers {
			b := breaks[number-1]
			f := functionAround(tree, b, offset)
			if f == nil {
				b.result = result{verdict: invalid, by: "it is in no function"}
				continue
			}
			name := fmt.Sprintf("broken%d_%s", number, f.Name.Name) // tests that list what is exported do not find it
			call, err := callOf(f, name)
			if err != nil {
				b.result = result{verdict: invalid, by: err.Error()}
				continue
			}
			calls[f] += fmt.Sprintf(" case %d: %s;", number, call)
			begin, named, end := offset(f.Pos()), offset(f.Name.Pos()), offset(f.End())
			text := "\n" + string(source[begin:named]) + name + string(source[named+len(f.Name.Name):b.from]) + b.text + string(source[b.to:end]) + "\n"
			w.begin, w.of = append(w.begin, line), append(w.of, number)
			copies.WriteString(text)
			line += strings.Count(text, "\n")
		}
		var text strings.Builder
		text.Write(source[:offset(tree.Name.End())])
		last := offset(tree.Name.End())
		for _, name := range missingImports(tree, breaks, w.of) {
			fmt.Fprintf(&text, "; import %q", name)
		}
		for _, decl := range tree.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && calls[f] != "" {
				body := offset(f.Body.Lbrace) + 1
				text.Write(source[last:body])
				text.WriteString(" switch breakNumber {" + calls[f] + " };")
				last = body
			}
		}
		text.Write(source[last:])
		w.text = text.String() + copies.String()
	}
	return files, nil
}

// qualified are the packages that the text of a seed may use, wherever its function
// is: a file that does not import them gets the import.
var qualified = map[string]string{
	"bytes": "bytes", "cmp": "cmp", "context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "netip": "net/netip",
	"slices": "slices", "strings": "strings", "time": "time",
}

// qualifiers are the identifiers before a dot in a piece of code.
func qualifiers(code string) (names []string) {
	var s scanner.Scanner
	set := token.NewFileSet()
	s.Init(set.AddFile("", -1, len(code)), []byte(code), func(token.Position, string) {}, 0)
	var before, last token.Token
	var name string
	for {
		_, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return names
		case tok == token.PERIOD && last == token.IDENT && before != token.PERIOD:
			names = append(names, name)
		}
		before, last, name = last, tok, text
	}
}

// missingImports are the packages that breaks, given by number, need in a file.
func missingImports(tree *ast.File, breaks []*brk, numbers []int) []string {
	has := map[string]bool{}
	for _, spec := range tree.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		has[name] = true
	}
	var missing []string
	for _, number := range numbers {
		for _, q := range qualifiers(breaks[number-1].text) {
			if name, ok := qualified[q]; ok && !has[name] {
				has[name] = true
				missing = append(missing, name)
			}
		}
	}
	return missing
}

func functionAround(tree *ast.File, b *brk, offset func(token.Pos) int) *ast.FuncDecl {
	for _, decl := range tree.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil && offset(f.Body.Pos()) <= b.from && b.to <= offset(f.End()) {
			return f
		}
	}
	return nil
}

// callOf is a call of the copy of a function from its first line.
func callOf(f *ast.FuncDecl, name string) (string, error) {
	var args []string
	for _, p := range f.Type.Params.List {
		if len(p.Names) == 0 {
			return "", fmt.Errorf("%s has a parameter without a name", f.Name.Name)
		}
		for _, n := range p.Names {
			if n.Name == "_" {
				return "", fmt.Errorf("%s has a parameter without a name", f.Name.Name)
			}
			arg := n.Name
			if _, variadic := p.Type.(*ast.Ellipsis); variadic {
				arg += "..."
			}
			args = append(args, arg)
		}
	}
	recovers := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		recovers = recovers || ok && id.Name == "recover"
		return true
	})
	if recovers {
		return "", fmt.Errorf("%s recovers from panics, which it can do only where it was deferred", f.Name.Name)
	}
	if f.Recv != nil {
		if len(f.Recv.List[0].Names) == 0 {
			return "", fmt.Errorf("%s has a receiver without a name", f.Name.Name)
		}
		name = f.Recv.List[0].Names[0].Name + "." + name
	}
	call := name + "(" + strings.Join(args, ", ") + ")"
	if f.Type.Results == nil {
		return call + "; return", nil
	}
	return "return " + call, nil
}
