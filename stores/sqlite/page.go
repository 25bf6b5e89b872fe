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
	case len(l.Filters) == 0:
		return l.records(l.sliced())
	case n <= few:
		return l.records(l.sorted())
	}
	if l.Query.Order == apitoken.ByName && l.Query.Text != "" && len(l.Filters) == 1 {
		n, err := l.Number(cat(lit(`SELECT count(*) FROM (SELECT 1 FROM `), termRows(l.Query), lit(` LIMIT ?)`, few+1)))
		if err != nil {
			return nil, err
		}
		if n <= few {
			return l.records(l.merged(l.termed()))
		}
	}
	recs, err := l.records(l.walked(shortWalk))
	if err != nil || len(recs) > l.Query.Limit {
		return recs, err
	}
	if n, err = l.Rarest(many); err != nil {
		return nil, err
	}
	if n > many {
		recs, err = l.records(l.walked(longWalk))
		if err != nil || len(recs) > l.Query.Limit {
			return recs, err
		}
		if len(l.Filters) > 1 { // which of them is worth a closer look
			if _, err = l.Rarest(10 * many); err != nil {
				return nil, err
			}
		}
	}
	return l.records(l.swept())
}

// sliced selects what find returns where there are no filters.
func (l *lister) sliced() clause {
	return cat(l.inOrder(selected), lit(` LIMIT ?`, l.Query.Limit+1))
}

// sorted selects it by sorting what the first filter lets through.
func (l *lister) sorted() clause {
	return l.ofTokens(l.first(cat(l.matching(`t.token, t.`+l.Column()+`, t.id`), l.After("t"))))
}

// merged selects it, in a list by name with a text alone, from the names that
// begin with the text, which stand together, and the tokens found by other terms.
func (l *lister) merged(others clause) clause {
	names := cat(
		lit(`SELECT t.token, t.name_key, t.id FROM apitoken_tokens t INDEXED BY apitoken_by_name WHERE t.environment = ?`, l.Query.Environment),
		l.named())
	return l.ofTokens(l.first(names), l.first(others))
}

// termed selects the tokens that have a term which begins with the text, where
// they are few.
func (l *lister) termed() clause {
	return cat(
		lit(`SELECT DISTINCT t.token, t.name_key, t.id FROM (SELECT d.token FROM `), termRows(l.Query),
		lit(`) f CROSS JOIN apitoken_tokens t ON t.token = f.token WHERE TRUE`), l.After("t"))
}

// begun selects them in order from those with a term that begins with the same
// three letters. Most often these are hardly more.
func (l *lister) begun() clause {
	return cat(
		lit(`SELECT k.token, t.name_key, t.id FROM apitoken_beginnings t CROSS JOIN apitoken_tokens k ON k.id = t.id
			WHERE t.environment = ? AND t.beginning = ? AND (SELECT TRUE FROM apitoken_terms e WHERE e.token = k.token AND e.term >= ? AND e.term < ? LIMIT 1)`,
			l.Query.Environment, sqlkit.Beginning(l.Query.Text), l.Query.Text, textEnd(l.Query)),
		l.After("t"))
}

// named restricts t to the names that begin with the text and follow the
// position. The engine begins at the first condition of several on one side, so
// that it gets one.
func (l *lister) named() clause {
	from, to := lit(` AND t.name_key >= ?`, l.Query.Text), lit(` AND t.name_key < ?`, textEnd(l.Query))
	switch after := l.Query.After; {
	case after == nil:
	case l.Query.Descending && after.Name < textEnd(l.Query):
		to = l.After("t")
	case !l.Query.Descending && after.Name >= l.Query.Text:
		from = l.After("t")
	}
	return cat(from, to)
}

// first selects the tokens of the page, and one more, from those that c selects.
func (l *lister) first(c clause) clause {
	return cat(lit(`SELECT * FROM (`), c, l.Order("t"), lit(` LIMIT ?)`, l.Query.Limit+1))
}

// ofTokens selects the page, and one record more, from these tokens: their rows are
// looked up in the order in which they stand then.
func (l *lister) ofTokens(tokens ...clause) clause {
	c := tokens[0]
	for _, t := range tokens[1:] {
		c = cat(c, lit(` UNION `), t)
	}
	return cat(lit(`SELECT `+selected+` FROM (SELECT * FROM (`), c, lit(`) t`), l.Order("t"), lit(` LIMIT ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, l.Query.Limit+1))
}

// walked selects it from the first tokens in order, as many as steps. It is in that order
// without saying so, which would have all of them read and sorted: a cross join
// keeps the order of what is left of it.
func (l *lister) walked(steps int) clause {
	columns := `t.token, t.name_key` // and no more than needed, to stay in the index
	if l.Query.Owner != "" {
		columns += `, t.owner`
	}
	if l.Query.Status != "" {
		columns += `, t.status, t.created_at, t.expires_key, t.not_before, t.last_used_key`
	}
	return cat(
		lit(`SELECT `+selected+` FROM (SELECT t.token FROM (`), l.inOrder(columns), lit(` LIMIT ?) t WHERE TRUE`, steps),
		sqlkit.Tests(l.Filters, "t.token"), lit(` LIMIT ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, l.Query.Limit+1))
}

// swept selects it from all tokens in order that the first filter lets through,
// which are gathered first.
func (l *lister) swept() clause {
	return cat(
		lit(`SELECT `+selected+` FROM (`),
		l.inOrder(`t.token`, lit(` AND +t.token IN (SELECT d.token FROM `), l.Filters[0].Rows, lit(`)`), sqlkit.Tests(l.Filters[1:], "t.token")),
		lit(` LIMIT ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, l.Query.Limit+1))
}

// matching selects columns of the tokens t that match, found by the first filter.
func (l *lister) matching(columns string) clause {
	distinct := ""
	if l.Filters[0].Repeats {
		distinct = "DISTINCT "
	}
	return cat(
		lit(`SELECT `+distinct+columns+` FROM (SELECT d.token FROM `), l.Filters[0].Rows,
		lit(`) f CROSS JOIN apitoken_tokens t ON t.token = f.token WHERE TRUE`), sqlkit.Tests(l.Filters[1:], "f.token"))
}

// inOrder selects columns of the tokens t of the environment from the position
// on, in order, by the index.
func (l *lister) inOrder(columns string, conditions ...clause) clause {
	c := cat(
		lit(`SELECT `+columns+` FROM apitoken_tokens t INDEXED BY `+l.index+` WHERE t.environment = ?`, l.Query.Environment),
		l.After("t"))
	// A status limits the times of expiry, so that there is no need to walk
	// where it cannot be. From a position on, one of the limits is passed.
	if l.Query.Order == apitoken.ByExpires {
		switch at := l.Query.At.UnixMicro(); l.Query.Status {
		case apitoken.StatusExpired:
			if l.Query.Policy == (apitoken.Policy{}) && (!l.Query.Descending || l.Query.After == nil) {
				c = cat(c, lit(` AND t.expires_key <= ?`, at))
			}
		case apitoken.StatusActive, apitoken.StatusPending:
			if l.Query.Descending || l.Query.After == nil {
				c = cat(c, lit(` AND t.expires_key > ?`, at))
			}
		}
	}
	return cat(c, cat(conditions...), l.Order("t"))
}
