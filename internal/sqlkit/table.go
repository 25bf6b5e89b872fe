package sqlkit

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A Column of apitoken_tokens, for a driver of database/sql: its part of a record, and the
// target for reading it. Times are microseconds since 1970, NULL for none; lists are JSON.
type Column struct {
	Name  string
	Touch bool // Touch writes it, Replace does not
	value func(*apitoken.Record) any
	dest  func(*apitoken.Record) any // nil: it is a copy, written only
}

// Columns are the columns of a record. The rest comes first, because reading it writes the
// whole record. Lists are ordered by the keys.
var Columns = func() []Column {
	columns := []Column{
		{"rest", false, func(r *apitoken.Record) any { return Rest(*r) }, func(r *apitoken.Record) any { return (*restOf)(r) }},
	}
	for _, f := range Fields {
		columns = append(columns, Column{f.Name, false, func(r *apitoken.Record) any { return written(f.In(r)) }, func(r *apitoken.Record) any { return scanner(f.In(r)) }})
	}
	return append(columns,
		Column{"history", false, func(r *apitoken.Record) any { return HistoryJSON(r.History) }, nil},
		Column{"uses", true, func(r *apitoken.Record) any { return UsesJSON(r.Uses) }, func(r *apitoken.Record) any { return (*uses)(&r.Uses) }},
		Column{"last_used_at", true, func(r *apitoken.Record) any { return Micros(r.LastUsed()) }, nil},
		Column{"name_key", false, func(r *apitoken.Record) any { return r.NameKey() }, nil},
		Column{"expires_key", false, func(r *apitoken.Record) any { return ExpiresKey(r.ExpiresAt) }, nil},
		Column{"last_used_key", true, func(r *apitoken.Record) any { return r.LastUsed().UnixMicro() }, nil},
	)
}()

// Selected returns the columns to select for Scan, each after the prefix.
func Selected(prefix string) string {
	var names []string
	for _, c := range Columns {
		if c.dest != nil {
			names = append(names, prefix+c.Name)
		}
	}
	return strings.Join(names, ", ")
}

// Values returns the values of Columns for rec.
func Values(rec apitoken.Record) []any {
	rec = ForColumns(rec)
	var vals []any
	for _, c := range Columns {
		vals = append(vals, c.value(&rec))
	}
	return vals
}

// A Row is what a query has found, of database/sql or another driver.
type Row interface{ Scan(dest ...any) error }

// Scan reads a record from the columns that Selected names, and the columns after them into
// more.
func Scan(row Row, more ...any) (apitoken.Record, error) {
	var rec apitoken.Record
	rec.Secrets = make([]apitoken.SecretRecord, 2)
	dest := make([]any, 0, len(Columns)+len(more))
	for _, c := range Columns {
		if c.dest != nil {
			dest = append(dest, c.dest(&rec))
		}
	}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return apitoken.Record{}, err
	}
	if err := Complete(&rec); err != nil {
		return apitoken.Record{}, err
	}
	return rec, nil
}

// All reads the records of rows, and closes them.
func All(rows *sql.Rows, err error) ([]apitoken.Record, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var recs []apitoken.Record
	for rows.Next() {
		rec, err := Scan(rows)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, rows.Err()
}

// written returns the column value of a field.
func written(field any) any {
	switch f := field.(type) {
	case *string:
		return *f
	case *int64:
		return *f
	case *bool:
		return *f
	case *[]byte:
		if len(*f) == 0 {
			return nil
		}
		return *f
	case *time.Time:
		return Micros(*f)
	case *[]string:
		return array(*f)
	case *[]netip.Prefix:
		return array(*f)
	}
	panic(fmt.Sprintf("sqlkit: no column for a %T", field))
}

// scanner returns the target for scanning a field.
func scanner(field any) any {
	switch f := field.(type) {
	case *int64:
		return (*number)(f)
	case *time.Time:
		return (*moment)(f)
	case *[]string:
		return (*texts)(f)
	case *[]netip.Prefix:
		return (*networks)(f)
	}
	return field
}

// A restOf scans the rest of a record, before everything else.
type restOf apitoken.Record

func (r *restOf) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok && src != nil {
		return fmt.Errorf("%T is not the rest of a record", src)
	}
	return ReadRest((*apitoken.Record)(r), b)
}

// A number scans an integer. (For an *int64, database/sql goes by reflection.)
type number int64

func (n *number) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("%T is not an integer", src)
	}
	*n = number(v)
	return nil
}

// Micros returns t as the value of a column: microseconds since 1970, or NULL.
func Micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// ExpiresKey returns an expiry as a sort key: zero, never, comes last.
func ExpiresKey(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.UnixMicro()
}

// A moment scans a time.
type moment time.Time

func (m *moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m = moment{}
	case int64:
		*m = moment(time.UnixMicro(v).UTC())
	default:
		return fmt.Errorf("%T is not a time in microseconds", src)
	}
	return nil
}

// asText returns a text of a driver; some drivers return bytes for it.
func asText(src any) (s string, ok bool) {
	if b, isBytes := src.([]byte); isBytes {
		return string(b), true
	}
	s, ok = src.(string)
	return s, ok
}

// scanList scans a list from JSON.
func scanList(list, src any) error {
	s, ok := asText(src)
	switch {
	case !ok:
		return fmt.Errorf("%T is not a list", src)
	case s == "[]":
		return nil
	}
	return json.Unmarshal([]byte(s), list)
}

type networks []netip.Prefix

func (n *networks) Scan(src any) error {
	*n = nil
	return scanList((*[]netip.Prefix)(n), src)
}

// texts scans a list of texts from JSON. If nothing in it has to be decoded, it is
// split here: there may be many, and encoding/json takes ten times as long.
type texts []string

func (t *texts) Scan(src any) error {
	s, _ := asText(src)
	inner, begins := strings.CutPrefix(s, `["`)
	inner, ends := strings.CutSuffix(inner, `"]`)
	if begins && ends && isPlain(inner) {
		list := strings.Split(inner, `","`)
		if strings.Count(inner, `"`) == 2*len(list)-2 { // no other than those between them
			*t = list
			return nil
		}
	}
	*t = nil
	return scanList((*[]string)(t), src)
}

// isPlain reports whether s is printable ASCII without a backslash.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}

type uses []apitoken.Use

func (u *uses) Scan(src any) (err error) {
	s, ok := asText(src)
	if !ok {
		return fmt.Errorf("%T is not a list", src)
	}
	*u, err = ParseUses([]byte(s))
	return err
}
