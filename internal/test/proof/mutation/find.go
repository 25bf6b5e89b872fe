package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
)

// Seeds say what they break in two steps: what they look for in a function, by
// what that mentions, and how they edit it. Names and layout of everything else do
// not matter to them.
//
// To look for something:
//
//	when(m...)     the condition of an if, a for, or a case of a switch without a tag
//	then(m...)     the condition that guards the statements that mention m
//	operand(m...)  an operand of && or ||
//	expr(m...)     the smallest expression
//	call(name, m...)  a call of a function or method
//	stmt(m...)     a statement; of one with a condition that mentions m, the whole
//	ret(m...)      a return statement
//	clause(m...)   a case of a switch or select
//	within(a, b)   b, in what a finds or guards
//	nth(i, a)      the i-th of several, from 1
//	field(name)    the value of a field in a composite literal
//
// A mention is an identifier (a variable, field, function, type, however it is
// qualified) or an expression, written in any layout. What is found has to mention
// all of them; of nested ones, the innermost is meant; and there must be only one.
//
// To edit it:
//
//	never, always, negate   a condition
//	drop                    a statement or a case
//	without                 an operand of && or ||, or an element of a list
//	become(a, text)         other Go code instead; $ in it is the old code
//	op(a, "<=")             another operator
//	swap(a, b)              each in the place of the other
//	before(a, text)         a statement more
//	begin(text)             a statement more, as the first
//	both(edits...)

// A spot is something that was found in a function.
type spot struct {
	from, to token.Pos
	node     ast.Node   // nil if it is a list of conditions
	list     []ast.Expr // the conditions of a case
	scope    ast.Node   // what had to mention something
	whole    ast.Node   // the statement that a condition belongs to, or node
}

func spotOf(n ast.Node) spot { return spot{from: n.Pos(), to: n.End(), node: n, scope: n, whole: n} }

// A finder finds spots in a part of a function.
type finder struct {
	find func(f *function, in ast.Node) ([]spot, error)
	said string
	weak bool // it mentions nothing
}

// one is the only spot.
func (a finder) one(f *function, in ast.Node) (spot, error) {
	spots, err := a.find(f, in)
	switch {
	case err != nil:
		return spot{}, err
	case len(spots) == 0:
		return spot{}, fmt.Errorf("%s has no %s", f.name, a.said)
	case len(spots) > 1:
		return spot{}, fmt.Errorf("%s has %d of %s", f.name, len(spots), a.said)
	}
	return spots[0], nil
}

// looking makes a finder of the innermost of the spots that visit offers whose
// scopes mention everything.
func looking(what string, mentions []string, visit func(n ast.Node, f *function, offer func(spot))) finder {
	find := func(f *function, in ast.Node) ([]spot, error) {
		var wanted []piece
		for _, m := range mentions {
			p, err := newPiece(m)
			if err != nil {
				return nil, err
			}
			wanted = append(wanted, p)
		}
		var fitting []spot
		ast.Inspect(in, func(n ast.Node) bool {
			if n != nil {
				visit(n, f, func(s spot) {
					for _, p := range wanted {
						if !p.in(s.scope) {
							return
						}
					}
					fitting = append(fitting, s)
				})
			}
			return true
		})
		var innermost []spot
		for i, s := range fitting {
			inner := true
			for k, o := range fitting {
				if k != i && s.scope.Pos() <= o.scope.Pos() && o.scope.End() <= s.scope.End() &&
					(s.scope.Pos() != o.scope.Pos() || s.scope.End() != o.scope.End() || k > i) {
					inner = false
				}
			}
			if inner {
				innermost = append(innermost, s)
			}
		}
		return innermost, nil
	}
	return finder{find, what + " " + strings.Join(mentions, ", "), len(mentions) == 0}
}

// A piece is something that code mentions.
type piece struct{ name, expr string }

func newPiece(text string) (piece, error) {
	if token.IsIdentifier(text) {
		return piece{name: text}, nil
	}
	e, err := parser.ParseExpr(text)
	if err != nil {
		return piece{}, fmt.Errorf("%q is no identifier and no expression: %w", text, err)
	}
	return piece{expr: types.ExprString(e)}, nil
}

func (p piece) in(scope ast.Node) (found bool) {
	ast.Inspect(scope, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			found = found || n.Name == p.name
		case *ast.KeyValueExpr:
		case ast.Expr:
			found = found || p.expr != "" && types.ExprString(n) == p.expr
		}
		return !found
	})
	return found
}

