package sqlite

import (
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A clause is a piece of SQL with its arguments.
type clause struct {
	text string
	args []any
}

func lit(text string, args ...any) clause { return clause{text, args} }

// cat puts clauses together.
func cat(parts ...clause) clause {
	var all clause
	for _, p := range parts {
		all.text += p.text
		all.args = append(all.args, p.args...)
	}
	return all
}

// A filter is one restriction of a query.
type filter struct {
	rows    clause // from which d.token are the tokens that it lets through, by an index
	repeats bool   // rows may have a token more than once

	// test says whether it lets t through, of which token is an expression that
	// is had without t. It is not by EXISTS, of which the engine makes a join,
	// in any order.
	test func(token string) clause
}

// filters returns the restrictions of q, first those that let through little in
// most databases.
func filters(q apitoken.Query) []filter {
	var list []filter
	if q.Owner != "" {
		list = append(list, filter{
			rows: lit(`apitoken_tokens d INDEXED BY apitoken_by_owner WHERE d.environment = ? AND d.owner = ?`, q.Environment, q.Owner),
			test: func(string) clause { return lit(`t.owner = ?`, q.Owner) },
		})
	}
	if q.Text != "" {
		list = append(list, filter{
			rows:    cat(lit(`(SELECT token FROM `), termRows(q), lit(` UNION ALL SELECT token FROM `), nameRows(q), lit(`) d WHERE TRUE`)),
			repeats: true,
			test: func(token string) clause {
				return lit(`((SELECT TRUE FROM apitoken_terms e WHERE e.token = `+token+` AND e.term >= ? AND e.term < ? LIMIT 1)
					OR t.name_key >= ? AND t.name_key < ?)`, q.Text, textEnd(q), q.Text, textEnd(q))
			},
		})
	}
	if q.Permission != "" {
		list = append(list, filter{
			rows: lit(`apitoken_permissions d INDEXED BY apitoken_by_permission WHERE d.environment = ? AND d.permission = ?`,
				q.Environment, q.Permission),
			test: func(token string) clause {
				return lit(`(SELECT TRUE FROM apitoken_permissions e WHERE e.token = `+token+` AND e.permission = ? LIMIT 1)`, q.Permission)
			},
		})
	}
	if q.Status != "" {
		index := "apitoken_by_status"
		if q.Status == apitoken.StatusPending {
			index = "apitoken_by_not_before"
		}
		list = append(list, filter{
			rows: cat(lit(`apitoken_tokens d INDEXED BY `+index+` WHERE d.environment = ? AND `, q.Environment), statusIs("d", q)),
			test: func(string) clause { return statusIs("t", q) },
		})
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

// statusIs is Policy.Status in SQL, of the row d or t.
func statusIs(row string, q apitoken.Query) clause {
	if q.Status == apitoken.StatusInactive {
		return lit(row + `.status = 'inactive'`)
	}
	// What ends a token, and what its time must be compared with.
	type end struct {
		time string
		at   int64
	}
	ends := []end{{`$.expires_key`, q.At.UnixMicro()}}
	if life := q.Policy.MaxLifetime; life > 0 {
		ends = append(ends, end{`$.created_at`, q.At.UnixMicro() - life.Microseconds()})
	}
	if idle := q.Policy.MaxIdle; idle > 0 {
		ends = append(ends, end{`max($.created_at, $.last_used_key)`, q.At.UnixMicro() - idle.Microseconds()})
	}
	ended, alive := lit(`FALSE`), lit(`TRUE`)
	for _, e := range ends {
		ended = cat(ended, lit(` OR `+e.time+` <= ?`, e.at))
		alive = cat(alive, lit(` AND `+e.time+` > ?`, e.at))
	}
	c := lit(`$.status = 'active' AND `)
	switch q.Status {
	case apitoken.StatusExpired:
		c = cat(c, lit(`(`), ended, lit(`)`))
	case apitoken.StatusPending:
		c = cat(c, alive, lit(` AND $.not_before > ?`, q.At.UnixMicro()))
	case apitoken.StatusActive:
		c = cat(c, alive, lit(` AND ifnull($.not_before <= ?, TRUE)`, q.At.UnixMicro()))
	default:
		c = lit(`$.status = ?`, string(q.Status)) // none has it
	}
	c.text = strings.ReplaceAll(c.text, "$", row)
	return c
}
