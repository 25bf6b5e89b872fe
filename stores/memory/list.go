package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// lists are the orders in which the tokens were listed, and the IDs of the tokens that
// changed since. Store.mu guards both.
type lists struct {
	orders  map[apitoken.Order]list
	changed []string
}

// A list has all tokens in an order, as they were after the first changes of lists.changed.
type list struct {
	tokens  []listed // never written to
	changes int
}

type listed struct {
	at   apitoken.Position
	row  row
	text string // in lower case, what a search looks at
}

// relist notes that a token changed. After many changes it forgets all lists, as the next list
// then sorts about as much anyway. It is called with s.mu held.
func (s *Store) relist(id string) {
	if s.lists == nil {
		return
	}
	s.lists.changed = append(s.lists.changed, id)
	if len(s.lists.changed) > max(maxWaiting, len(s.rows)/4) {
		s.lists = nil
	}
}

// inOrder returns all tokens in an order. It decodes rows without the lock: for a million that
// takes seconds, in which a change, and behind it every Get, would wait.
func (s *Store) inOrder(ctx context.Context, by apitoken.Order) ([]listed, error) {
	s.mu.Lock()
	if s.lists == nil {
		s.lists = &lists{orders: make(map[apitoken.Order]list)}
	}
	lists := s.lists
	old, sorted := lists.orders[by]
	var rows map[string]row // what is not in old, or not as it is there
	if sorted {
		rows = make(map[string]row)
		for _, id := range lists.changed[old.changes:] {
			rows[id] = s.rows[id]
		}
	} else {
		rows = maps.Clone(s.rows)
	}
	changes := len(lists.changed)
	s.mu.Unlock()
	if sorted && len(rows) == 0 {
		return old.tokens, nil
	}

	var others []listed
	for id, r := range rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r == "" { // deleted
			continue
		}
		rec, err := r.decode(id)
		if err != nil {
			return nil, err
		}
		text := strings.ToLower(rec.ID + "\n" + rec.Owner + "\n" + rec.Name)
		others = append(others, listed{rec.Position(by), r, text})
	}
	slices.SortFunc(others, func(a, b listed) int { return compare(by, a.at, b.at) })
	tokens := others
	if sorted {
		tokens = make([]listed, 0, len(old.tokens)+len(others))
		for _, t := range old.tokens {
			if _, ok := rows[t.at.ID]; ok {
				continue
			}
			for len(others) > 0 && compare(by, others[0].at, t.at) < 0 {
				tokens, others = append(tokens, others[0]), others[1:]
			}
			tokens = append(tokens, t)
		}
		tokens = append(tokens, others...)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if lists.orders[by].changes <= changes {
		lists.orders[by] = list{tokens, changes}
	}
	return tokens, nil
}

func compare(by apitoken.Order, a, b apitoken.Position) int {
	if by == apitoken.ByExpires && a.Time.IsZero() != b.Time.IsZero() {
		if a.Time.IsZero() { // never comes last
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Name, b.Name), a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}

// mayMatch reports whether a row has the texts that q asks for somewhere. To look costs a
// fraction of what decode does.
func (t *listed) mayMatch(q *apitoken.Query) bool {
	has := func(text string) bool { return strings.Contains(string(t.row), text) }
	return strings.Contains(t.text, q.Text) && has(q.Owner) && has(q.Permission) &&
		(q.Status != apitoken.StatusDeleted && q.Status != apitoken.StatusInactive || has(string(q.Status))) && has(q.Environment)
}
