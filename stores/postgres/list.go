package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
)

// maxTerm is how long a term of Record.Terms is at most, in bytes.
const maxTerm = 64

// beginList begins a transaction with one snapshot, so that page and count are of
// the same moment. The plans are of what the indexes are for: to begin at the right
// place and to stop early, which the planner does not prefer if it thinks that
// much will be found. The memory is for what is gathered of up to many tokens.
const beginList = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
	SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'`

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (page apitoken.Page, err error) {
	key, ok := orderings[q.Order]
	if !ok {
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
	if len(q.Text) > maxTerm {
		return page, wrap(ctx.Err())
	}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: beginList})
	if err != nil {
		return page, wrap(err)
	}
	defer tx.Rollback(ctx)
	l := lister{s, ctx, tx, q, key, filters(q)}
	page, err = l.page()
	return page, wrap(err)
}

// orderings are the columns that lists are ordered by. Ties are broken by ID. There is
// an index over both.
var orderings = map[apitoken.Order]string{
	apitoken.ByName:     "name_key",
	apitoken.ByCreated:  "created_at",
	apitoken.ByExpires:  "expires_at",
	apitoken.ByLastUsed: "last_used_at",
}

// A lister answers one query.
type lister struct {
	store   *Store
	ctx     context.Context
	tx      pgx.Tx
	q       apitoken.Query
	key     string // the column that the list is ordered by
	filters []filter
}

func (l *lister) page() (page apitoken.Page, err error) {
	var n int
	var recs []apitoken.Record
	search := l.q.Order == apitoken.ByName && len(l.filters) == 1 && beginning(l.q.Text) != ""
	if search {
		if n, err = l.count(); err != nil {
			return page, err
		}
		c := l.sorted()
		if n > min(few, apitoken.MaxCount) {
			c = l.begun()
		}
		recs, err = l.records(c)
	} else {
		if n, err = l.rarest(max(few, apitoken.MaxCount)); err != nil {
			return page, err
		}
		recs, err = l.find(n)
	}
	if err != nil {
		return page, err
	}
	if page.Records = recs; len(recs) > l.q.Limit {
		page.Records = recs[:l.q.Limit]
		next := recs[l.q.Limit-1].Position(l.q.Order)
		page.Next = &next
	}
	switch {
	case l.q.After == nil && page.Next == nil: // that is all
		n = len(recs)
	case search || len(l.filters) == 1 && !l.filters[0].repeats: // n is it
	default:
		if n, err = l.count(); err != nil {
			return page, err
		}
	}
	page.Count, page.More = min(n, apitoken.MaxCount), n > apitoken.MaxCount
	return page, nil
}

// rarest puts the filter first that lets through least, and returns how many
// tokens these are, or more than enough.
func (l *lister) rarest(enough int) (least int, err error) {
	for i, f := range l.filters {
		n, err := l.number(cat(lit(`SELECT count(*) FROM (SELECT FROM `), f.rows, limit(enough+1), lit(`) d`)))
		if err != nil {
			return 0, err
		}
		if i == 0 || n < least {
			least = n
			l.filters[0], l.filters[i] = l.filters[i], l.filters[0]
		}
		if n < few/10 {
			break
		}
	}
	return least, nil
}

