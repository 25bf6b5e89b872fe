package postgres

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// A clause is a piece of SQL with its arguments, for which "?" stands in it.
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

// sql returns the text with numbered arguments.
func (c clause) sql() string {
	var b strings.Builder
	for i, part := range strings.Split(c.text, "?") {
		if i > 0 {
			fmt.Fprintf(&b, "$%d", i)
		}
		b.WriteString(part)
	}
	return b.String()
}

// A filter is one restriction of a query.
type filter struct {
	rows    clause // what follows FROM where d.id are the tokens that it lets through, by an index
	repeats bool   // rows may have a token more than once
	test    clause // whether it lets t through, of which the row is at hand
}

// filters returns the restrictions of q.
func filters(q apitoken.Query) []filter {
	var list []filter
	if q.Owner != "" {
		list = append(list, filter{
			rows: lit(`apitoken_tokens d WHERE d.environment = ?::text AND d.owner = ?::text`, q.Environment, q.Owner),
			test: lit(`t.owner = ?::text`, q.Owner),
		})
	}
	if q.Text != "" {
		list = append(list, filter{
			rows: lit(`apitoken_index d WHERE d.environment = ?::text AND d.entry >= ?::text AND d.entry < ?::text`,
				q.Environment, "t="+q.Text, afterPrefix("t="+q.Text)),
			repeats: true,
			test:    lit(`EXISTS (SELECT FROM unnest(t.terms) e WHERE starts_with(e, ?::text))`, q.Text),
		})
	}
	if q.Permission != "" {
		list = append(list, filter{
			rows: lit(`apitoken_index d WHERE d.environment = ?::text AND d.entry = ?::text`, q.Environment, "p="+q.Permission),
			test: lit(`?::text = ANY(t.permissions)`, q.Permission),
		})
	}
	if q.Status != "" {
		rows := `apitoken_tokens d WHERE `
		if idle(q) {
			rows = withLastUse + ` d WHERE `
		}
		list = append(list, filter{
			rows: cat(lit(rows+`d.environment = ?::text AND `, q.Environment), statusIs("d", q)),
			test: statusIs("t", q),
		})
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

// afterPrefix returns the least text that follows all that begin with prefix, in
// byte order, which is that of code points.
func afterPrefix(prefix string) string {
	for {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch last {
		case utf8.MaxRune: // none follows this one
		case 0xd7ff:
			return prefix + "\ue000" // what lies between is no character
		default:
			return prefix + string(last+1)
		}
	}
}

// statusIs is Policy.Status in SQL, of the row d or t.
func statusIs(row string, q apitoken.Query) clause {
	if q.Status == apitoken.StatusInactive {
		return lit(row + `.status = 'inactive'`)
	}
	// What ends a token, and what its time must be compared with.
	type end struct {
		time string
		at   any
	}
	ends := []end{{`$.expires_at`, q.At}}
	if life := q.Policy.MaxLifetime; life > 0 {
		ends = append(ends, end{`$.created_at`, q.At.Add(-life.Truncate(time.Microsecond))})
	}
	if idle := q.Policy.MaxIdle; idle > 0 {
		ends = append(ends, end{`greatest($.created_at, $.last_used_at)`, q.At.Add(-idle.Truncate(time.Microsecond))})
	}
	var ended, alive clause
	for i, e := range ends {
		or, and := ` OR `, ` AND `
		if i == 0 {
			or, and = ``, ``
		}
		ended = cat(ended, lit(or+e.time+` <= ?::timestamptz`, e.at))
		alive = cat(alive, lit(and+e.time+` > ?::timestamptz`, e.at))
	}
	c := lit(`$.status = 'active' AND `)
	switch q.Status {
	case apitoken.StatusExpired:
		c = cat(c, lit(`(`), ended, lit(`)`))
	case apitoken.StatusPending:
		c = cat(c, alive, lit(` AND $.not_before > ?::timestamptz`, q.At))
	case apitoken.StatusActive:
		c = cat(c, alive, lit(` AND ($.not_before IS NULL OR $.not_before <= ?::timestamptz)`, q.At))
	default:
		c = lit(`FALSE`) // none has it
	}
	c.text = strings.ReplaceAll(c.text, "$", row)
	return c
}
