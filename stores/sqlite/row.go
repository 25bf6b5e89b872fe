package sqlite

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// A column of apitoken_tokens: what it holds of a record, and where to put that
// when it is read. All are given records with exactly two secrets, of which
// the second may be zero.
type column struct {
	name  string
	value func(*apitoken.Record) any
	dest  func(*apitoken.Record) any // nil: it is a copy, written only
	clear func(*apitoken.Record)     // takes what it holds out of a record; nil for a copy
	touch bool                       // Touch writes it, Replace does not
}

// columns are those that a record is written to and read from. The rest comes
// first, as reading it writes all of the record.
var columns = append([]column{
	{name: "rest", value: func(r *apitoken.Record) any { return rest(*r) }, dest: func(r *apitoken.Record) any { return (*restOf)(r) }},
}, fields...)

// fields are the columns for what a record had from the beginning, but for its history.
var fields = []column{
	text("id", func(r *apitoken.Record) *string { return &r.ID }),
	{"version", func(r *apitoken.Record) any { return r.Version }, func(r *apitoken.Record) any { return (*number)(&r.Version) }, func(r *apitoken.Record) { r.Version = 0 }, false},
	text("environment", func(r *apitoken.Record) *string { return &r.Environment }),
	text("owner", func(r *apitoken.Record) *string { return &r.Owner }),
	text("name", func(r *apitoken.Record) *string { return &r.Name }),
	text("description", func(r *apitoken.Record) *string { return &r.Description }),
	{"permissions", func(r *apitoken.Record) any { return array(r.Permissions) }, func(r *apitoken.Record) any { return (*texts)(&r.Permissions) }, func(r *apitoken.Record) { r.Permissions = nil }, false},
	text("status", func(r *apitoken.Record) *string { return (*string)(&r.Status) }),
	at("deactivated_at", func(r *apitoken.Record) *time.Time { return &r.DeactivatedAt }),
	text("deactivated_by", func(r *apitoken.Record) *string { return &r.DeactivatedBy }),
	at("created_at", func(r *apitoken.Record) *time.Time { return &r.CreatedAt }),
	text("created_by", func(r *apitoken.Record) *string { return &r.CreatedBy }),
	at("changed_at", func(r *apitoken.Record) *time.Time { return &r.ChangedAt }),
	at("expires_at", func(r *apitoken.Record) *time.Time { return &r.ExpiresAt }),
	at("not_before", func(r *apitoken.Record) *time.Time { return &r.NotBefore }),
	list("networks", func(r *apitoken.Record) *[]netip.Prefix { return &r.Networks }),

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

	{"history", func(r *apitoken.Record) any { return historyJSON(r.History) }, nil, nil, false},
	text("mac_key_id", func(r *apitoken.Record) *string { return &r.MACKeyID }),
	blob("mac", func(r *apitoken.Record) *[]byte { return &r.MAC }),

	{"uses", func(r *apitoken.Record) any { return usesJSON(r.Uses) }, func(r *apitoken.Record) any { return (*uses)(&r.Uses) }, nil, true},
	{"last_used_at", func(r *apitoken.Record) any { return micros(r.LastUsed()) }, nil, nil, true},

	{"name_key", func(r *apitoken.Record) any { return r.NameKey() }, nil, nil, false},
	{"expires_key", func(r *apitoken.Record) any { return expiresKey(r.ExpiresAt) }, nil, nil, false},
	{"last_used_key", func(r *apitoken.Record) any { return r.LastUsed().UnixMicro() }, nil, nil, true},
}

func text(name string, f func(*apitoken.Record) *string) column {
	return column{name, func(r *apitoken.Record) any { return *f(r) }, func(r *apitoken.Record) any { return f(r) }, clear(f), false}
}

func boolean(name string, f func(*apitoken.Record) *bool) column {
	return column{name, func(r *apitoken.Record) any { return *f(r) }, func(r *apitoken.Record) any { return f(r) }, clear(f), false}
}

// clear returns a function that makes a field of a record zero.
func clear[E any](f func(*apitoken.Record) *E) func(*apitoken.Record) {
	return func(r *apitoken.Record) { *f(r) = *new(E) }
}

func blob(name string, f func(*apitoken.Record) *[]byte) column {
	return column{name, func(r *apitoken.Record) any {
		if b := *f(r); len(b) > 0 {
			return b
		}
		return nil
	}, func(r *apitoken.Record) any { return f(r) }, clear(f), false}
}

