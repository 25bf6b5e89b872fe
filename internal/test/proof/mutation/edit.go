package main

import (
	"errors"
	"go/ast"
	"go/token"
	"strings"
)

// A change is other text in one place.
type change struct {
	from, to token.Pos
	text     string
}

// An edit is a set of changes to a function.
type edit struct {
	apply func(*function) ([]change, error)
	said  string
	weak  bool // it could be meant in any function
}

// replacing makes an edit that puts another text in the place of a spot.
func replacing(said string, a finder, with func(f *function, s spot) (string, error)) edit {
	return edit{func(f *function) ([]change, error) {
		s, err := a.one(f, f.decl.Body)
		if err != nil {
			return nil, err
		}
		text, err := with(f, s)
		return []change{{s.from, s.to, text}}, err
	}, said + " " + a.said, a.weak}
}

// condition is the text of a condition, to be part of a longer one. Those of a case
// are alternatives.
func condition(f *function, s spot) string {
	if s.node != nil {
		return "(" + f.code(s.from, s.to) + ")"
	}
	var parts []string
	for _, e := range s.list {
		parts = append(parts, "("+f.code(e.Pos(), e.End())+")")
	}
	return "(" + strings.Join(parts, " || ") + ")"
}

// never makes a condition false. It is still asked: what it does stays, and what it
// reads counts as used.
func never(a finder) edit {
	return replacing("never:", a, func(f *function, s spot) (string, error) { return "(" + condition(f, s) + " && false)", nil })
}

func always(a finder) edit {
	return replacing("always:", a, func(f *function, s spot) (string, error) { return "(" + condition(f, s) + " || true)", nil })
}

func negate(a finder) edit {
	return replacing("negated:", a, func(f *function, s spot) (string, error) { return "!" + condition(f, s), nil })
}

func drop(a finder) edit {
	return replacing("dropped:", a, func(f *function, s spot) (string, error) {
		switch s.whole.(type) {
		case *ast.CaseClause, *ast.CommClause:
			return "", nil
		case ast.Stmt:
			return "{}", nil
		}
		return "", errors.New("only statements and cases can be dropped, not " + a.said)
	})
}

func become(a finder, text string) edit {
	return replacing("becomes "+text+":", a, func(f *function, s spot) (string, error) {
		return strings.ReplaceAll(text, "$", f.code(s.from, s.to)), nil
	})
}

func before(a finder, text string) edit { return become(a, text+"; $") }

// begin fits every function, so that only its name says which is meant.
func begin(text string) edit {
	return edit{func(f *function) ([]change, error) {
		at := f.decl.Body.Lbrace + 1
		return []change{{at, at, " " + text + "; "}}, nil
	}, "begins with " + text, true}
}

func op(a finder, operator string) edit {
	return edit{func(f *function) ([]change, error) {
		s, err := a.one(f, f.decl.Body)
		if err != nil {
			return nil, err
		}
		b, ok := s.node.(*ast.BinaryExpr)
		if !ok {
			return nil, errors.New("without an operator: " + a.said)
		}
		return []change{{b.OpPos, b.OpPos + token.Pos(len(b.Op.String())), operator}}, nil
	}, operator + ": " + a.said, a.weak}
}

func without(a finder) edit {
	return edit{func(f *function) ([]change, error) {
		s, err := a.one(f, f.decl.Body)
		if err != nil {
			return nil, err
		}
		if s.node == nil {
			return nil, errors.New("several conditions: " + a.said)
		}
		n := s.node
		for {
			p, ok := f.parents[n].(*ast.ParenExpr)
			if !ok {
				break
			}
			n = p
		}
		var list []ast.Expr
		switch p := f.parents[n].(type) {
		case *ast.BinaryExpr:
			other := p.X
			if other == n {
				other = p.Y
			}
			return []change{{p.Pos(), p.End(), f.code(other.Pos(), other.End())}}, nil
		case *ast.CallExpr:
			list = p.Args
		case *ast.CompositeLit:
			list = p.Elts
		case *ast.CaseClause:
			list = p.List
		}
		for i, e := range list {
			switch {
			case e != n || len(list) == 1:
			case i > 0:
				return []change{{list[i-1].End(), e.End(), ""}}, nil
			default:
				return []change{{e.Pos(), list[1].Pos(), ""}}, nil
			}
		}
		return nil, errors.New("neither an operand nor one of several elements: " + a.said)
	}, "without " + a.said, a.weak}
}

func swap(a, b finder) edit {
	return edit{func(f *function) ([]change, error) {
		s, err := a.one(f, f.decl.Body)
		if err != nil {
			return nil, err
		}
		o, err := b.one(f, f.decl.Body)
		return []change{{s.from, s.to, f.code(o.from, o.to)}, {o.from, o.to, f.code(s.from, s.to)}}, err
	}, "swapped: " + a.said + ", and " + b.said, a.weak || b.weak}
}

func both(edits ...edit) edit {
	whole := edit{said: "together"}
	for _, e := range edits {
		whole.said += "; " + e.said
		whole.weak = whole.weak || e.weak
	}
	whole.apply = func(f *function) ([]change, error) {
		var all []change
		for _, e := range edits {
			changes, err := e.apply(f)
			if err != nil {
				return nil, err
			}
			all = append(all, changes...)
		}
		return all, nil
	}
	return whole
}
