package sqlkit

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// MaxCount is the limit of counts.
const MaxCount = 1000

// A Clause is a piece of SQL with its arguments; each "?" in it stands for one.
type Clause struct {
	Text string
	Args []any
}

// Lit returns a clause.
func Lit(text string, args ...any) Clause { return Clause{text, args} }

// Cat concatenates clauses.
func Cat(parts ...Clause) Clause {
	var all Clause
	for _, p := range parts {
		all.Text += p.Text
		all.Args = append(all.Args, p.Args...)
	}
	return all
}

// A Dialect has the differences between databases in the common queries. It is small,
// because greater differences stay in the stores.
type Dialect struct {
	Orders   map[apitoken.Order]string           // the column that lists are ordered by; ties are broken by ID
	Arg      func(value any) Clause              // the place of an argument: a text, or a time
	Key      func(apitoken.Order, time.Time) any // a time as the argument for a column of Orders
	Limit    func(n int) Clause
	Token    string // the column that the rows of all tables have of a token
	Greatest string // the function
	Begun    string // the condition that not_before of the row $ is NULL or not after ?
	NoRows   bool   // an index is not entered by a comparison of (column, id) with two values
}

// A Filter is one restriction of a query.
type Filter struct {
	Rows    Clause // what follows FROM for rows d that stand together in an index: all tokens that it lets through have one
	Fits    Clause // which of these rows it lets through; empty for all
	Repeats bool   // Rows may have a token more than once
	Test    Clause // whether it lets t through; $ is the token, of which the row may not be at hand
}

// From selects the matches of a filter among the first rows of it.
func (d *Dialect) From(f Filter, rows int) Clause {
	if f.Fits.Text == "" {
		return Cat(Lit(`SELECT d.`+d.Token+` FROM `), f.Rows, d.Limit(rows))
	}
	return Cat(Lit(`SELECT d.`+d.Token+` FROM (SELECT d.`+d.Token+`, (`), f.Fits, Lit(`) AS fits FROM `), f.Rows, d.Limit(rows), Lit(`) d WHERE d.fits`))
}

// Tests returns the conditions of filters on the row t, whose token has the key token.
func Tests(filters []Filter, token string) Clause {
	var all Clause
	for _, f := range filters {
		f.Test.Text = strings.ReplaceAll(f.Test.Text, "$", token)
		all = Cat(all, Lit(` AND `), f.Test)
	}
	return all
}

// StatusIs is Policy.Status of a row in SQL.
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

// MaxTerm is the longest term of Record.Terms, in bytes: a longer text finds nothing.
const MaxTerm = 64