// count returns how many tokens match, or more than MaxCount.
func (l *lister) count() (int, error) {
	switch {
	case len(l.filters) == 0:
		return l.number(cat(lit(`SELECT count(*) FROM (SELECT FROM apitoken_tokens WHERE environment = ?::text`, l.q.Environment),
			limit(apitoken.MaxCount+1), lit(`) d`)))
	case len(l.filters) > 1:
		return l.number(cat(lit(`SELECT count(*) FROM (`), l.matching(`t.id`), limit(apitoken.MaxCount+1), lit(`) d`)))
	}
	// A token may be in many rows. How many have to be read for so many different
	// tokens, nobody knows.
	for rows := apitoken.MaxCount * 5 / 4; ; rows *= 10 {
		var read, different int
		c := cat(lit(`SELECT count(*), count(DISTINCT id) FROM (SELECT d.id FROM `), l.filters[0].rows, limit(rows), lit(`) d`))
		err := l.tx.QueryRow(l.ctx, c.sql(), c.args...).Scan(&read, &different)
		if err != nil || different > apitoken.MaxCount || read < rows {
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
	case len(l.filters) == 0:
		return l.records(cat(l.inOrder(selected), limit(l.q.Limit+1)))
	case n <= few:
		return l.records(l.sorted())
	}
	recs, err := l.records(l.walked(limit(shortWalk)))
	if err == nil && len(recs) <= l.q.Limit && len(recs)*longWalk > 2*shortWalk*l.q.Limit {
		recs, err = l.records(l.walked(limit(longWalk)))
	}
	if err != nil || len(recs) > l.q.Limit {
		return recs, err
	}
	if n, err = l.rarest(many); err != nil {
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
	c := lit(`SELECT `+columns+` FROM apitoken_tokens t`+rest, l.q.Environment)
	if l.q.Order == apitoken.ByLastUsed {
		// The columns of the index are those of u.
		c = lit(`SELECT `+columns+` FROM (SELECT t.*, u.last_used_at FROM apitoken_last_used u JOIN apitoken_tokens t ON t.id = u.id
			WHERE u.environment = ?::text`, l.q.Environment)
		c = cat(c, l.after("u"), lit(` ORDER BY u.last_used_at`+l.direction()+`, u.id`+l.direction()+` OFFSET 0) t WHERE `+onPrimary))
		return cat(c, l.order("t"))
	}
	// A status limits the times of expiry: there is no need to walk where it
	// cannot be.
	if l.q.Order == apitoken.ByExpires {
		switch l.q.Status {
		case apitoken.StatusExpired:
			if l.q.Policy == (apitoken.Policy{}) {
				c = cat(c, lit(` AND t.expires_at <= ?::timestamptz`, l.q.At))
			}
		case apitoken.StatusActive, apitoken.StatusPending:
			c = cat(c, lit(` AND t.expires_at > ?::timestamptz`, l.q.At))
		}
	}
	return cat(c, l.after("t"), l.order("t"))
}

// walked selects the page, and one record more, from the tokens in order, as many as the
// limit says.
func (l *lister) walked(steps clause) clause {
	columns := `t.*`
	if idle(l.q) && l.q.Order != apitoken.ByLastUsed {
		columns += `, (SELECT u.last_used_at FROM apitoken_last_used u WHERE u.id = t.id)`
	}
	return cat(lit(`SELECT `+selected+` FROM (`), l.inOrder(columns), steps, lit(`) t WHERE TRUE`), tests(l.filters), l.order("t"), limit(l.q.Limit+1))
}

// swept selects it from all tokens in order that the first filter lets through,
// which are gathered first. ("IS TRUE" keeps the planner from making a join of that,
// OFFSET 0 from beginning elsewhere.)
func (l *lister) swept() clause {
	index := `apitoken_tokens`
	if l.q.Order == apitoken.ByLastUsed {
		index = `apitoken_last_used`
	}
	return cat(
		lit(`SELECT `+selected+` FROM (SELECT i.id, i.`+l.key+` FROM `+index+` i WHERE i.environment = ?::text AND `+onPrimary, l.q.Environment),
		l.after("i"),
		lit(` AND (i.id IN (SELECT d.id FROM `), l.filters[0].rows, limit(many+1), lit(`)) IS TRUE`),
		l.order("i"), lit(` OFFSET 0) m CROSS JOIN LATERAL (SELECT * FROM `+l.tokens()+` t WHERE t.id = m.id`),
		tests(l.filters[1:]), lit(` OFFSET 0) t`), l.order("m"), limit(l.q.Limit+1))
}

// begun selects it, in a list by name with a text alone, from the tokens in order with
// a word that begins with the same three letters. Most often these are hardly more.
func (l *lister) begun() clause {
	same := "w=" + beginning(l.q.Text)
	c := lit(`SELECT i.id, i.entry FROM apitoken_index i WHERE i.environment = ?::text AND i.entry >= ?::text AND i.entry < ?::text`,
		l.q.Environment, same, afterPrefix(same))
	if after := l.q.After; after != nil {
		c = cat(c, lit(` AND (i.entry, i.id) `+l.follows()+` (?::text, ?::text)`, same+after.Name, after.ID))
	}
	order := func(row string) clause {
		return lit(` ORDER BY ` + row + `.entry` + l.direction() + `, ` + row + `.id` + l.direction())
	}
	return cat(
		lit(`SELECT `+selected+` FROM (`), c, order("i"), lit(` OFFSET 0) m CROSS JOIN LATERAL (SELECT * FROM apitoken_tokens t WHERE t.id = m.id AND `+onPrimary),
		tests(l.filters), lit(` OFFSET 0) t`), order("m"), limit(l.q.Limit+1))
}

// beginning returns the first three letters of a text, "" if it has fewer.
func beginning(text string) string {
	if letters := []rune(text); len(letters) >= 3 {
		return string(letters[:3])
	}
	return ""
}

// sorted selects it by sorting what the first filter lets through.
func (l *lister) sorted() clause {
	return cat(
		lit(`SELECT `+selected+` FROM (`), l.matching(`t.id, t.`+l.key), l.after("t"), l.order("t"), limit(l.q.Limit+1),
		lit(`) m JOIN apitoken_tokens t ON t.id = m.id`), l.order("m"))
}

// matching selects columns of the tokens t that match, found by the first filter.
func (l *lister) matching(columns string) clause {
	distinct := ""
	if l.filters[0].repeats {
		distinct = "DISTINCT "
	}
	return cat(
		lit(`SELECT `+columns+` FROM (SELECT `+distinct+`d.id FROM `), l.filters[0].rows,
		lit(` OFFSET 0) f JOIN `+l.tokens()+` t ON t.id = f.id WHERE `+onPrimary), tests(l.filters[1:]))
}

// tokens are apitoken_tokens, with the last use where it is needed.
func (l *lister) tokens() string {
	if l.q.Order == apitoken.ByLastUsed || idle(l.q) {
		return withLastUse
	}
	return `apitoken_tokens`
}

func tests(filters []filter) clause {
	var all clause
	for _, f := range filters {
		all = cat(all, lit(` AND `), f.test)
	}
	return all
}

// after restricts a row to what follows the position.
func (l *lister) after(row string) clause {
	if l.q.After == nil {
		return clause{}
	}
	var key any
	kind := "timestamptz"
	switch at := l.q.After.Time; l.q.Order {
	case apitoken.ByName:
		key, kind = l.q.After.Name, "text"
	case apitoken.ByExpires:
		key = expiry(at)
	case apitoken.ByLastUsed:
		key = lastUsed(at)
	default:
		key = at
	}
	return lit(` AND (`+row+`.`+l.key+`, `+row+`.id) `+l.follows()+` (?::`+kind+`, ?::text)`, key, l.q.After.ID)
}

func (l *lister) follows() string {
	if l.q.Descending {
		return "<"
	}
	return ">"
}

func (l *lister) order(row string) clause {
	return lit(` ORDER BY ` + row + `.` + l.key + l.direction() + `, ` + row + `.id` + l.direction())
}

func (l *lister) direction() string {
	if l.q.Descending {
		return " DESC"
	}
	return ""
}

// limit is written out, as the planner has to know it.
func limit(n int) clause { return lit(fmt.Sprintf(` LIMIT %d`, n)) }

func (l *lister) records(c clause) ([]apitoken.Record, error) {
	return l.store.records(l.ctx, l.tx, c.sql(), c.args...)
}

func (l *lister) number(c clause) (n int, err error) {
	err = l.tx.QueryRow(l.ctx, c.sql(), c.args...).Scan(&n)
	return n, err
}
