package postgres

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/apitoken-go/apitoken"
)

// A column of apitoken_tokens: its type, what it holds of a record, and how that
// is read from what the server sends (nothing for NULL). All are given records
// with exactly two secrets, of which the second may be zero.
type column struct {
	name, kind string
	value      func(*apitoken.Record) any
	read       func(*apitoken.Record, []byte) error // nil: it is a copy, written only
	clear      func(*apitoken.Record)               // takes what it holds out of a record; nil for a copy
}

// columns are those that a record is written to and read from. The rest comes
// first, as reading it writes all of the record.
var columns = append([]column{
	{name: "rest", kind: "bytea", value: func(r *apitoken.Record) any { return rest(*r) }, read: readRest},
}, fields...)

// fields are the columns for what a record had from the beginning, but for its history.
var fields = []column{
	text("id", func(r *apitoken.Record) *string { return &r.ID }),
	{"version", "bigint", func(r *apitoken.Record) any { return r.Version }, func(r *apitoken.Record, b []byte) error { return readInt(&r.Version, b) }, func(r *apitoken.Record) { r.Version = 0 }},
	text("environment", func(r *apitoken.Record) *string { return &r.Environment }),
	text("owner", func(r *apitoken.Record) *string { return &r.Owner }),
	text("name", func(r *apitoken.Record) *string { return &r.Name }),
	text("description", func(r *apitoken.Record) *string { return &r.Description }),
	list("permissions", "text[]", readText, func(r *apitoken.Record) *[]string { return &r.Permissions }),
	text("status", func(r *apitoken.Record) *string { return (*string)(&r.Status) }),
	at("deactivated_at", func(r *apitoken.Record) *time.Time { return &r.DeactivatedAt }),
	text("deactivated_by", func(r *apitoken.Record) *string { return &r.DeactivatedBy }),
	at("created_at", func(r *apitoken.Record) *time.Time { return &r.CreatedAt }),
	text("created_by", func(r *apitoken.Record) *string { return &r.CreatedBy }),
	at("changed_at", func(r *apitoken.Record) *time.Time { return &r.ChangedAt }),
	{"expires_at", "timestamptz", func(r *apitoken.Record) any { return expiry(r.ExpiresAt) }, func(r *apitoken.Record, b []byte) error { return readTime(&r.ExpiresAt, b) }, func(r *apitoken.Record) { r.ExpiresAt = time.Time{} }},
	at("not_before", func(r *apitoken.Record) *time.Time { return &r.NotBefore }),
	list("networks", "inet[]", readNetwork, func(r *apitoken.Record) *[]netip.Prefix { return &r.Networks }),

	blob("digest", func(r *apitoken.Record) *[]byte { return &r.Secrets[0].Digest }),
	boolean("secret_foreign", func(r *apitoken.Record) *bool { return &r.Secrets[0].Foreign }),
	at("secret_created_at", func(r *apitoken.Record) *time.Time { return &r.Secrets[0].CreatedAt }),
	at("secret_valid_until", func(r *apitoken.Record) *time.Time { return &r.Secrets[0].ValidUntil }),
	blob("idempotency_key", func(r *apitoken.Record) *[]byte { return &r.Secrets[0].IdempotencyKey }),
	text("encryption_key_id", func(r *apitoken.Record) *string { return &r.Secrets[0].EncryptionKeyID }),
	blob("ciphertext", func(r *apitoken.Record) *[]byte { return &r.Secrets[0].Ciphertext }),

	blob("old_digest", func(r *apitoken.Record) *[]byte { return &r.Secrets[1].Digest }),
	boolean("old_foreign", func(r *apitoken.Record) *bool { return &r.Secrets[1].Foreign }),
	at("old_created_at", func(r *apitoken.Record) *time.Time { return &r.Secrets[1].CreatedAt }),
	at("old_valid_until", func(r *apitoken.Record) *time.Time { return &r.Secrets[1].ValidUntil }),
	blob("old_idempotency_key", func(r *apitoken.Record) *[]byte { return &r.Secrets[1].IdempotencyKey }),
	text("old_encryption_key_id", func(r *apitoken.Record) *string { return &r.Secrets[1].EncryptionKeyID }),
	blob("old_ciphertext", func(r *apitoken.Record) *[]byte { return &r.Secrets[1].Ciphertext }),

	{"history", "jsonb", func(r *apitoken.Record) any { return historyJSON(r.History) }, nil, nil},
	text("mac_key_id", func(r *apitoken.Record) *string { return &r.MACKeyID }),
	blob("mac", func(r *apitoken.Record) *[]byte { return &r.MAC }),

	{"name_key", "text", func(r *apitoken.Record) any { return r.NameKey() }, nil, nil},
	{"terms", "text[]", func(r *apitoken.Record) any { return r.Terms() }, nil, nil},

	{"uses", "jsonb", func(r *apitoken.Record) any { return usesJSON(r.Uses) }, readUses, nil}, // the last
}

// replaced are the columns that Replace writes: all but uses.
var replaced = columns[:len(columns)-1]

func text(name string, f func(*apitoken.Record) *string) column {
	return column{name, "text", func(r *apitoken.Record) any { return *f(r) }, func(r *apitoken.Record, b []byte) error { return readText(f(r), b) }, clear(f)}
}

// clear returns a function that makes a field of a record zero.
func clear[E any](f func(*apitoken.Record) *E) func(*apitoken.Record) {
	return func(r *apitoken.Record) { *f(r) = *new(E) }
}

func boolean(name string, f func(*apitoken.Record) *bool) column {
	return column{name, "boolean", func(r *apitoken.Record) any { return *f(r) }, func(r *apitoken.Record, b []byte) error {
		*f(r) = len(b) == 1 && b[0] == 1
		return nil
	}, clear(f)}
}

