package postgres

import (
	"context"
	"fmt"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// beginList begins a transaction with one snapshot, so that page and count are of
// the same moment. The plans are of what the indexes are for: to begin at the right
// place and to stop early, which the planner does not prefer if it thinks that
// much will be found. The memory is for what is gathered of up to many tokens.
const beginList = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
	SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'`

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
		page, err = newLister(s, ctx, tx, sqlkit.ListedBy(q)).page()
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
	l.List = sqlkit.List{Dialect: dialect, Query: q, Filters: filters(q), Few: few, Number: l.number}
	return l
}

func (l *lister) page() (apitoken.Page, error) { return l.Page(l.count, l.search, l.find) }

func (l *lister) search(n int) ([]apitoken.Record, error) {
	if n > min(few, sqlkit.MaxCount) {
		return l.records(l.begun())
	}
	return l.records(l.sorted())
}

// count returns how many tokens match, or more than MaxCount.
func (l *lister) count() (int, error) {
	switch {
	case len(l.Filters) == 0:
		return l.Number(cat(lit(`SELECT count(*) FROM (SELECT FROM apitoken_tokens WHERE environment = ?::text`, l.Query.Environment),
			l.Limit(sqlkit.MaxCount+1), lit(`) d`)))
	case len(l.Filters) > 1:
		return l.Number(cat(lit(`SELECT count(*) FROM (`), l.matching(`t.id`), l.Limit(sqlkit.MaxCount+1), lit(`) d`)))
	}
	// A token may be in many rows. How many have to be read for so many different
	// tokens, nobody knows.
	for rows := sqlkit.MaxCount * 5 / 4; ; rows *= 10 {
		var read, different int
		c := cat(lit(`SELECT count(*), count(DISTINCT id) FROM (SELECT d.id FROM `), l.Filters[0].Rows, l.Limit(rows), lit(`) d`))
		err := queryRow(l.ctx, l.tx, numbered(c), c.Args...).Scan(&read, &different)
		if err != nil || different > sqlkit.MaxCount || read < rows {
			return different, err
		}
	}
}

// A page is found in one of several ways, by how much the filters let through,
// which the indexes tell.
//
// Without filters, an index has the tokens of an environment in the order asked
// for, and the page is a slice of it. If one of the filters lets through at most
// few tokens, these are sorted. For a text alone, in the order of names, apitoken_index
// has beginnings: a walk would be long, as names are ordered by their first word.
// Else whoever walks the index of the order most often meets enough of them soon: after
// a shortWalk it is seen whether a longWalk is worth it. Where not, what a filter lets
// through is gathered, up to many, and the index is swept for it, without a look at the
// rows. Both take time in proportion to what is passed over, but the sweep little for
// each.
var (
	few       = 1000
	many      = 200_000
	shortWalk = 500
	longWalk  = 5000
)

// find returns the page, and one record more. The rarest filter lets through n.
func (l *lister) find(n int) ([]apitoken.Record, error) {
	switch {
	case len(l.Filters) == 0:
		return l.records(cat(l.inOrder(selected), l.Limit(l.Query.Limit+1)))
	case n <= few:
		return l.records(l.sorted())
	}
	recs, err := l.records(l.walked(l.Limit(shortWalk)))
	if err == nil && len(recs) <= l.Query.Limit && len(recs)*longWalk > 2*shortWalk*l.Query.Limit {
		recs, err = l.records(l.walked(l.Limit(longWalk)))
	}
	if err != nil || len(recs) > l.Query.Limit {
		return recs, err
	}
	if n, err = l.Rarest(many); err != nil {
		return nil, err
	}
	if n <= many {
		return l.records(l.swept())
	}
	return l.records(l.walked(clause{}))
}

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

// walked selects the page, and one record more, from the tokens in order, as many as the
// limit says.
func (l *lister) walked(steps clause) clause {
	columns := `t.*`
	if idle(l.Query) && l.Query.Order != apitoken.ByLastUsed {
		columns += `, (SELECT u.last_used_at FROM apitoken_last_used u WHERE u.id = t.id)`
	}
	return cat(lit(`SELECT `+selected+` FROM (`), l.inOrder(columns), steps, lit(`) t WHERE TRUE`), sqlkit.Tests(l.Filters, "t.id"), l.Order("t"), l.Limit(l.Query.Limit+1))
}

// swept selects it from all tokens in order that the first filter lets through,
// which are gathered first. ("IS TRUE" keeps the planner from making a join of that,
// OFFSET 0 from beginning elsewhere.)
func (l *lister) swept() clause {
	index := `apitoken_tokens`
	if l.Query.Order == apitoken.ByLastUsed {
		index = `apitoken_last_used`
	}
	return cat(
		lit(`SELECT `+selected+` FROM (SELECT i.id, i.`+l.Column()+` FROM `+index+` i WHERE i.environment = ?::text AND `+onPrimary, l.Query.Environment),
		l.After("i"),
		lit(` AND (i.id IN (SELECT d.id FROM `), l.Filters[0].Rows, l.Limit(many+1), lit(`)) IS TRUE`),
		l.Order("i"), lit(` OFFSET 0) m CROSS JOIN LATERAL (SELECT * FROM `+l.tokens()+` t WHERE t.id = m.id`),
		sqlkit.Tests(l.Filters[1:], "t.id"), lit(` OFFSET 0) t`), l.Order("m"), l.Limit(l.Query.Limit+1))
}

// begun selects it, in a list by name with a text alone, from the tokens in order with
// a word that begins with the same three letters. Most often these are hardly more.
func (l *lister) begun() clause {
	same := "w=" + sqlkit.Beginning(l.Query.Text)
	c := lit(`SELECT i.id, i.entry FROM apitoken_index i WHERE i.environment = ?::text AND i.entry >= ?::text AND i.entry < ?::text`,
		l.Query.Environment, same, afterPrefix(same))
	if after := l.Query.After; after != nil {
		c = cat(c, lit(` AND (i.entry, i.id) `+l.Follows()+` (?::text, ?::text)`, same+after.Name, after.ID))
	}
	return cat(
		lit(`SELECT `+selected+` FROM (`), c, l.OrderBy("i", "entry"), lit(` OFFSET 0) m CROSS JOIN LATERAL (SELECT * FROM apitoken_tokens t WHERE t.id = m.id AND `+onPrimary),
		sqlkit.Tests(l.Filters, "t.id"), lit(` OFFSET 0) t`), l.OrderBy("m", "entry"), l.Limit(l.Query.Limit+1))
}

// sorted selects it by sorting what the first filter lets through.
func (l *lister) sorted() clause {
	return cat(
		lit(`SELECT `+selected+` FROM (`), l.matching(`t.id, t.`+l.Column()), l.After("t"), l.Order("t"), l.Limit(l.Query.Limit+1),
		lit(`) m JOIN apitoken_tokens t ON t.id = m.id`), l.Order("m"))
}

// matching selects columns of the tokens t that match, found by the first filter.
func (l *lister) matching(columns string) clause {
	distinct := ""
	if l.Filters[0].Repeats {
		distinct = "DISTINCT "
	}
	return cat(
		lit(`SELECT `+columns+` FROM (SELECT `+distinct+`d.id FROM `), l.Filters[0].Rows,
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

func (l *lister) number(c clause) (n int, err error) {
	err = queryRow(l.ctx, l.tx, numbered(c), c.Args...).Scan(&n)
	return n, err
}
