package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// maxTerm is how long a term of Record.Terms is at most, in bytes.
const maxTerm = 64

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	by, ok := orderings[q.Order]
	if !ok {
		return apitoken.Page{}, fmt.Errorf("sqlite: no order %.40q", q.Order)
	}
	if err := s.enter(ctx); err != nil {
		return apitoken.Page{}, err
	}
	defer s.leave()
	if len(q.Text) > maxTerm {
		return apitoken.Page{}, nil
	}
	// One transaction, so that page and count are of the same moment.
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return apitoken.Page{}, wrap(err)
	}
	defer tx.Rollback()
	l := lister{ctx, tx, q, by, filters(q)}
	page, err := l.page()
	return page, wrap(err)
}

// An ordering is how a list is ordered: by a column, ties by ID, and with the
// index over both.
type ordering struct{ key, index string }

var orderings = map[apitoken.Order]ordering{
	apitoken.ByName:     {"name_key", "apitoken_by_name"},
	apitoken.ByCreated:  {"created_at", "apitoken_by_created"},
	apitoken.ByExpires:  {"expires_key", "apitoken_by_expires"},
	apitoken.ByLastUsed: {"last_used_key", "apitoken_by_last_used"},
}

// A lister answers one query.
type lister struct {
	ctx     context.Context
	tx      *sql.Tx
	q       apitoken.Query
	by      ordering
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
			c = l.merged(l.begun())
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
		n, err := l.number(cat(lit(`SELECT count(*) FROM (SELECT 1 FROM `), f.rows, lit(` LIMIT ?)`, enough+1)))
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
	if len(l.filters) == 1 && l.filters[0].repeats { // not where enough names begin with the text
		n, err := l.number(cat(lit(`SELECT count(*) FROM (SELECT 1 FROM `), nameRows(l.q), lit(` LIMIT ?)`, apitoken.MaxCount+1)))
		if err != nil || n > apitoken.MaxCount {
			return n, err
		}
	}
	return l.number(cat(lit(`SELECT count(*) FROM (`), l.found(), lit(` LIMIT ?)`, apitoken.MaxCount+1)))
}

// found selects something once for each token that matches.
func (l *lister) found() clause {
	switch len(l.filters) {
	case 0:
		return lit(`SELECT 1 FROM apitoken_tokens INDEXED BY apitoken_by_created WHERE environment = ?`, l.q.Environment)
	case 1:
		return cat(lit(`SELECT DISTINCT d.token FROM `), l.filters[0].rows)
	}
	return l.matching(`f.token`)
}

func (l *lister) records(c clause) ([]apitoken.Record, error) {
	rows, err := l.tx.QueryContext(l.ctx, c.text, c.args...)
	return sqlkit.All(rows, err)
}

func (l *lister) number(c clause) (n int, err error) {
	err = l.tx.QueryRowContext(l.ctx, c.text, c.args...).Scan(&n)
	return n, err
}
