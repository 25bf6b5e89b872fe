package sqlite

import (
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

type clause = sqlkit.Clause

var lit, cat = sqlkit.Lit, sqlkit.Cat

// dialect is that of SQLite. Begun is no OR, for which the engine would look into an index twice.
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
	Token:    `token`,
	Greatest: `max`,
	Begun:    `ifnull($.not_before <= ?, TRUE)`,
}

// filters returns the restrictions of q, the ones with few matches in most databases
// first. Their rows have a column token. A test is not by EXISTS, of which the
// engine makes a join, in any order.
func filters(q apitoken.Query) []sqlkit.Filter {
	var list []sqlkit.Filter
	if q.Owner != "" {
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_tokens d INDEXED BY apitoken_by_owner WHERE d.environment = ? AND d.owner = ?`, q.Environment, q.Owner),
			Test: lit(`t.owner = ?`, q.Owner),
		})
	}
	if q.Text != "" {
		list = append(list, sqlkit.Filter{
			Rows:    cat(lit(`(SELECT token FROM `), termRows(q), lit(` UNION ALL SELECT token FROM `), nameRows(q), lit(`) d WHERE TRUE`)),
			Repeats: true,
			Test: lit(`((SELECT TRUE FROM apitoken_terms e WHERE e.token = $ AND e.term >= ? AND e.term < ? LIMIT 1)
				OR t.name_key >= ? AND t.name_key < ?)`, q.Text, textEnd(q), q.Text, textEnd(q)),
		})
	}
	if q.Permission != "" {
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_permissions d INDEXED BY apitoken_by_permission WHERE d.environment = ? AND d.permission = ?`,
				q.Environment, q.Permission),
			Test: lit(`(SELECT TRUE FROM apitoken_permissions e WHERE e.token = $ AND e.permission = ? LIMIT 1)`, q.Permission),
		})
	}
	if q.Status != "" {
		f := sqlkit.Filter{Fits: dialect.StatusIs("d", q), Test: dialect.StatusIs("t", q)}
		f.Rows = lit(`apitoken_tokens d INDEXED BY apitoken_by_status WHERE d.environment = ? AND d.status = 'active'`, q.Environment)
		switch at := q.At.UnixMicro(); q.Status {
		case apitoken.StatusInactive:
			f.Rows = lit(`apitoken_tokens d INDEXED BY apitoken_by_status WHERE d.environment = ? AND d.status = 'inactive'`, q.Environment)
			f.Fits = clause{}
		case apitoken.StatusExpired:
			if q.Policy == (apitoken.Policy{}) {
				f.Rows, f.Fits = cat(f.Rows, lit(` AND d.expires_key <= ?`, at)), clause{}
			}
		case apitoken.StatusPending:
			f.Rows = lit(`apitoken_tokens d INDEXED BY apitoken_by_not_before WHERE d.environment = ? AND d.not_before > ?`, q.Environment, at)
		case apitoken.StatusActive:
			f.Rows = cat(f.Rows, lit(` AND d.expires_key > ?`, at))
		}
		list = append(list, f)
	}
	return list
}

// termRows are the rows of apitoken_terms that begin with the text of q. It is
// not in them that names begin with it: that is seen from the names.
func termRows(q apitoken.Query) clause {
	return lit(`apitoken_terms d INDEXED BY apitoken_by_term WHERE d.environment = ? AND d.term >= ? AND d.term < ?`,
		q.Environment, q.Text, textEnd(q))
}

// nameRows are the rows of apitoken_tokens whose names do.
func nameRows(q apitoken.Query) clause {
	return lit(`apitoken_tokens INDEXED BY apitoken_by_name WHERE environment = ? AND name_key >= ? AND name_key < ?`, q.Environment, q.Text, textEnd(q))
}

// textEnd follows all that begins with the text of q, as no term has this byte.
func textEnd(q apitoken.Query) string { return q.Text + "\xff" }
