package resource

import "slices"

// And returns the objects that both allow.
func (l Limits) And(other Limits) (both Limits) {
	if other == nil {
		return l
	}
	for _, s := range l.inherit(other) {
		out := func(id string) bool { return !l.Allow(s.Type, id) || !other.Allow(s.Type, id) }
		both = append(both, Set{s.Type, slices.DeleteFunc(slices.Clone(s.IDs), out)})
	}
	return both
}
