package main

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// The files of the root package that the mutator does not break: what is in them
// is data, or shown in documents and examples, or an operation of its own that the
// seeds are about. Other files, also new ones, it breaks.
var notMutated = []string{
	"doc.go", "event.go", "generate.go", "record.go", "refusal.go", "routes.go", "secret.go", "store.go",
}

// spread takes n of all breaks, evenly over the files and over each of them.
func spread(all []*brk, n, skip int) (breaks []*brk) {
	var files []string
	byFile := map[string][]*brk{}
	for _, b := range all {
		if byFile[b.file] == nil {
			files = append(files, b.file)
		}
		byFile[b.file] = append(byFile[b.file], b)
	}
	for i, file := range files {
		all := byFile[file]
		share := (n - len(breaks)) / (len(files) - i)
		if n < 0 || share >= len(all) {
			breaks = append(breaks, all...)
			continue
		}
		for k := range share {
			breaks = append(breaks, all[(k*len(all)/share+skip)%len(all)])
		}
	}
	return breaks
}

// opposite are the operators that one is taken for by mistake.
var opposite = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD,
}

// mutations returns all breaks of a package, in the order of files and of places:
// conditions negated, operators and constants exchanged, statements left out.
func mutations(p *pkg) []*brk {
	var breaks []*brk
	for _, f := range p.functions {
		if !slices.Contains(notMutated, f.source.name) {
			breaks = append(breaks, f.mutations()...)
		}
	}
	return breaks
}

func (f *function) mutations() []*brk {
	var breaks []*brk
	add := func(from, to token.Pos, text, what string) {
		b := place(f.source, f.offset(from), f.offset(to), text)
		b.what, b.function = what, f.name
		breaks = append(breaks, b)
	}
	text := func(n ast.Node) string { return f.code(n.Pos(), n.End()) }
	line := func(n ast.Node) string {
		from, to := f.offset(n.Pos()), f.offset(n.End())
		from = strings.LastIndexByte(string(f.text[:from]), '\n') + 1
		to += strings.IndexByte(string(f.text[to:])+"\n", '\n')
		return oneLine(string(f.text[from:to]))
	}
	negate := func(e ast.Expr) {
		if e != nil {
			add(e.Pos(), e.End(), "!("+text(e)+")", "negate "+oneLine(text(e)))
		}
	}
	drop := func(n ast.Node) { add(n.Pos(), n.End(), "{}", "leave out "+oneLine(text(n))) }
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			negate(n.Cond)
		case *ast.ForStmt:
			negate(n.Cond)
		case *ast.BinaryExpr:
			if other, ok := opposite[n.Op]; ok {
				if lit, ok := n.X.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					break // text, which no minus joins
				}
				end := n.OpPos + token.Pos(len(n.Op.String()))
				add(n.OpPos, end, other.String(), n.Op.String()+" becomes "+other.String()+" in "+oneLine(text(n)))
			}
		case *ast.SwitchStmt:
			if n.Tag == nil {
				for _, c := range n.Body.List {
					for _, e := range c.(*ast.CaseClause).List {
						negate(e)
					}
				}
			}
		case *ast.BasicLit:
			if v, err := strconv.Atoi(n.Value); err == nil && n.Kind == token.INT {
				add(n.Pos(), n.End(), strconv.Itoa(v+1), n.Value+" becomes "+strconv.Itoa(v+1)+" in "+line(n))
			}
		case *ast.Ident:
			if n.Name == "true" || n.Name == "false" {
				other := map[string]string{"true": "false", "false": "true"}[n.Name]
				add(n.Pos(), n.End(), other, n.Name+" becomes "+other+" in "+line(n))
			}
		case *ast.BlockStmt:
			for _, s := range n.List {
				if droppable(s) {
					drop(s)
				}
			}
		case *ast.CaseClause:
			for _, s := range n.Body {
				if droppable(s) {
					drop(s)
				}
			}
		}
		return true
	})
	return breaks
}

// droppable says whether a function may still compile without a statement.
func droppable(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ExprStmt, *ast.DeferStmt, *ast.IncDecStmt, *ast.SendStmt, *ast.GoStmt:
		return true
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE
	case *ast.BranchStmt:
		return s.Label == nil
	case *ast.IfStmt:
		return s.Else == nil
	}
	return false
}
