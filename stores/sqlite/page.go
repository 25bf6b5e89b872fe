package sqlite

import (
	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// A page is found in one of several ways, by how much the filters let through,
// which the indexes tell.
//
// Without filters, an index has the tokens of an environment in the order asked
// for, and the page is a slice of it. If one of the filters lets through at most
// few tokens, these are sorted. For a text alone, in the order of names, there are
// apitoken_beginnings: a walk would be long, as names are ordered by their first word.
// Else whoever walks the index of the order most often meets enough of them soon: by
// shortWalk, or if they are many, by longWalk. Where not, what a filter lets through is
// gathered, and the index is swept for it. That takes time in proportion to the tokens
// of the environment, but little for each.
var (
	few       = 2000
	many      = 20_000
	shortWalk = 250
	longWalk  = 2500
)

// find returns the page, and one record more. The rarest filter lets through n.
func (l *lister) find(n int) ([]apitoken.Record, error) {
	switch {
	case len(l.filters) == 0:
		return l.records(l.sliced())
	case n <= few:
		return l.records(l.sorted())
	}
	if l.q.Order == apitoken.ByName && l.q.Text != "" && len(l.filters) == 1 {
		n, err := l.number(cat(lit(`SELECT count(*) FROM (SELECT 1 FROM `), termRows(l.q), lit(` LIMIT ?)`, few+1)))
		if err != nil {
			return nil, err
		}
		if n <= few {
			return l.records(l.merged(l.termed()))
		}
	}
	recs, err := l.records(l.walked(shortWalk))
	if err != nil || len(recs) > l.q.Limit {
		return recs, err
	}
	if n, err = l.rarest(many); err != nil {
		return nil, err
	}
	if n > many {
		recs, err = l.records(l.walked(longWalk))
		if err != nil || len(recs) > l.q.Limit {
			return recs, err
		}
		if len(l.filters) > 1 { // which of them is worth a closer look
			if _, err = l.rarest(10 * many); err != nil {
				return nil, err
			}
		}
	}
	return l.records(l.swept())
}

// sliced selects what find returns where there are no filters.
func (l *lister) sliced() clause {
	return cat(l.inOrder(selected), lit(` LIMIT ?`, l.q.Limit+1))
}

// sorted selects it by sorting what the first filter lets through.
func (l *lister) sorted() clause {
	return l.ofTokens(l.first(cat(l.matching(`t.token, t.`+l.by.key+`, t.id`), l.after())))
}

// merged selects it, in a list by name with a text alone, from the names that
// begin with the text, which stand together, and the tokens found by other terms.
func (l *lister) merged(others clause) clause {
	names := cat(
		lit(`SELECT t.token, t.name_key, t.id FROM apitoken_tokens t INDEXED BY apitoken_by_name WHERE t.environment = ?`, l.q.Environment),
		l.named())
	return l.ofTokens(l.first(names), l.first(others))
}

// termed selects the tokens that have a term which begins with the text, where
// they are few.
func (l *lister) termed() clause {
	return cat(
		lit(`SELECT DISTINCT t.token, t.name_key, t.id FROM (SELECT d.token FROM `), termRows(l.q),
		lit(`) f CROSS JOIN apitoken_tokens t ON t.token = f.token WHERE TRUE`), l.after())
}

// begun selects them in order from those with a term that begins with the same
// three letters. Most often these are hardly more.
func (l *lister) begun() clause {
	return cat(
		lit(`SELECT k.token, t.name_key, t.id FROM apitoken_beginnings t CROSS JOIN apitoken_tokens k ON k.id = t.id
			WHERE t.environment = ? AND t.beginning = ? AND (SELECT TRUE FROM apitoken_terms e WHERE e.token = k.token AND e.term >= ? AND e.term < ? LIMIT 1)`,
			l.q.Environment, beginning(l.q.Text), l.q.Text, textEnd(l.q)),
		l.after())
}

// named restricts t to the names that begin with the text and follow the
// position. The engine begins at the first condition of several on one side, so
// that it gets one.
func (l *lister) named() clause {
	from, to := lit(` AND t.name_key >= ?`, l.q.Text), lit(` AND t.name_key < ?`, textEnd(l.q))
	switch after := l.q.After; {
	case after == nil:
	case l.q.Descending && after.Name < textEnd(l.q):
		to = l.after()
	case !l.q.Descending && after.Name >= l.q.Text:
		from = l.after()
	}
	return cat(from, to)
}

// first selects the tokens of the page, and one more, from those that c selects.
func (l *lister) first(c clause) clause {
	return cat(lit(`SELECT * FROM (`), c, l.order(), lit(` LIMIT ?)`, l.q.Limit+1))
}

// ofTokens selects the page, and one record more, from these tokens: their rows are
// looked up in the order in which they stand then.
func (l *lister) ofTokens(tokens ...clause) clause {
	c := tokens[0]
	for _, t := range tokens[1:] {
		c = cat(c, lit(` UNION `), t)
	}
	return cat(lit(`SELECT `+selected+` FROM (SELECT * FROM (`), c, lit(`) t`), l.order(), lit(` LIMIT ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, l.q.Limit+1))
}

// walked selects it from the first tokens in order, as many as steps. It is in that order
// without saying so, which would have all of them read and sorted: a cross join
// keeps the order of what is left of it.
func (l *lister) walked(steps int) clause {
	columns := `t.token, t.name_key` // and no more than needed, to stay in the index
	if l.q.Owner != "" {
		columns += `, t.owner`
	}
	if l.q.Status != "" {
		columns += `, t.status, t.created_at, t.expires_key, t.not_before, t.last_used_key`
	}
	return cat(
		lit(`SELECT `+selected+` FROM (SELECT t.token FROM (`), l.inOrder(columns), lit(` LIMIT ?) t WHERE TRUE`, steps),
		tests(l.filters, "t.token"), lit(` LIMIT ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, l.q.Limit+1))
}

// swept selects it from all tokens in order that the first filter lets through,
// which are gathered first.
func (l *lister) swept() clause {
	return cat(
		lit(`SELECT `+selected+` FROM (`),
		l.inOrder(`t.token`, lit(` AND +t.token IN (SELECT d.token FROM `), l.filters[0].rows, lit(`)`), tests(l.filters[1:], "t.token")),
		lit(` LIMIT ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, l.q.Limit+1))
}

// matching selects columns of the tokens t that match, found by the first filter.
func (l *lister) matching(columns string) clause {
	distinct := ""
	if l.filters[0].repeats {
		distinct = "DISTINCT "
	}
	return cat(
		lit(`SELECT `+distinct+columns+` FROM (SELECT d.token FROM `), l.filters[0].rows,
		lit(`) f CROSS JOIN apitoken_tokens t ON t.token = f.token WHERE TRUE`), tests(l.filters[1:], "f.token"))
}

func tests(filters []filter, token string) clause {
	var all clause
	for _, f := range filters {
		all = cat(all, lit(` AND `), f.test(token))
	}
	return all
}

// inOrder selects columns of the tokens t of the environment from the position
// on, in order, by the index.
func (l *lister) inOrder(columns string, conditions ...clause) clause {
	c := cat(
		lit(`SELECT `+columns+` FROM apitoken_tokens t INDEXED BY `+l.by.index+` WHERE t.environment = ?`, l.q.Environment),
		l.after())
	// A status limits the times of expiry, so that there is no need to walk
	// where it cannot be. From a position on, one of the limits is passed.
	if l.q.Order == apitoken.ByExpires {
		switch at := l.q.At.UnixMicro(); l.q.Status {
		case apitoken.StatusExpired:
			if l.q.Policy == (apitoken.Policy{}) && (!l.q.Descending || l.q.After == nil) {
				c = cat(c, lit(` AND t.expires_key <= ?`, at))
			}
		case apitoken.StatusActive, apitoken.StatusPending:
			if l.q.Descending || l.q.After == nil {
				c = cat(c, lit(` AND t.expires_key > ?`, at))
			}
		}
	}
	return cat(c, cat(conditions...), l.order())
}

// after restricts t to what follows the position.
func (l *lister) after() clause {
	if l.q.After == nil {
		return clause{}
	}
	var key any
	switch l.q.Order {
	case apitoken.ByName:
		key = l.q.After.Name
	case apitoken.ByExpires:
		key = sqlkit.ExpiresKey(l.q.After.Time)
	default:
		key = l.q.After.Time.UnixMicro()
	}
	follows := ">"
	if l.q.Descending {
		follows = "<"
	}
	return lit(` AND (t.`+l.by.key+`, t.id) `+follows+` (?, ?)`, key, l.q.After.ID)
}

func (l *lister) order() clause {
	direction := ""
	if l.q.Descending {
		direction = " DESC"
	}
	return lit(` ORDER BY t.` + l.by.key + direction + `, t.id` + direction)
}
