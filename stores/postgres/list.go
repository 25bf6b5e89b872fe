package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// beginList begins a transaction with one snapshot, so that page and count are of
// the same moment. The plans are of what the indexes are for: to begin at the right
// place and to stop early, which the planner does not prefer if it thinks that
// much will be found. A list takes no more than one process.
const beginList = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
	SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0`

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (page apitoken.Page, err error) {
	if _, ok := dialect.Orders[q.Order]; !ok {
		return page, fmt.Errorf("postgres: no order %.40q", q.Order)
	}
	for _, text := range []string{q.Environment, q.Owner, q.Permission, q.Text} {
		if !valid(text) {
			return page, errText
		}
	}
	if q.After != nil && !valid(q.After.Name+q.After.ID) {
		return page, errText
	}
	if len(q.Text) > sqlkit.MaxTerm {
		return page, wrap(ctx.Err())
	}
	err = s.read(ctx, beginList, func(tx querier) (err error) {
		l := newLister(s, ctx, tx, sqlkit.ListedBy(q))
		page, err = l.Page(l)
		return err
	})
	return page, wrap(err)
}

// A lister answers one query. In the order of last use, or where the status depends on it,
// there are two tables: see tokens.
type lister struct {
	sqlkit.List
	store *Store
	ctx   context.Context
	tx    querier
}

func newLister(s *Store, ctx context.Context, tx querier, q apitoken.Query) *lister {
	l := &lister{store: s, ctx: ctx, tx: tx}
	l.List = sqlkit.List{Dialect: dialect, Bounds: &bounds, Query: q, Filters: filters(q), Records: l.records, Numbers: l.numbers}
	return l
}

// A page is found in one of several ways, by how much the filters let through,
// which the indexes tell.
//
// Without filters, an index has the tokens of an environment in the order asked
// for, and the page is a slice of it. If one of the filters lets through at most
// bounds.Few tokens, these are sorted. Else the index of the order is walked, a window at a
// time, until the page is full or bounds.Time is over. For a text alone, in the order of names,
// a walk would be long, as names are ordered by their first word: apitoken_index has
// the candidates, by their beginnings, in that order.
var bounds = sqlkit.Bounds{Few: 1000, Rows: 2000, Window: 500, Time: 50 * time.Millisecond}

// Step implements [sqlkit.Ways].
func (l *lister) Step(n int) (found []apitoken.Record, last *apitoken.Position, err error) {
	searched := l.Query.Order == apitoken.ByName && len(l.Filters) == 1 && sqlkit.Beginning(l.Query.Text) != ""
	c := l.walked(n)
	if searched {
		c = l.begun(n)
	}
	found, err = l.records(c)
	if err != nil || len(found) > l.Query.Limit {
		return found, nil, err
	}
	if searched {
		last, err = l.endOfBeginnings(n)
		return found, last, err
	}
	end, err := l.records(cat(lit(`SELECT `+selected+` FROM (`), l.inOrder(`t.id`), lit(fmt.Sprintf(` LIMIT 1 OFFSET %d) m JOIN apitoken_tokens t ON t.id = m.id`, n-1))))
	if err != nil || len(end) == 0 {
		return found, nil, err
	}
	place := end[0].Position(l.Query.Order)
	return found, &place, nil
}

// endOfBeginnings returns the place of the last of the next n tokens of beginnings, if there are so many.
func (l *lister) endOfBeginnings(n int) (*apitoken.Position, error) {
	c := cat(l.beginnings(), lit(fmt.Sprintf(` LIMIT 1 OFFSET %d`, n-1)))
	var end apitoken.Position
	switch err := queryRow(l.ctx, l.tx, numbered(c), c.Args...).Scan(&end.ID, &end.Name); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	end.Name = strings.TrimPrefix(end.Name, beginning(l.Query))
	return &end, nil
}

// Environment implements [sqlkit.Ways].
func (l *lister) Environment() clause {
	return lit(`apitoken_tokens WHERE environment = ?::text`, l.Query.Environment)
}

// Sliced implements [sqlkit.Ways].
func (l *lister) Sliced() clause { return cat(l.inOrder(selected), l.Limit(l.Query.Limit+1)) }

// inOrder selects columns of the tokens t of the environment from the position
// on, in order, by the index.
func (l *lister) inOrder(columns string) clause {
	const rest = ` WHERE t.environment = ?::text AND ` + onPrimary
	c := lit(`SELECT `+columns+` FROM apitoken_tokens t`+rest, l.Query.Environment)
	if l.Query.Order == apitoken.ByLastUsed {
		// The columns of the index are those of u.
		c = lit(`SELECT `+columns+` FROM (SELECT t.*, u.last_used_at FROM apitoken_last_used u JOIN apitoken_tokens t ON t.id = u.id
			WHERE u.environment = ?::text`, l.Query.Environment)
		c = cat(c, l.After("u"), l.Order("u"), lit(` OFFSET 0) t WHERE `+onPrimary))
		return cat(c, l.Order("t"))
	}
	// A status limits the times of expiry: there is no need to walk where it
	// cannot be.
	if l.Query.Order == apitoken.ByExpires {
		switch l.Query.Status {
		case apitoken.StatusExpired:
			if l.Query.Policy == (apitoken.Policy{}) {
				c = cat(c, lit(` AND t.expires_at <= ?::timestamptz`, l.Query.At))
			}
		case apitoken.StatusActive, apitoken.StatusPending:
			c = cat(c, lit(` AND t.expires_at > ?::timestamptz`, l.Query.At))
		}
	}
	return cat(c, l.After("t"), l.Order("t"))
}

// walked selects the page, and one record more, from the first tokens in order, as many as steps.
func (l *lister) walked(steps int) clause {
	columns := `t.*`
	if idle(l.Query) && l.Query.Order != apitoken.ByLastUsed {
		columns += `, (SELECT u.last_used_at FROM apitoken_last_used u WHERE u.id = t.id)`
	}
	return cat(lit(`SELECT `+selected+` FROM (`), l.inOrder(columns), l.Limit(steps), lit(`) t WHERE TRUE`), sqlkit.Tests(l.Filters, "t.id"), l.Order("t"), l.Limit(l.Query.Limit+1))
}

// begun selects it, in a list by name with a text alone, from the first tokens in order with
// a word that begins with the same three letters. Most often these are hardly more.
func (l *lister) begun(steps int) clause {
	return cat(
		lit(`SELECT `+selected+` FROM (`), l.beginnings(), l.Limit(steps), lit(`) m CROSS JOIN LATERAL (SELECT * FROM apitoken_tokens t WHERE t.id = m.id AND `+onPrimary),
		sqlkit.Tests(l.Filters, "t.id"), lit(` OFFSET 0) t`), l.OrderBy("m", "entry"), l.Limit(l.Query.Limit+1))
}

// beginnings selects the rows of apitoken_index of these tokens, in order.
func (l *lister) beginnings() clause {
	same := beginning(l.Query)
	c := lit(`SELECT i.id, i.entry FROM apitoken_index i WHERE i.environment = ?::text AND i.entry >= ?::text AND i.entry < ?::text`,
		l.Query.Environment, same, sqlkit.AfterPrefix(same))
	if after := l.Query.After; after != nil {
		c = cat(c, lit(` AND (i.entry, i.id) `+l.Follows()+` (?::text, ?::text)`, same+after.Name, after.ID))
	}
	return cat(c, l.OrderBy("i", "entry"))
}

// beginning is how entries of apitoken_index for the first letters of a text begin.
func beginning(q apitoken.Query) string { return "w=" + sqlkit.Beginning(q.Text) }

// Sorted implements [sqlkit.Ways].
func (l *lister) Sorted() clause {
	return cat(
		lit(`SELECT `+selected+` FROM (`), l.matching(`t.id, t.`+l.Column(), l.Rows), l.After("t"), l.Order("t"), l.Limit(l.Query.Limit+1),
		lit(`) m JOIN apitoken_tokens t ON t.id = m.id`), l.Order("m"))
}

// Matching implements [sqlkit.Ways].
func (l *lister) Matching(rows int) clause {
	if len(l.Filters) == 1 {
		return cat(lit(`SELECT DISTINCT f.id FROM (`), l.From(l.Filters[0], rows), lit(`) f`))
	}
	return l.matching(`t.id`, rows)
}

// matching selects columns of the tokens t that match, of so many rows of the first filter.
func (l *lister) matching(columns string, rows int) clause {
	from := l.From(l.Filters[0], rows)
	if l.Filters[0].Repeats {
		from = cat(lit(`SELECT DISTINCT d.id FROM (`), from, lit(`) d`))
	}
	return cat(
		lit(`SELECT `+columns+` FROM (`), from,
		lit(` OFFSET 0) f JOIN `+l.tokens()+` t ON t.id = f.id WHERE `+onPrimary), sqlkit.Tests(l.Filters[1:], "t.id"))
}

// tokens are apitoken_tokens, with the last use where it is needed.
func (l *lister) tokens() string {
	if l.Query.Order == apitoken.ByLastUsed || idle(l.Query) {
		return withLastUse
	}
	return `apitoken_tokens`
}

func (l *lister) records(c clause) ([]apitoken.Record, error) {
	return l.store.records(l.ctx, l.tx, numbered(c), c.Args...)
}

func (l *lister) numbers(c clause) (a, b int, err error) {
	err = queryRow(l.ctx, l.tx, numbered(c), c.Args...).Scan(&a, &b)
	return a, b, err
}