func blob(name string, f func(*apitoken.Record) *[]byte) column {
	return column{name, "bytea", func(r *apitoken.Record) any {
		if b := *f(r); len(b) > 0 {
			return b
		}
		return nil
	}, func(r *apitoken.Record, b []byte) error {
		*f(r) = bytes.Clone(b)
		return nil
	}, clear(f)}
}

func at(name string, f func(*apitoken.Record) *time.Time) column {
	return column{name, "timestamptz", func(r *apitoken.Record) any { return timestamp(*f(r)) }, func(r *apitoken.Record, b []byte) error { return readTime(f(r), b) }, clear(f)}
}

func list[E any](name, kind string, read func(*E, []byte) error, f func(*apitoken.Record) *[]E) column {
	return column{name, kind, func(r *apitoken.Record) any {
		if l := *f(r); l != nil {
			return l
		}
		return []E{}
	}, func(r *apitoken.Record, b []byte) error { return readArray(f(r), b, read) }, clear(f)}
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
func scan(row pgx.CollectableRow) (apitoken.Record, error) {
	var rec apitoken.Record
	rec.Secrets = make([]apitoken.SecretRecord, 2)
	raw := row.RawValues()
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
	if rec.Secrets[1].Digest == nil {
		if rest(apitoken.Record{Secrets: rec.Secrets[1:]}) != nil {
			return apitoken.Record{}, errors.New("the column rest is about two secrets, and there is one")
		}
		rec.Secrets = rec.Secrets[:1:1]
	}
	return rec, nil
}

// values returns what columns hold of rec.
func values(rec apitoken.Record) []any {
	rec.Secrets = append(rec.Secrets[:len(rec.Secrets):len(rec.Secrets)], apitoken.SecretRecord{})[:2]
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

// rest returns the encoding of what is in no other column of a record: its history, and
// what later versions of the core put into it; nil for nothing. Of copies nothing is taken out.
func rest(rec apitoken.Record) []byte {
	n := len(rec.Secrets)
	rec.Secrets = append(slices.Clone(rec.Secrets), make([]apitoken.SecretRecord, 2-n)...)
	for _, c := range fields {
		if c.clear != nil {
			c.clear(&rec)
		}
	}
	for n > 0 && reflect.ValueOf(rec.Secrets[n-1]).IsZero() {
		n--
	}
	rec.Secrets = rec.Secrets[:n]
	b, _ := rec.MarshalBinary() // see check
	if len(b) == 0 {
		return nil
	}
	return b
}

// readRest reads the rest of a record, before everything else.
func readRest(r *apitoken.Record, b []byte) error {
	secrets := r.Secrets // into which the other columns are read
	if err := r.UnmarshalBinary(b); err != nil {
		return err
	}
	if len(r.Secrets) > len(secrets) {
		return fmt.Errorf("it is about %d secrets", len(r.Secrets))
	}
	copy(secrets, r.Secrets)
	r.Secrets = secrets
	return nil
}

// check refuses what the columns cannot hold.
func check(rec *apitoken.Record) error {
	if _, err := rec.MarshalBinary(); err != nil {
		return err
	}
	if n := len(rec.Secrets); n < 1 || n > 2 {
		return fmt.Errorf("a record with %d secrets", n)
	}
	texts := append([]string{
		rec.ID, rec.Environment, rec.Owner, rec.Name, rec.Description, rec.DeactivatedBy, rec.CreatedBy,
		rec.MACKeyID, rec.Secrets[0].EncryptionKeyID, rec.Secrets[len(rec.Secrets)-1].EncryptionKeyID,
	}, rec.Permissions...)
	for _, c := range rec.History {
		texts = append(append(texts, c.By, string(c.Action)), c.Fields...)
	}
	for _, s := range texts {
		if !valid(s) {
			return fmt.Errorf("a record with the text %.80q, which is not valid UTF-8 without NUL", s)
		}
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

// array returns a list as JSON.
func array[E any](list []E) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // what lists are made of can be marshalled
	}
	return string(b)
}

// A line is a line of a history in JSON, as people read it. It is never read back.
// Times are microseconds since 1970.
type line struct {
	At     *int64   `json:"at"`
	By     string   `json:"by"`
	Action string   `json:"action"`
	Fields []string `json:"fields,omitempty"`
}

func microsJSON(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMicro())
}

func timeJSON(micros *int64) time.Time {
	if micros == nil {
		return time.Time{}
	}
	return time.UnixMicro(*micros).UTC()
}

func historyJSON(h []apitoken.HistoryEntry) string {
	var lines []line
	for _, c := range h {
		lines = append(lines, line{microsJSON(c.At), c.By, string(c.Action), c.Fields})
	}
	return array(lines)
}

// A usage is a use in JSON. The token is that of the row.
type usage struct {
	Digest  string          `json:"digest"` // in hexadecimal
	Source  apitoken.Source `json:"source"`
	At      *int64          `json:"at"`
	Address netip.Addr      `json:"address,omitzero"`
}

func usesJSON(uses []apitoken.Use) string {
	var list []usage
	for _, u := range uses {
		list = append(list, usage{hex.EncodeToString(u.Digest), u.Source, microsJSON(u.At), u.Address})
	}
	return array(list)
}

// readUses needs the ID of the token.
func readUses(r *apitoken.Record, b []byte) error {
	var list []usage
	err := readJSON(&list, b)
	for _, l := range list {
		digest, malformed := hex.DecodeString(l.Digest)
		if malformed != nil {
			return malformed
		}
		r.Uses = append(r.Uses, apitoken.Use{ID: r.ID, Digest: digest, Source: l.Source, At: timeJSON(l.At), Address: l.Address})
	}
	return err
}
