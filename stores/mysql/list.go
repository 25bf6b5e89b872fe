package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (page apitoken.Page, err error) {
	if _, ok := dialect.Orders[q.Order]; !ok {
		return page, fmt.Errorf("mysql: no order %.40q", q.Order)
	}
	for _, text := range []string{q.Environment, q.Owner, q.Permission, q.Text} {
		if !utf8.ValidString(text) {
			return page, errText
		}
	}
	if q.After != nil && !utf8.ValidString(q.After.Name+q.After.ID) {
		return page, errText
	}
	if len(q.Text) > sqlkit.MaxTerm {
		return page, wrap(ctx.Err())
	}
	err = s.read(ctx, func(c *sql.Conn) (err error) {
		l := newLister(ctx, c, sqlkit.ListedBy(q))
		page, err = l.Page(l)
		return err
	})
	return page, wrap(err)
}

// A lister answers one query.
type lister struct {
	sqlkit.List
	ctx context.Context
	c   *sql.Conn
}

func newLister(ctx context.Context, c *sql.Conn, q apitoken.Query) *lister {
	l := &lister{ctx: ctx, c: c}
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
	// The end of the window.
	var end apitoken.Position
	if searched {
		c = cat(l.beginnings(), lit(` LIMIT 1 OFFSET ?`, n-1))
		switch err := l.c.QueryRowContext(l.ctx, c.Text, c.Args...).Scan(&end.ID, &end.Name); {
		case errors.Is(err, sql.ErrNoRows):
			return found, nil, nil
		case err != nil:
			return nil, nil, err
		}
		end.Name = strings.TrimPrefix(end.Name, beginning(l.Query))
		return found, &end, nil
	}
	ends, err := l.records(l.ofTokens(cat(l.inOrder(``), lit(` LIMIT 1 OFFSET ?`, n-1)), l.Column()))
	if err != nil || len(ends) == 0 {
		return found, nil, err
	}
	end = ends[0].Position(l.Query.Order)
	return found, &end, nil
}

// Environment implements [sqlkit.Ways].
func (l *lister) Environment() clause {
	return lit(`apitoken_tokens FORCE INDEX (apitoken_by_created) WHERE environment = ?`, l.Query.Environment)
}

// Sliced implements [sqlkit.Ways].
func (l *lister) Sliced() clause {
	return l.ofTokens(cat(l.inOrder(``), l.Limit(l.Query.Limit+1)), l.Column())
}

// Sorted implements [sqlkit.Ways].
func (l *lister) Sorted() clause {
	c := cat(l.matching(`t.id, t.`+l.Column(), l.Rows), l.After("t"), l.Order("t"), l.Limit(l.Query.Limit+1))
	return l.ofTokens(c, l.Column())
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
	distinct := ""
	if l.Filters[0].Repeats {
		distinct = "DISTINCT "
	}
	return cat(
		lit(`SELECT `+distinct+columns+` FROM (`), l.From(l.Filters[0], rows),
		lit(`) f STRAIGHT_JOIN apitoken_tokens t ON t.id = f.id WHERE TRUE`), sqlkit.Tests(l.Filters[1:], "t.id"))
}

// walked selects the page, and one record more, from the first tokens in order, as many as steps.
func (l *lister) walked(steps int) clause {
	columns := `` // and no more than needed
	if l.Query.Owner != "" {
		columns += `, t.owner`
	}
	if l.Query.Status != "" {
		for _, c := range []string{"created_at", "expires_key", "last_used_key"} {
			if c != l.Column() {
				columns += `, t.` + c
			}
		}
		columns += `, t.status, t.not_before`
	}
	return l.ofTokens(cat(
		lit(`SELECT t.id, t.`+l.Column()+` FROM (`), l.inOrder(columns), l.Limit(steps), lit(`) t WHERE TRUE`),
		sqlkit.Tests(l.Filters, "t.id"), l.Order("t"), l.Limit(l.Query.Limit+1)), l.Column())
}

// begun selects it, in a list by name with a text alone, from the first tokens in order with
// a word that begins with the same three letters. Most often these are hardly more.
func (l *lister) begun(steps int) clause {
	return l.ofTokens(cat(
		lit(`SELECT t.id, t.entry FROM (`), l.beginnings(), l.Limit(steps), lit(`) t WHERE TRUE`),
		sqlkit.Tests(l.Filters, "t.id"), l.OrderBy("t", "entry"), l.Limit(l.Query.Limit+1)), "entry")
}

// beginnings selects the rows of apitoken_index of these tokens, in order.
func (l *lister) beginnings() clause {
	same := beginning(l.Query)
	c := lit(`SELECT i.id, i.entry FROM apitoken_index i FORCE INDEX (PRIMARY) WHERE i.environment = ? AND i.entry >= ? AND i.entry < ?`,
		l.Query.Environment, same, sqlkit.AfterPrefix(same))
	if after := l.Query.After; after != nil {
		c = cat(c, l.Compared("i", "entry", l.Follows(), lit(`?`, same+after.Name), lit(`?`, after.ID)))
	}
	return cat(c, l.OrderBy("i", "entry"))
}

// beginning is how entries of apitoken_index for the first letters of a text begin.
func beginning(q apitoken.Query) string { return "w=" + sqlkit.Beginning(q.Text) }

// inOrder selects columns of the tokens t of the environment from the position on, in order, by the index:
// the ID, that of the order, and others.
func (l *lister) inOrder(columns string) clause {
	index := map[string]string{"name_key": "apitoken_by_name", "created_at": "apitoken_by_created", "expires_key": "apitoken_by_expires", "last_used_key": "apitoken_by_last_used"}
	c := cat(
		lit(`SELECT t.id, t.`+l.Column()+columns+` FROM apitoken_tokens t FORCE INDEX (`+index[l.Column()]+`) WHERE t.environment = ?`, l.Query.Environment),
		l.After("t"))
	// A status limits the times of expiry, so that there is no need to walk where it cannot be.
	if l.Query.Order == apitoken.ByExpires {
		switch at := l.Query.At.UnixMicro(); l.Query.Status {
		case apitoken.StatusExpired:
			if l.Query.Policy == (apitoken.Policy{}) {
				c = cat(c, lit(` AND t.expires_key <= ?`, at))
			}
		case apitoken.StatusActive, apitoken.StatusPending:
			c = cat(c, lit(` AND t.expires_key > ?`, at))
		}
	}
	return cat(c, l.Order("t"))
}

// ofTokens selects the records of tokens, which c selects with the column that they are ordered by.
func (l *lister) ofTokens(c clause, column string) clause {
	return cat(lit(`SELECT `+selected+` FROM (`), c, lit(`) m STRAIGHT_JOIN apitoken_tokens t ON t.id = m.id`), l.OrderBy("m", column))
}

func (l *lister) records(c clause) ([]apitoken.Record, error) {
	return sqlkit.All(l.c.QueryContext(l.ctx, c.Text, c.Args...))
}

func (l *lister) numbers(c clause) (a, b int, err error) {
	err = l.c.QueryRowContext(l.ctx, c.Text, c.Args...).Scan(&a, &b)
	return a, b, err
}
