package sqlite

import (
	"database/sql"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// A page is found in one of several ways, by how much the filters let through,
// which the indexes tell.
//
// Without filters, an index has the tokens of an environment in the order asked
// for, and the page is a slice of it. If one of the filters lets through at most
// bounds.Few tokens, these are sorted. Else the index of the order is walked, a window at a
// time, until the page is full or bounds.Time is over. For a text alone, in the order of names,
// a walk would be long, as names are ordered by their first word: apitoken_beginnings has the
// candidates, in that order.
var bounds = sqlkit.Bounds{Few: 2000, Rows: 3000, Window: 250, Time: 50 * time.Millisecond}

// Step implements [sqlkit.Ways].
func (l *lister) Step(n int) (found []apitoken.Record, last *apitoken.Position, err error) {
	if l.Query.Order == apitoken.ByName && l.Query.Text != "" && len(l.Filters) == 1 {
		if sqlkit.Beginning(l.Query.Text) != "" {
			return l.search(n)
		}
		terms, _, err := l.numbers(cat(lit(`SELECT count(*), 0 FROM (SELECT 1 FROM `), termRows(l.Query), lit(` LIMIT ?)`, l.Few+1)))
		if err != nil {
			return nil, nil, err
		}
		if terms <= l.Few {
			found, err = l.records(l.merged(l.termed(), nil))
			return found, nil, err
		}
	}
	found, err = l.records(l.walked(n))
	if err != nil || len(found) > l.Query.Limit {
		return found, nil, err
	}
	end, err := l.records(cat(lit(`SELECT `+selected+` FROM (`), l.inOrder(`t.token`), lit(` LIMIT 1 OFFSET ?) m CROSS JOIN apitoken_tokens t ON t.token = m.token`, n-1)))
	if err != nil || len(end) == 0 {
		return found, nil, err
	}
	place := end[0].Position(l.Query.Order)
	return found, &place, nil
}

// search is Step in a list by name with a text alone.
func (l *lister) search(n int) (found []apitoken.Record, last *apitoken.Position, err error) {
	c := cat(l.beginnings(), l.Order("t"), lit(` LIMIT 1 OFFSET ?`, n-1))
	var end apitoken.Position
	switch err = l.tx.QueryRowContext(l.ctx, `SELECT t.name_key, t.id `+c.Text, c.Args...).Scan(&end.Name, &end.ID); err {
	case nil:
		last = &end
	case sql.ErrNoRows:
	default:
		return nil, nil, err
	}
	found, err = l.records(l.merged(l.begun(last), last))
	return found, last, err
}

// Environment implements [sqlkit.Ways].
func (l *lister) Environment() clause {
	return lit(`apitoken_tokens INDEXED BY apitoken_by_created WHERE environment = ?`, l.Query.Environment)
}

// Sliced implements [sqlkit.Ways].
func (l *lister) Sliced() clause {
	return cat(l.inOrder(selected), lit(` LIMIT ?`, l.Query.Limit+1))
}

// Sorted implements [sqlkit.Ways].
func (l *lister) Sorted() clause {
	return l.ofTokens(l.first(cat(l.matching(`t.token, t.`+l.Column()+`, t.id`, l.Rows), l.After("t"))))
}

// merged selects the page, in a list by name with a text alone, from the names that
// begin with the text, which stand together, and the tokens found by other terms. Both end at last.
func (l *lister) merged(others clause, last *apitoken.Position) clause {
	names := cat(
		lit(`SELECT t.token, t.name_key, t.id FROM apitoken_tokens t INDEXED BY apitoken_by_name WHERE t.environment = ?`, l.Query.Environment),
		l.named(last))
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
// three letters, up to last. Most often these are hardly more.
func (l *lister) begun(last *apitoken.Position) clause {
	c := cat(lit(`SELECT k.token, t.name_key, t.id `), l.beginnings(),
		lit(` AND (SELECT TRUE FROM apitoken_terms e WHERE e.token = k.token AND e.term >= ? AND e.term < ? LIMIT 1)`, l.Query.Text, textEnd(l.Query)))
	if last != nil {
		c = cat(c, l.To("t", last))
	}
	return c
}

// beginnings are the rows t of those, of the tokens k.
func (l *lister) beginnings() clause {
	return cat(lit(`FROM apitoken_beginnings t CROSS JOIN apitoken_tokens k ON k.id = t.id WHERE t.environment = ? AND t.beginning = ?`,
		l.Query.Environment, sqlkit.Beginning(l.Query.Text)), l.After("t"))
}

// named restricts t to the names that begin with the text, follow the
// position, and do not follow last. The engine begins at the first condition of several on one
// side, so that it gets one.
func (l *lister) named(last *apitoken.Position) clause {
	from, to := lit(` AND t.name_key >= ?`, l.Query.Text), lit(` AND t.name_key < ?`, textEnd(l.Query))
	least, most := l.Query.After, last
	low, high := l.After("t"), clause{}
	if last != nil {
		high = l.To("t", last)
	}
	if l.Query.Descending {
		least, most, low, high = most, least, high, low
	}
	if least != nil && least.Name >= l.Query.Text {
		from = low
	}
	if most != nil && most.Name < textEnd(l.Query) {
		to = high
	}
	return cat(from, to)
}

// first selects the tokens of the page, and one more, from the tokens that c selects.
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

// walked selects the page from the first tokens in order, as many as steps. It is in that order
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

// Matching implements [sqlkit.Ways].
func (l *lister) Matching(rows int) clause {
	if len(l.Filters) == 1 {
		return cat(lit(`SELECT DISTINCT token FROM (`), l.From(l.Filters[0], rows), lit(`)`))
	}
	return l.matching(`f.token`, rows)
}

// matching selects columns of the tokens t that match, of so many rows of the first filter.
func (l *lister) matching(columns string, rows int) clause {
	distinct := ""
	if l.Filters[0].Repeats {
		distinct = "DISTINCT "
	}
	return cat(
		lit(`SELECT `+distinct+columns+` FROM (`), l.From(l.Filters[0], rows),
		lit(`) f CROSS JOIN apitoken_tokens t ON t.token = f.token WHERE TRUE`), sqlkit.Tests(l.Filters[1:], "f.token"))
}

// inOrder selects columns of the tokens t of the environment from the position
// on, in order, by the index.
func (l *lister) inOrder(columns string) clause {
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
	return cat(c, l.Order("t"))
}