func at(name string, f func(*apitoken.Record) *time.Time) column {
	return column{name, func(r *apitoken.Record) any { return micros(*f(r)) }, func(r *apitoken.Record) any { return (*moment)(f(r)) }, clear(f), false}
}

func list[E any](name string, f func(*apitoken.Record) *[]E) column {
	return column{name, func(r *apitoken.Record) any { return array(*f(r)) }, func(r *apitoken.Record) any { return jsonList[E]{f(r)} }, clear(f), false}
}

// selected are the columns to select for scan. Each is an expression, "+column",
// because the driver looks up the declared type of a plain column and converts
// it to upper case, in every query again: a third of the time of a point read.
var selected = func() string {
	var names []string
	for _, c := range columns {
		if c.dest != nil {
			names = append(names, "+t."+c.name)
		}
	}
	return strings.Join(names, ", ")
}()

// A scanner is an *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scan reads a record from the columns that selected names, and what follows
// them into more.
func scan(row scanner, more ...any) (apitoken.Record, error) {
	var rec apitoken.Record
	rec.Secrets = make([]apitoken.SecretRecord, 2)
	dest := make([]any, 0, len(columns)+len(more))
	for _, c := range columns {
		if c.dest != nil {
			dest = append(dest, c.dest(&rec))
		}
	}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return apitoken.Record{}, err
	}
	if rec.Secrets[1].Digest == nil {
		if rest(apitoken.Record{Secrets: rec.Secrets[1:]}) != nil {
			return apitoken.Record{}, errors.New("the column rest is about two secrets, and there is one")
		}
		rec.Secrets = rec.Secrets[:1:1]
	}
	for i := range rec.Uses {
		rec.Uses[i].ID = rec.ID
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

// A restOf scans the rest of a record, before everything else.
type restOf apitoken.Record

func (r *restOf) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok && src != nil {
		return fmt.Errorf("%T is not the rest of a record", src)
	}
	secrets := r.Secrets // into which the other columns are read
	if err := (*apitoken.Record)(r).UnmarshalBinary(b); err != nil {
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
		if !utf8.ValidString(s) {
			return fmt.Errorf("a record with the text %.80q, which is not valid UTF-8", s)
		}
	}
	return nil
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

// micros returns t as it stands in a column: microseconds since 1970, or NULL.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// expiresKey returns a time of expiry as it is ordered: zero, never, comes last.
func expiresKey(t time.Time) int64 {
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

// A jsonList scans a list from JSON.
type jsonList[E any] struct{ list *[]E }

func (l jsonList[E]) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("%T is not a list", src)
	}
	*l.list = nil
	if s == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(s), l.list)
}

// texts scans a list of texts from JSON. If nothing in it has to be decoded, it is
// split here: there may be many, and encoding/json takes ten times as long.
type texts []string

func (t *texts) Scan(src any) error {
	s, _ := src.(string)
	inner, begins := strings.CutPrefix(s, `["`)
	inner, ends := strings.CutSuffix(inner, `"]`)
	if begins && ends && isPlain(inner) {
		list := strings.Split(inner, `","`)
		if strings.Count(inner, `"`) == 2*len(list)-2 { // no other than those between them
			*t = list
			return nil
		}
	}
	return jsonList[string]{(*[]string)(t)}.Scan(src)
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

// A line is a line of a history in JSON, as people read it. It is never read back.
type line struct {
	At     *int64   `json:"at"`
	By     string   `json:"by"`
	Action string   `json:"action"`
	Fields []string `json:"fields,omitempty"`
}

// microsJSON returns t as it stands in JSON: like in a column.
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

type uses []apitoken.Use

func usesJSON(u []apitoken.Use) string {
	var list []usage
	for _, u := range u {
		list = append(list, usage{hex.EncodeToString(u.Digest), u.Source, microsJSON(u.At), u.Address})
	}
	return array(list)
}

func (u *uses) Scan(src any) error {
	var list []usage
	if err := (jsonList[usage]{&list}).Scan(src); err != nil {
		return err
	}
	*u = nil
	for _, l := range list {
		digest, err := hex.DecodeString(l.Digest)
		if err != nil {
			return err
		}
		*u = append(*u, apitoken.Use{Digest: digest, Source: l.Source, At: timeJSON(l.At), Address: l.Address})
	}
	return nil
}