// conditions calls offer for the conditions at a node: with scope, what the
// condition reads, and guarded, what it guards.
func conditions(n ast.Node, f *function, offer func(s spot, scope, guarded ast.Node)) {
	statements := func(list []ast.Stmt) ast.Node {
		return &ast.BlockStmt{Lbrace: list[0].Pos(), List: list, Rbrace: list[len(list)-1].End() - 1}
	}
	switch n := n.(type) {
	case *ast.IfStmt:
		s := spotOf(n.Cond)
		s.whole = n
		head := ast.Node(n.Cond)
		if n.Init != nil {
			head = &ast.IfStmt{If: n.If, Init: n.Init, Cond: n.Cond, Body: &ast.BlockStmt{Lbrace: n.Cond.End(), Rbrace: n.Cond.End() - 1}}
		}
		offer(s, head, n.Body)
	case *ast.ForStmt:
		if n.Cond != nil {
			s := spotOf(n.Cond)
			s.whole = n
			offer(s, n.Cond, n.Body)
		}
	case *ast.CaseClause:
		sw, ok := f.parents[f.parents[n]].(*ast.SwitchStmt)
		if !ok || sw.Tag != nil || len(n.List) == 0 {
			return
		}
		s := spot{from: n.List[0].Pos(), to: n.List[len(n.List)-1].End(), list: n.List, whole: n}
		if len(n.List) == 1 {
			s.node = n.List[0]
		}
		var guarded ast.Node
		if len(n.Body) > 0 {
			guarded = statements(n.Body)
		}
		offer(s, &ast.CompositeLit{Lbrace: s.from, Elts: n.List, Rbrace: s.to - 1}, guarded)
	}
}

func when(mentions ...string) finder {
	return looking("condition with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		conditions(n, f, func(s spot, scope, _ ast.Node) {
			s.scope = scope
			offer(s)
		})
	})
}

func then(mentions ...string) finder {
	return looking("condition of", mentions, func(n ast.Node, f *function, offer func(spot)) {
		conditions(n, f, func(s spot, _, guarded ast.Node) {
			if s.scope = guarded; guarded != nil {
				offer(s)
			}
		})
	})
}

func operand(mentions ...string) finder {
	return looking("operand with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
			offer(spotOf(b.X))
			offer(spotOf(b.Y))
		}
	})
}

func expr(mentions ...string) finder {
	return looking("expression with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		if e, ok := n.(ast.Expr); ok {
			offer(spotOf(e))
		}
	})
}

func call(name string, mentions ...string) finder {
	a := looking("call of "+name+" with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		if c, ok := n.(*ast.CallExpr); ok {
			fun := c.Fun
			if s, ok := fun.(*ast.SelectorExpr); ok && !strings.Contains(name, ".") {
				fun = s.Sel
			}
			if types.ExprString(fun) == name {
				offer(spotOf(c))
			}
		}
	})
	a.weak = false
	return a
}

func stmt(mentions ...string) finder {
	return looking("statement with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		s, ok := n.(ast.Stmt)
		if !ok {
			return
		}
		switch s.(type) {
		case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause, *ast.LabeledStmt:
			return
		}
		switch f.parents[n].(type) {
		case *ast.BlockStmt, *ast.CaseClause, *ast.LabeledStmt:
			offer(spotOf(s))
		case *ast.CommClause:
			if f.parents[n].(*ast.CommClause).Comm != s {
				offer(spotOf(s))
			}
		}
	})
}

func ret(mentions ...string) finder {
	return looking("return with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		if r, ok := n.(*ast.ReturnStmt); ok {
			offer(spotOf(r))
		}
	})
}

func clause(mentions ...string) finder {
	return looking("case with", mentions, func(n ast.Node, f *function, offer func(spot)) {
		switch n.(type) {
		case *ast.CaseClause, *ast.CommClause:
			offer(spotOf(n))
		}
	})
}

// field finds what a composite literal gives for a field.
func field(name string) finder {
	return looking("field", []string{name}, func(n ast.Node, f *function, offer func(spot)) {
		if kv, ok := n.(*ast.KeyValueExpr); ok {
			if id, ok := kv.Key.(*ast.Ident); ok && id.Name == name {
				s := spotOf(kv.Value)
				s.scope = kv
				offer(s)
			}
		}
	})
}

func within(outer, inner finder) finder {
	return finder{func(f *function, in ast.Node) ([]spot, error) {
		s, err := outer.one(f, in)
		if err != nil {
			return nil, err
		}
		return inner.find(f, s.whole)
	}, inner.said + " in " + outer.said, outer.weak && inner.weak}
}

func nth(i int, a finder) finder {
	return finder{func(f *function, in ast.Node) ([]spot, error) {
		spots, err := a.find(f, in)
		if err != nil || i > len(spots) {
			return nil, err
		}
		return spots[i-1 : i], nil
	}, fmt.Sprintf("%s, number %d", a.said, i), true}
}
