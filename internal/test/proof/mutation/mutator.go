package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
)

// mechanicalBreaks makes n of the breaks that the mutator knows, spread evenly
// over the files and over each of them, and says how many there could be.
func mechanicalBreaks(root string, n, skip int) (breaks []*brk, possible int, err error) {
	for i, file := range mutated {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, 0, err
		}
		all, err := mutations(file, source)
		if err != nil {
			return nil, 0, err
		}
		possible += len(all)
		share := (n - len(breaks)) / (len(mutated) - i)
		if n < 0 || share >= len(all) {
			breaks = append(breaks, all...)
			continue
		}
		for k := range share {
			breaks = append(breaks, all[(k*len(all)/share+skip)%len(all)])
		}
	}
	return breaks, possible, nil
}

// opposite are the operators that one is taken for by mistake.
var opposite = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD,
}

// mutations returns all breaks of a file, in the order of their places:
// conditions negated, operators and constants exchanged, statements left out.
func mutations(file string, source []byte) ([]*brk, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, source, 0)
	if err != nil {
		return nil, err
	}
	var breaks []*brk
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	add := func(from, to token.Pos, text, what string) {
		breaks = append(breaks, at(file, source, offset(from), offset(to), text, what))
	}
	text := func(n ast.Node) string { return string(source[offset(n.Pos()):offset(n.End())]) }
	line := func(n ast.Node) string {
		from, to := offset(n.Pos()), offset(n.End())
		for from > 0 && source[from-1] != '\n' {
			from--
		}
		for to < len(source) && source[to] != '\n' {
			to++
		}
		return oneLine(string(source[from:to]))
	}
	negate := func(e ast.Expr) {
		if e != nil {
			add(e.Pos(), e.End(), "!("+text(e)+")", "negate "+oneLine(text(e)))
		}
	}
	drop := func(n ast.Node) { add(n.Pos(), n.End(), "{}", "leave out "+oneLine(text(n))) }
	for _, decl := range tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
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
	}
	return breaks, nil
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
