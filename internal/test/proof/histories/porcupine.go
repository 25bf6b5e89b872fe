package histories

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// model is a token as Porcupine sees it. A change whose outcome is unknown may
// have been made at any time after its call, or never.
var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{nil} }, // not generated
	Step: func(before, input, output any) []any {
		o := input.(op)
		if before == nil {
			if o.kind == generate {
				return []any{fresh}
			}
			return nil
		}
		s := before.(state)
		sees := s.sees(o.kind, o.secret)
		switch {
		case o.kind == generate:
			return nil
		case output.(outcome) == unknown && sees == done:
			return []any{s, s.after(o.kind, o.secret)}
		case output.(outcome) == unknown:
			return []any{s}
		case sees != output.(outcome):
			return nil
		case sees == done:
			return []any{s.after(o.kind, o.secret)}
		}
		return []any{s}
	},
	Equal: func(a, b any) bool { return a == b },
}

// linearizable asks Porcupine about the operations on one token.
func linearizable(ops []op, limit time.Duration) porcupine.CheckResult {
	var history []porcupine.Operation
	for i, o := range ops {
		if o.outcome == nothing {
			continue
		}
		ret := o.ret
		if o.outcome == unknown {
			ret = never
		}
		history = append(history, porcupine.Operation{ClientId: i, Input: o, Call: o.call, Output: o.outcome, Return: ret})
	}
	return porcupine.CheckOperationsTimeout(model.ToModel(), history, limit)
}
