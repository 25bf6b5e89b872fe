package histories

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// model is a token as Porcupine sees it. A change whose outcome is unknown may
// have been made at any time after its call, or never. A revocation is tried again, so
// that it may be made later as well, and meanwhile the node may refuse the token.
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
		var after []any
		for _, s := range before.(state).revoked() {
			after = append(after, step(s, o, output.(outcome))...)
		}
		return after
	},
	Equal: func(a, b any) bool { return a == b },
}

// step returns the states after an operation.
func step(s state, o op, saw outcome) []any {
	sees := s.sees(o)
	switch {
	case o.kind == generate:
		return nil
	case saw == unknown && o.kind == deactivate:
		s.mayStop = true
	case saw == unknown && o.kind == remove:
		s.mayVanish = true
	case saw == unknown && sees == done:
		return []any{s, s.after(o)}
	case saw == unknown:
	case o.kind == verify && saw == sawInactive && sees == accepted && (s.mayStop || s.mayVanish):
		// The node refuses the token, as nobody knows whether it is live.
	case sees != saw:
		return nil
	case sees == done:
		return []any{s.after(o)}
	}
	return []any{s}
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
