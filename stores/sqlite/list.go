package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	index, ok := indexes[q.Order]
	if !ok {
		return apitoken.Page{}, fmt.Errorf("sqlite: no order %.40q", q.Order)
	}
	if err := s.enter(ctx); err != nil {
		return apitoken.Page{}, err
	}
	defer s.leave()
	if len(q.Text) > sqlkit.MaxTerm {
		return apitoken.Page{}, nil
	}
	// One transaction, so that page and count are of the same moment.
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return apitoken.Page{}, wrap(err)
	}
	defer tx.Rollback()
	page, err := newLister(ctx, tx, sqlkit.ListedBy(q), index).page()
	return page, wrap(err)
}

// indexes are those over the columns that lists are ordered by, and the ID.
var indexes = map[apitoken.Order]string{
	apitoken.ByName:     "apitoken_by_name",
	apitoken.ByCreated:  "apitoken_by_created",
	apitoken.ByExpires:  "apitoken_by_expires",
	apitoken.ByLastUsed: "apitoken_by_last_used",
}

// A lister answers one query.
type lister struct {
	sqlkit.List
	ctx   context.Context
	tx    *sql.Tx
	index string // of the order
}

func newLister(ctx context.Context, tx *sql.Tx, q apitoken.Query, index string) *lister {
	l := &lister{ctx: ctx, tx: tx, index: index}
	l.List = sqlkit.List{Dialect: dialect, Query: q, Filters: filters(q), Few: few, Number: l.number}
	return l
}

func (l *lister) page() (apitoken.Page, error) { return l.Page(l.count, l.search, l.find) }

func (l *lister) search(n int) ([]apitoken.Record, error) {
	if n > min(few, sqlkit.MaxCount) {
		return l.records(l.merged(l.begun()))
	}
	return l.records(l.sorted())
}

// count returns how many tokens match, or more than MaxCount.
func (l *lister) count() (int, error) {
	if len(l.Filters) == 1 && l.Filters[0].Repeats { // not where enough names begin with the text
		n, err := l.Number(cat(lit(`SELECT count(*) FROM (SELECT 1 FROM `), nameRows(l.Query), lit(` LIMIT ?)`, sqlkit.MaxCount+1)))
		if err != nil || n > sqlkit.MaxCount {
			return n, err
		}
	}
	return l.Number(cat(lit(`SELECT count(*) FROM (`), l.found(), lit(` LIMIT ?)`, sqlkit.MaxCount+1)))
}

// found selects something once for each token that matches.
func (l *lister) found() clause {
	switch len(l.Filters) {
	case 0:
		return lit(`SELECT 1 FROM apitoken_tokens INDEXED BY apitoken_by_created WHERE environment = ?`, l.Query.Environment)
	case 1:
		return cat(lit(`SELECT DISTINCT d.token FROM `), l.Filters[0].Rows)
	}
	return l.matching(`f.token`)
}

func (l *lister) records(c clause) ([]apitoken.Record, error) {
	rows, err := l.tx.QueryContext(l.ctx, c.Text, c.Args...)
	return sqlkit.All(rows, err)
}

func (l *lister) number(c clause) (n int, err error) {
	err = l.tx.QueryRowContext(l.ctx, c.Text, c.Args...).Scan(&n)
	return n, err
}
