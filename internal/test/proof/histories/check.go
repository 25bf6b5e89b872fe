package histories

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"
)

// check looks at the operations on one token, of which it sorts those that
// changed it by their version, and returns those that no order explains.
//
// Versions are in the order of the commits. A read that began after a version was
// acknowledged has to see that or a later one; and no read can see a version whose
// change was called only after the read had its answer. Between these bounds every
// version is a legal view. A change that found its work done has acknowledged
// the version that it found. A verification may be behind by age, but not on the node
// that makes the changes. The rights of the owner hold at once.
func check(ops []op, age time.Duration, rights ...owned) (stale []string, err error) {
	var changes []op
	for _, o := range ops {
		if o.outcome == done && o.kind != verify && o.kind != present {
			if o.kind == remove {
				o.version = never
			}
			changes = append(changes, o)
		}
		if o.outcome == unknown {
			return nil, fmt.Errorf("the outcome of a change is unknown: %v", o)
		}
	}
	// The maker of a version before those that found it.
	slices.SortFunc(changes, func(a, b op) int { return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.call, b.call)) })
	if len(changes) == 0 || changes[0].kind != generate {
		return nil, fmt.Errorf("the history does not begin with a generated token")
	}
	var (
		states []state // by version, from the first on
		called []int64 // when the change that made it was called
		acked  []int64 // when it was first acknowledged
		at     = fresh
	)
	at.reach = changes[0].reach
	for i := 0; i < len(changes); {
		group := changes[i:]
		if end := slices.IndexFunc(group, func(o op) bool { return o.version != group[0].version }); end >= 0 {
			group = group[:end]
		}
		i += len(group)
		if first := changes[0].version; group[0].version != never && group[0].version != first+int64(len(states)) {
			return nil, fmt.Errorf("version %d is missing", first+int64(len(states)))
		}
		// Of those that were told of a version, one has made it: the one that
		// changes the state before; that it is one of the earliest is enough.
		maker := slices.IndexFunc(group, func(o op) bool {
			return len(states) == 0 || at.sees(o) == done && at.after(o) != at
		})
		if maker < 0 {
			return nil, fmt.Errorf("nothing explains version %d after %+v: %v", group[0].version, at, group)
		}
		if len(states) > 0 {
			at = at.after(group[maker])
		}
		for k, o := range group {
			if k != maker && (o.kind == remove || at.sees(o) != done || at.after(o) != at) {
				return nil, fmt.Errorf("two changes made one version: %v and %v", group[maker], o)
			}
		}
		ack, call := int64(never), int64(never)
		for _, o := range group {
			ack = min(ack, o.ret)
			call = min(call, o.call) // generous where two could have made it
		}
		states, called, acked = append(states, at), append(called, call), append(acked, ack)
	}
	// A later version says that the earlier ones are there.
	for i := len(states) - 2; i >= 0; i-- {
		acked[i] = min(acked[i], acked[i+1])
	}
	for i := 1; i < len(states); i++ {
		called[i] = max(called[i], called[i-1])
		if acked[i] < called[i] {
			return nil, fmt.Errorf("version %d was acknowledged before it was made", i)
		}
	}
	for _, o := range ops {
		if o.outcome == done || o.outcome == nothing {
			continue
		}
		since := o.call
		if (o.kind == verify || o.kind == present) && !o.own {
			since -= int64(age)
		}
		first := sort.Search(len(acked), func(i int) bool { return acked[i] >= since }) - 1
		last := sort.Search(len(called), func(i int) bool { return called[i] >= o.ret }) - 1
		explained := false
		for i := max(first, 0); i <= last && !explained; i++ {
			if o.kind == present {
				explained = states[i].allows(o, rights)
			} else {
				explained = states[i].sees(o) == o.outcome
			}
		}
		if !explained {
			stale = append(stale, fmt.Sprintf("%v, but it had to see one of %+v", o, states[max(first, 0):max(last, first, 0)+1]))
		}
	}
	return stale, nil
}
