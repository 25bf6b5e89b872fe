package sqlkit

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// MaxCount is where counts stop.
const MaxCount = 1000

// A Clause is a piece of SQL with its arguments, for which "?" stands in it.
type Clause struct {
	Text string
	Args []any
}

// Lit returns a clause.
func Lit(text string, args ...any) Clause { return Clause{text, args} }

// Cat puts clauses together.
func Cat(parts ...Clause) Clause {
	var all Clause
	for _, p := range parts {
		all.Text += p.Text
		all.Args = append(all.Args, p.Args...)
	}
	return all
}

// A Dialect is how a database writes what all of them can. It is a few values, as what
// differs more stays in the stores.
type Dialect struct {
	Orders   map[apitoken.Order]string           // the column that lists are ordered by; ties are broken by ID
	Arg      func(value any) Clause              // the place of an argument: a text, or a time
	Key      func(apitoken.Order, time.Time) any // a time as the argument for a column of Orders
	Limit    func(n int) Clause
	Greatest string // the function
	Begun    string // the condition that not_before of the row $ is NULL or not after ?
}

// A Filter is one restriction of a query.
type Filter struct {
	Rows    Clause // what follows FROM where the rows d are of tokens that it lets through, by an index
	Repeats bool   // Rows may have a token more than once
	Test    Clause // whether it lets t through; $ is the token, of which the row may not be at hand
}

// Tests returns the conditions of filters on the row t, of which token is the key.
func Tests(filters []Filter, token string) Clause {
	var all Clause
	for _, f := range filters {
		f.Test.Text = strings.ReplaceAll(f.Test.Text, "$", token)
		all = Cat(all, Lit(` AND `), f.Test)
	}
	return all
}

// StatusIs is Policy.Status in SQL, of a row.
func (d *Dialect) StatusIs(row string, q apitoken.Query) Clause {
	at := func(ago time.Duration) Clause { return d.Arg(q.At.Add(-ago.Truncate(time.Microsecond))) }
	// What ends a token, and what its time must be compared with.
	type end struct {
		time string
		at   Clause
	}
	ends := []end{{`$.` + d.Orders[apitoken.ByExpires], at(0)}}
	if life := q.Policy.MaxLifetime; life > 0 {
		ends = append(ends, end{`$.created_at`, at(life)})
	}
	if idle := q.Policy.MaxIdle; idle > 0 {
		ends = append(ends, end{d.Greatest + `($.created_at, $.` + d.Orders[apitoken.ByLastUsed] + `)`, at(idle)})
	}
	var ended, alive Clause
	for i, e := range ends {
		or, and := ` OR `, ` AND `
		if i == 0 {
			or, and = ``, ``
		}
		ended = Cat(ended, Lit(or+e.time+` <= `), e.at)
		alive = Cat(alive, Lit(and+e.time+` > `), e.at)
	}
	c := Lit(`$.status = 'active' AND `)
	switch q.Status {
	case apitoken.StatusInactive:
		c = Lit(`$.status = 'inactive'`)
	case apitoken.StatusExpired:
		c = Cat(c, Lit(`(`), ended, Lit(`)`))
	case apitoken.StatusPending:
		c = Cat(c, alive, Lit(` AND $.not_before > `), at(0))
	case apitoken.StatusActive:
		c = Cat(c, alive, Lit(` AND `+d.Begun, at(0).Args...))
	default:
		c = Lit(`$.status = ''`) // none has it
	}
	c.Text = strings.ReplaceAll(c.Text, "$", row)
	return c
}

// MaxTerm is how long a term of Record.Terms is at most, in bytes: nothing is found by a
// longer text.
const MaxTerm = 64

// Beginning returns the first three letters of a text, "" if it has fewer.
func Beginning(text string) string {
	if letters := []rune(text); len(letters) >= 3 && utf8.ValidString(text) {
		return string(letters[:3])
	}
	return ""
}

// A List answers one query.
type List struct {
	*Dialect
	Query   apitoken.Query
	Filters []Filter
	Few     int                       // so many tokens are looked at one by one, whatever is asked of them
	Number  func(Clause) (int, error) // what a query says that finds one number
}

// Column returns the column that the list is ordered by.
func (l *List) Column() string { return l.Orders[l.Query.Order] }

// Page returns the page. count counts how many tokens match, or more than MaxCount. The
// others return the records of the page, and one more: search for a text alone in the order of
// names, which n tokens match, and find for all else, where the first filter lets through n.
func (l *List) Page(count func() (int, error), search, find func(n int) ([]apitoken.Record, error)) (page apitoken.Page, err error) {
	var n int
	var recs []apitoken.Record
	searched := l.Query.Order == apitoken.ByName && len(l.Filters) == 1 && Beginning(l.Query.Text) != ""
	if searched {
		if n, err = count(); err != nil {
			return page, err
		}
		recs, err = search(n)
	} else {
		if n, err = l.Rarest(max(l.Few, MaxCount)); err != nil {
			return page, err
		}
		recs, err = find(n)
	}
	if err != nil {
		return page, err
	}
	if page.Records = recs; len(recs) > l.Query.Limit {
		page.Records = recs[:l.Query.Limit]
		next := recs[l.Query.Limit-1].Position(l.Query.Order)
		page.Next = &next
	}
	switch {
	case l.Query.After == nil && page.Next == nil: // that is all
		n = len(recs)
	case searched || len(l.Filters) == 1 && !l.Filters[0].Repeats: // n is it
	default:
		if n, err = count(); err != nil {
			return page, err
		}
	}
	page.Count, page.More = min(n, MaxCount), n > MaxCount
	return page, nil
}

// Rarest puts the filter first that lets through least, and returns how many
// tokens these are, or more than enough.
func (l *List) Rarest(enough int) (least int, err error) {
	for i, f := range l.Filters {
		n, err := l.Number(Cat(Lit(`SELECT count(*) FROM (SELECT 1 FROM `), f.Rows, l.Limit(enough+1), Lit(`) d`)))
		if err != nil {
			return 0, err
		}
		if i == 0 || n < least {
			least = n
			l.Filters[0], l.Filters[i] = l.Filters[i], l.Filters[0]
		}
		if n < l.Few/10 {
			break
		}
	}
	return least, nil
}

// After restricts a row to what follows the position.
func (l *List) After(row string) Clause {
	after := l.Query.After
	if after == nil {
		return Clause{}
	}
	var key any = after.Name
	if l.Query.Order != apitoken.ByName {
		key = l.Key(l.Query.Order, after.Time)
	}
	return Cat(Lit(` AND (`+row+`.`+l.Column()+`, `+row+`.id) `+l.Follows()+` (`), l.Arg(key), Lit(`, `), l.Arg(after.ID), Lit(`)`))
}

// Follows is how what follows in the order compares.
func (l *List) Follows() string {
	if l.Query.Descending {
		return "<"
	}
	return ">"
}

// Order sorts rows.
func (l *List) Order(row string) Clause { return l.OrderBy(row, l.Column()) }

// OrderBy sorts rows by a column in the direction of the list.
func (l *List) OrderBy(row, column string) Clause {
	direction := ""
	if l.Query.Descending {
		direction = " DESC"
	}
	return Lit(` ORDER BY ` + row + `.` + column + direction + `, ` + row + `.id` + direction)
}
