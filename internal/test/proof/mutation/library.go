package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A library is the source of the packages that are broken.
type library struct {
	root string
	pkgs map[string]*pkg // by directory, "." for the root package
}

// A pkg is the source of one package, without its tests.
type pkg struct {
	set       *token.FileSet
	functions []*function // by file and place
}

// A source is one file.
type source struct {
	name string // from the root of the library
	text []byte
	tree *ast.File
	set  *token.FileSet
}

// A function is one with a body, in its file.
type function struct {
	*source
	name    string // with the type of its receiver: Authority.verify
	decl    *ast.FuncDecl
	parents map[ast.Node]ast.Node
}

// in returns the package in a directory.
func (l *library) in(dir string) (*pkg, error) {
	if p := l.pkgs[dir]; p != nil {
		return p, nil
	}
	names, err := filepath.Glob(filepath.Join(l.root, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &pkg{set: token.NewFileSet()}
	for _, name := range names {
		base := filepath.Base(name)
		if strings.HasSuffix(base, "_test.go") {
			continue
		}
		if ok, err := build.Default.MatchFile(filepath.Dir(name), base); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := p.add(path.Join(dir, base), text); err != nil {
			return nil, err
		}
	}
	if len(p.functions) == 0 {
		return nil, fmt.Errorf("there is no package in %s", dir)
	}
	if l.pkgs == nil {
		l.pkgs = make(map[string]*pkg)
	}
	l.pkgs[dir] = p
	return p, nil
}

// add parses a file.
func (p *pkg) add(name string, text []byte) error {
	tree, err := parser.ParseFile(p.set, name, text, 0)
	if err != nil {
		return err
	}
	s := &source{name, text, tree, p.set}
	for _, decl := range tree.Decls {
		if d, ok := decl.(*ast.FuncDecl); ok && d.Body != nil {
			p.functions = append(p.functions, &function{s, nameOf(d), d, parents(d)})
		}
	}
	return nil
}

// named returns the functions of a name. Several can have the name init.
func (p *pkg) named(name string) []*function {
	var found []*function
	for _, f := range p.functions {
		if f.name == name {
			found = append(found, f)
		}
	}
	return found
}

// nameOf is the name of a function, after the type of its receiver and a dot.
func nameOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch generic := t.(type) {
	case *ast.IndexExpr:
		t = generic.X
	case *ast.IndexListExpr:
		t = generic.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + d.Name.Name
	}
	return d.Name.Name
}

func parents(root ast.Node) map[ast.Node]ast.Node {
	of := make(map[ast.Node]ast.Node)
	var above []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			above = above[:len(above)-1]
			return true
		}
		if len(above) > 0 {
			of[n] = above[len(above)-1]
		}
		above = append(above, n)
		return true
	})
	return of
}

// offset is the place of a position in the file.
func (s *source) offset(p token.Pos) int { return s.set.Position(p).Offset }

// code is the text between two positions.
func (s *source) code(from, to token.Pos) string {
	return string(s.text[s.offset(from):s.offset(to)])
}

// split returns the directory and the name of a function, as seeds give them:
// "Authority.verify" is in the root package, "stores/memory Store.Get" is not.
func split(function string) (dir, name string) {
	if dir, name, ok := strings.Cut(function, " "); ok {
		return dir, name
	}
	return ".", function
}

// where applies an edit to the function of a name. If there is no such function,
// or not what is to be edited in it, and exactly one other function of the package
// has that, the edit applies there, and elsewhere is its name: functions are
// renamed, split and joined.
func (l *library) where(in string, e edit) (b *brk, elsewhere string, err error) {
	dir, name := split(in)
	p, err := l.in(dir)
	if err != nil {
		return nil, "", err
	}
	err = fmt.Errorf("there is no function %s", name)
	for _, f := range p.named(name) {
		if b, err = e.in(f); err == nil {
			return b, "", nil
		}
	}
	var others []*brk
	for _, f := range p.functions {
		if f.name == name {
			continue
		}
		if b, err := e.in(f); err == nil {
			others, elsewhere = append(others, b), f.name
		}
	}
	if len(others) == 1 && !e.weak {
		return others[0], elsewhere, nil
	}
	return nil, "", err
}

// in makes the break that an edit of a function is.
func (e edit) in(f *function) (*brk, error) {
	changes, err := e.apply(f)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.from, b.from) })
	first, last := changes[0].from, changes[len(changes)-1].to
	var text strings.Builder
	at := first
	for _, c := range changes {
		if c.from < at {
			return nil, fmt.Errorf("two edits of %s overlap", f.name)
		}
		text.WriteString(f.code(at, c.from) + c.text)
		at = c.to
	}
	b := place(f.source, f.offset(first), f.offset(last), text.String())
	b.function = f.name
	return b, nil
}

// source is a file that was read before.
func (l *library) source(name string) *source {
	for _, f := range l.pkgs[path.Dir(name)].functions {
		if f.source.name == name {
			return f.source
		}
	}
	return nil
}
