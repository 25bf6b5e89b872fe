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
	tx, err := s.readers.BeginTx(ctx, nil)
	if err != nil {
		return apitoken.Page{}, wrap(err)
	}
	defer tx.Rollback()
	l := newLister(ctx, tx, sqlkit.ListedBy(q), index)
	page, err := l.Page(l)
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
	l.List = sqlkit.List{Dialect: dialect, Bounds: &bounds, Query: q, Filters: filters(q), Records: l.records, Numbers: l.numbers}
	return l
}

func (l *lister) records(c clause) ([]apitoken.Record, error) {
	rows, err := l.tx.QueryContext(l.ctx, c.Text, c.Args...)
	return sqlkit.All(rows, err)
}

func (l *lister) numbers(c clause) (a, b int, err error) {
	err = l.tx.QueryRowContext(l.ctx, c.Text, c.Args...).Scan(&a, &b)
	return a, b, err
}
