package postgres

import (
	"fmt"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

type clause = sqlkit.Clause

var lit, cat = sqlkit.Lit, sqlkit.Cat

// dialect is that of PostgreSQL. The limit is written out, as the planner has to know it.
var dialect = &sqlkit.Dialect{
	Orders: map[apitoken.Order]string{
		apitoken.ByName:     "name_key",
		apitoken.ByCreated:  "created_at",
		apitoken.ByExpires:  "expires_at",
		apitoken.ByLastUsed: "last_used_at",
	},
	Arg: func(value any) clause {
		if _, ok := value.(string); ok {
			return lit(`?::text`, value)
		}
		return lit(`?::timestamptz`, value)
	},
	Key: func(by apitoken.Order, t time.Time) any {
		switch by {
		case apitoken.ByExpires:
			return expiry(t)
		case apitoken.ByLastUsed:
			return lastUsed(t)
		}
		return t
	},
	Limit:    func(n int) clause { return lit(fmt.Sprintf(` LIMIT %d`, n)) },
	Token:    `id`,
	Greatest: `greatest`,
	Begun:    `($.not_before IS NULL OR $.not_before <= ?::timestamptz)`,
}

// numbered returns the text of a clause with numbered arguments.
func numbered(c clause) string {
	var b strings.Builder
	for i, part := range strings.Split(c.Text, "?") {
		if i > 0 {
			fmt.Fprintf(&b, "$%d", i)
		}
		b.WriteString(part)
	}
	return b.String()
}

// filters returns the restrictions of q. Their rows have a column id.
func filters(q apitoken.Query) []sqlkit.Filter {
	var list []sqlkit.Filter
	if q.Owner != "" {
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_tokens d WHERE d.environment = ?::text AND d.owner = ?::text`, q.Environment, q.Owner),
			Test: lit(`t.owner = ?::text`, q.Owner),
		})
	}
	if q.Text != "" {
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_index d WHERE d.environment = ?::text AND d.entry >= ?::text AND d.entry < ?::text`,
				q.Environment, "t="+q.Text, sqlkit.AfterPrefix("t="+q.Text)),
			Repeats: true,
			Test:    lit(`EXISTS (SELECT FROM unnest(t.terms) e WHERE starts_with(e, ?::text))`, q.Text),
		})
	}
	if q.Permission != "" {
		list = append(list, sqlkit.Filter{
			Rows: lit(`apitoken_index d WHERE d.environment = ?::text AND d.entry = ?::text`, q.Environment, "p="+q.Permission),
			Test: lit(`?::text = ANY(t.permissions)`, q.Permission),
		})
	}
	if q.Status != "" {
		rows := `apitoken_tokens d WHERE `
		if idle(q) {
			rows = withLastUse + ` d WHERE `
		}
		f := sqlkit.Filter{Fits: dialect.StatusIs("d", q), Test: dialect.StatusIs("t", q)}
		f.Rows = lit(rows+`d.environment = ?::text AND d.status = 'active'`, q.Environment)
		switch q.Status {
		case apitoken.StatusInactive:
			f.Rows, f.Fits = lit(rows+`d.environment = ?::text AND d.status = 'inactive'`, q.Environment), clause{}
		case apitoken.StatusExpired:
			if q.Policy == (apitoken.Policy{}) {
				f.Rows, f.Fits = cat(f.Rows, lit(` AND d.expires_at <= ?::timestamptz`, q.At)), clause{}
			}
		case apitoken.StatusPending:
			f.Rows = lit(rows+`d.environment = ?::text AND d.not_before > ?::timestamptz`, q.Environment, q.At)
		case apitoken.StatusActive:
			f.Rows = cat(f.Rows, lit(` AND d.expires_at > ?::timestamptz`, q.At))
		}
		list = append(list, f)
	}
	return list
}

// withLastUse is apitoken_tokens with one column more.
const withLastUse = `(SELECT t.*, coalesce(u.last_used_at, '-infinity') AS last_used_at
	FROM apitoken_tokens t LEFT JOIN apitoken_last_used u ON u.id = t.id)`

// idle reports whether the status that q asks for depends on the last use.
func idle(q apitoken.Query) bool {
	return q.Policy.MaxIdle > 0 && q.Status != "" && q.Status != apitoken.StatusInactive
}
