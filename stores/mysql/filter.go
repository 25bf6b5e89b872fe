package mysql

import (
	"errors"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

type clause = sqlkit.Clause

var lit, cat = sqlkit.Lit, sqlkit.Cat

var errText = errors.New("mysql: the text is not valid UTF-8")

var dialect = &sqlkit.Dialect{
	Orders: map[apitoken.Order]string{
		apitoken.ByName:     "name_key",
		apitoken.ByCreated:  "created_at",
		apitoken.ByExpires:  "expires_key",
		apitoken.ByLastUsed: "last_used_key",
	},
	Arg: func(value any) clause {
		if t, ok := value.(time.Time); ok {
			value = t.UnixMicro()
		}
		return lit(`?`, value)
	},
	Key: func(by apitoken.Order, t time.Time) any {
		if by == apitoken.ByExpires {
			return sqlkit.ExpiresKey(t)
		}
		return t
	},
	Limit:    func(n int) clause { return lit(` LIMIT ?`, n) },
	Token:    `id`,
	Greatest: `greatest`,
	Begun:    `($.not_before IS NULL OR $.not_before <= ?)`,
	NoRows:   true,
}

// filters returns the restrictions of q. Their rows have a column id. A test is a subquery with a limit, which the engine
// does not make a join of, in an order of its own.
func filters(q apitoken.Query) []sqlkit.Filter {
	var list []sqlkit.Filter
	if q.Owner != "" {
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_tokens d FORCE INDEX (apitoken_by_owner) WHERE d.environment = ? AND d.owner = ?`, q.Environment, q.Owner),
			Test: lit(`t.owner = ?`, q.Owner),
		})
	}
	if q.Text != "" {
		from, to := "t="+q.Text, sqlkit.AfterPrefix("t="+q.Text)
		list = append(list, sqlkit.Filter{
			Rows:    lit(`apitoken_index d FORCE INDEX (PRIMARY) WHERE d.environment = ? AND d.entry >= ? AND d.entry < ?`, q.Environment, from, to),
			Repeats: true,
			Test:    lit(`(SELECT 1 FROM apitoken_index e FORCE INDEX (apitoken_of_token) WHERE e.id = $ AND e.entry >= ? AND e.entry < ? LIMIT 1)`, from, to),
		})
	}
	if q.Permission != "" {
		entry := "p=" + q.Permission
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_index d FORCE INDEX (PRIMARY) WHERE d.environment = ? AND d.entry = ?`, q.Environment, entry),
			Test: lit(`(SELECT 1 FROM apitoken_index e FORCE INDEX (apitoken_of_token) WHERE e.id = $ AND e.entry = ? LIMIT 1)`, entry),
		})
	}
	if q.Status != "" {
		const rows = `apitoken_tokens d FORCE INDEX (apitoken_by_status) WHERE d.environment = ? AND d.status = `
		f := sqlkit.Filter{Fits: dialect.StatusIs("d", q), Test: dialect.StatusIs("t", q)}
		f.Rows = lit(rows+`'active'`, q.Environment)
		switch at := q.At.UnixMicro(); q.Status {
		case apitoken.StatusInactive:
			f.Rows, f.Fits = lit(rows+`'inactive'`, q.Environment), clause{}
		case apitoken.StatusExpired:
			if q.Policy == (apitoken.Policy{}) {
				f.Rows, f.Fits = cat(f.Rows, lit(` AND d.expires_key <= ?`, at)), clause{}
			}
		case apitoken.StatusPending:
			f.Rows = lit(`apitoken_tokens d FORCE INDEX (apitoken_by_not_before) WHERE d.environment = ? AND d.not_before > ?`, q.Environment, at)
		case apitoken.StatusActive:
			f.Rows = cat(f.Rows, lit(` AND d.expires_key > ?`, at))
		}
		list = append(list, f)
	}
	return list
}
