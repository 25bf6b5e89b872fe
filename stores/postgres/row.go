package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// A column of apitoken_tokens: its type, what it holds of a record, and how that
// is read from what the server sends (nothing for NULL). All are given records
// with exactly two secrets, of which the second may be zero.
type column struct {
	name, kind string
	value      func(*apitoken.Record) any
	read       func(*apitoken.Record, []byte) error // nil: it is a copy, written only
}

// columns are the columns of a record. The rest comes first, because reading it
// writes the whole record.
var columns = func() []column {
	all := []column{{"rest", "bytea", func(r *apitoken.Record) any { return written(new(sqlkit.Rest(*r))) }, sqlkit.ReadRest}}
	example := apitoken.Record{Secrets: make([]apitoken.SecretRecord, 2)}
	for _, f := range sqlkit.Fields {
		c := column{f.Name, kindOf(f.In(&example)), func(r *apitoken.Record) any { return written(f.In(r)) }, func(r *apitoken.Record, b []byte) error { return read(f.In(r), b) }}
		if f.Name == "expires_at" {
			c.value = func(r *apitoken.Record) any { return expiry(r.ExpiresAt) }
		}
		all = append(all, c)
	}
	return append(all,
		column{"history", "jsonb", func(r *apitoken.Record) any { return sqlkit.HistoryJSON(r.History) }, nil},
		column{"name_key", "text", func(r *apitoken.Record) any { return r.NameKey() }, nil},
		column{"terms", "text[]", func(r *apitoken.Record) any { return r.Terms() }, nil},
		column{"uses", "jsonb", func(r *apitoken.Record) any { return sqlkit.UsesJSON(r.Uses) }, readUses}, // the last
	)
}()

// replaced are the columns that Replace writes: all but uses.
var replaced = columns[:len(columns)-1]

// kindOf returns the type of the column of a field.
func kindOf(field any) string {
	switch field.(type) {
	case *string:
		return "text"
	case *int64:
		return "bigint"
	case *bool:
		return "boolean"
	case *[]byte:
		return "bytea"
	case *time.Time:
		return "timestamptz"
	case *[]string:
		return "text[]"
	case *[]netip.Prefix:
		return "inet[]"
	}
	panic(fmt.Sprintf("postgres: no column for a %T", field))
}

// written returns what the column of a field holds. Lists are not NULL.
func written(field any) any {
	switch f := field.(type) {
	case *string:
		return *f
	case *int64:
		return *f
	case *bool:
		return *f
	case *[]byte:
		if len(*f) > 0 {
			return *f
		}
	case *time.Time:
		return timestamp(*f)
	case *[]string:
		return append([]string{}, *f...)
	case *[]netip.Prefix:
		return append([]netip.Prefix{}, *f...)
	}
	return nil
}

// read reads the column of a field.
func read(field any, b []byte) error {
	switch f := field.(type) {
	case *string:
		return readText(f, b)
	case *int64:
		return readInt(f, b)
	case *bool:
		*f = len(b) == 1 && b[0] == 1
	case *[]byte:
		*f = bytes.Clone(b)
	case *time.Time:
		return readTime(f, b)
	case *[]string:
		return readArray(f, b, readText)
	case *[]netip.Prefix:
		return readArray(f, b, readNetwork)
	}
	return nil
}

func readUses(r *apitoken.Record, b []byte) (err error) {
	if len(b) == 0 || b[0] != 1 { // the version of jsonb
		return errMalformed
	}
	r.Uses, err = sqlkit.ParseUses(b[1:])
	return err
}

// selected are the columns to select for scan, of apitoken_tokens t.
var selected = func() string {
	var names []string
	for _, c := range columns {
		if c.read != nil {
			names = append(names, "t."+c.name)
		}
	}
	return strings.Join(names, ", ")
}()

// scan reads a record from the columns that selected names. They come in binary
// form and are read here, as the driver, which can read anything into anything,
// takes a fifth of the time of a point read for it.
func scan(raw [][]byte) (apitoken.Record, error) {
	var rec apitoken.Record
	rec.Secrets = make([]apitoken.SecretRecord, 2)
	for _, c := range columns {
		if c.read == nil {
			continue
		}
		if len(raw) == 0 {
			return apitoken.Record{}, errors.New("a row has too few columns")
		}
		if err := c.read(&rec, raw[0]); err != nil {
			return apitoken.Record{}, fmt.Errorf("the column %s: %w", c.name, err)
		}
		raw = raw[1:]
	}
	if err := sqlkit.Complete(&rec); err != nil {
		return apitoken.Record{}, err
	}
	return rec, nil
}

// values returns what columns hold of rec.
func values(rec apitoken.Record) []any {
	rec = sqlkit.ForColumns(rec)
	var vals []any
	for _, c := range columns {
		vals = append(vals, c.value(&rec))
	}
	return vals
}

// placeholder names the argument number n of a statement, counted from 1. The
// types are said because behind a pooler the driver does not ask for them; a
// JSON text is sent as a text.
func placeholder(n int, kind string) string {
	if kind == "jsonb" {
		return fmt.Sprintf("$%d::text::jsonb", n)
	}
	return fmt.Sprintf("$%d::%s", n, kind)
}

// check refuses what the columns cannot hold.
func check(rec *apitoken.Record) error {
	if err := sqlkit.Check(rec, valid, "valid UTF-8 without NUL"); err != nil {
		return err
	}
	for _, n := range rec.Networks {
		if !n.IsValid() {
			return fmt.Errorf("a record with an invalid network")
		}
	}
	return nil
}

// valid reports whether a text can be in the database.
func valid(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// timestamp returns t as it stands in a column: NULL if it is zero.
func timestamp(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

// expiry returns a time of expiry as it stands in a column: never is infinity,
// which comes last.
func expiry(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return timestamp(t)
}

// lastUsed returns a time of last use as it stands in a column: never is minus
// infinity, which comes first.
func lastUsed(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return timestamp(t)
}