// AfterPrefix returns the least text that follows all texts with this prefix, in byte
// order, which is the order of code points.
func AfterPrefix(prefix string) string {
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

// Beginning returns the first three letters of a text, "" if it has fewer.
func Beginning(text string) string {
	if letters := []rune(text); len(letters) >= 3 && utf8.ValidString(text) {
		return string(letters[:3])
	}
	return ""
}

// Bounds limit the work for a list. They do not change the content of the complete list.
type Bounds struct {
	Few    int           // so many tokens are read one by one, with every filter
	Rows   int           // of a filter; so many are looked at to count; more than Few and 1,250
	Window int           // tokens of the first window
	Time   time.Duration // no further window begins after it
}

// A List answers one query.
type List struct {
	*Dialect
	*Bounds
	Query   apitoken.Query
	Filters []Filter
	Records func(Clause) ([]apitoken.Record, error)
	Numbers func(Clause) (a, b int, err error) // what a query says that finds two numbers
}

// Ways are the store's queries for List. The clause of a page selects the records of the
// page, and one more.
type Ways interface {
	Sliced() Clause           // the page where there are no filters
	Sorted() Clause           // the page where the first filter lets through few
	Matching(rows int) Clause // each token that matches once, of so many rows of the first filter
	Environment() Clause      // what follows FROM for one row of each token of the environment
	// Step looks at the next n tokens. It returns the matches, or as many as a page has and one more, and
	// the place of the last that it looked at, if others follow.
	Step(n int) (found []apitoken.Record, last *apitoken.Position, err error)
}

// Column returns the column of the order of the list.
func (l *List) Column() string { return l.Orders[l.Query.Order] }

// Page returns the page.
func (l *List) Page(w Ways) (page apitoken.Page, err error) {
	begun, first := time.Now(), l.Query.After == nil
	n, exact, err := l.rarest()
	if err != nil {
		return page, err
	}
	var recs []apitoken.Record
	switch {
	case len(l.Filters) == 0:
		recs, err = l.Records(w.Sliced())
	case exact && n <= l.Few:
		recs, err = l.Records(w.Sorted())
	default:
		recs, page.Next, err = l.walk(w, begun)
	}
	if err != nil {
		return page, err
	}
	if len(recs) > l.Query.Limit {
		recs = recs[:l.Query.Limit]
		next := recs[l.Query.Limit-1].Position(l.Query.Order)
		page.Next = &next
	}
	page.Records = recs
	switch {
	case page.Next != nil && len(recs) < l.Query.Limit:
		page.Partial, n, exact = true, len(recs), false
	case first && page.Next == nil: // that is all
		n, exact = len(recs), true
	case len(l.Filters) == 1 && !l.Filters[0].Repeats && exact: // n is it
	default:
		if n, exact, err = l.count(w, begun); err != nil {
			return page, err
		}
	}
	page.Count, page.More = min(n, MaxCount), n > MaxCount || !exact
	return page, nil
}

// walk looks at windows until the page is full, the list ends, or the time is over. In the
// last case stopped is its position. Windows grow as long as they take little time: the
// time of a token depends on the filters and the machine.
func (l *List) walk(w Ways, begun time.Time) (recs []apitoken.Record, stopped *apitoken.Position, err error) {
	for n := l.Window; ; {
		start := time.Now()
		found, last, err := w.Step(n)
		recs = append(recs, found...)
		if err != nil || last == nil || len(recs) > l.Query.Limit {
			return recs, nil, err
		}
		if time.Since(begun) >= l.Time {
			return recs, last, nil
		}
		l.Query.After = last
		if time.Since(start) < l.Time/8 {
			n *= 4
		}
	}
}

// rarest puts the filter with the fewest matches first, and returns their number, or more
// than Few and MaxCount. If not exact, there may be fewer, or many more.
func (l *List) rarest() (least int, exact bool, err error) {
	enough := max(l.Few, MaxCount) + 1
	for i, f := range l.Filters {
		rows, fits := enough, Lit(`TRUE`)
		if f.Fits.Text != "" {
			rows, fits = l.Rows, f.Fits
		}
		seen, n, err := l.Numbers(Cat(Lit(`SELECT count(*), count(CASE WHEN d.fits THEN 1 END) FROM (SELECT (`), fits, Lit(`) AS fits FROM `), f.Rows, l.Limit(rows), Lit(`) d`)))
		if err != nil {
			return 0, false, err
		}
		all := seen < rows || n >= enough
		if !all || n > enough {
			n = enough
		}
		if i == 0 || n < least {
			least, exact = n, all
			l.Filters[0], l.Filters[i] = l.Filters[i], l.Filters[0]
		}
		if n < l.Few/10 {
			break
		}
	}
	return least, exact, nil
}

// count returns the number of matching tokens, or more than MaxCount. If not exact, there
// may be more.
func (l *List) count(w Ways, begun time.Time) (n int, exact bool, err error) {
	most := l.Limit(MaxCount + 1)
	if len(l.Filters) == 0 {
		n, _, err = l.Numbers(Cat(Lit(`SELECT count(*), 0 FROM (SELECT 1 FROM `), w.Environment(), most, Lit(`) d`)))
		return n, true, err
	}
	for rows := min(MaxCount*5/4, l.Rows); ; rows = l.Rows {
		var seen int
		seen, n, err = l.Numbers(Cat(
			Lit(`SELECT (SELECT count(*) FROM (SELECT 1 FROM `), l.Filters[0].Rows, l.Limit(rows),
			Lit(`) d), (SELECT count(*) FROM (`), w.Matching(rows), most, Lit(`) d)`)))
		if exact = seen < rows || n > MaxCount; err != nil || exact || rows == l.Rows || time.Since(begun) >= l.Time {
			return n, exact, err
		}
	}
}

// After restricts a row to those after the position of the query.
func (l *List) After(row string) Clause {
	if l.Query.After == nil {
		return Clause{}
	}
	return l.compared(row, l.Follows(), l.Query.After)
}

// To restricts a row to those up to a place.
func (l *List) To(row string, place *apitoken.Position) Clause {
	if l.Query.Descending {
		return l.compared(row, ">=", place)
	}
	return l.compared(row, "<=", place)
}

func (l *List) compared(row, operator string, place *apitoken.Position) Clause {
	var key any = place.Name
	if l.Query.Order != apitoken.ByName {
		key = l.Key(l.Query.Order, place.Time)
	}
	return l.Compared(row, l.Column(), operator, l.Arg(key), l.Arg(place.ID))
}

// Compared restricts a row to those whose column, and then ID, compare in this way.
func (d *Dialect) Compared(row, column, operator string, key, id Clause) Clause {
	if d.NoRows {
		column, least := row+`.`+column, Cat(key, Lit(` AND `+row+`.id `+operator+` `), id)
		return Cat(Lit(` AND (`+column+` `+operator[:1]+` `), key, Lit(` OR `+column+` = `), least, Lit(`)`))
	}
	return Cat(Lit(` AND (`+row+`.`+column+`, `+row+`.id) `+operator+` (`), key, Lit(`, `), id, Lit(`)`))
}

// Follows is the comparison operator for later rows.
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
