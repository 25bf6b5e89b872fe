// Package sqlkit is shared by the stores over SQL databases: it splits a record into
// columns (record.go, and table.go for drivers of database/sql), finds a page of a list
// (list.go), and checks the tables (schema.go).
//
// The parts that make a database fast stay in its store: the schema, the filters that its
// indexes answer, and the order in which it tries them.
package sqlkit

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A Field is a column for a part of a record. In returns a pointer to that part. Its type
// tells a store how to write and read it: *string, *int64, *bool, *[]byte, *time.Time,
// *[]string or *[]netip.Prefix. The record has exactly two secrets, of which the second may
// be zero: see ForColumns.
type Field struct {
	Name string
	In   func(*apitoken.Record) any
}

// Fields are the columns for the original fields of a record, except its history and its
// uses.
var Fields = []Field{
	{"id", func(r *apitoken.Record) any { return &r.ID }},
	{"version", func(r *apitoken.Record) any { return &r.Version }},
	{"environment", func(r *apitoken.Record) any { return &r.Environment }},
	{"owner", func(r *apitoken.Record) any { return &r.Owner }},
	{"name", func(r *apitoken.Record) any { return &r.Name }},
	{"description", func(r *apitoken.Record) any { return &r.Description }},
	{"permissions", func(r *apitoken.Record) any { return &r.Permissions }},
	{"status", func(r *apitoken.Record) any { return (*string)(&r.Status) }},
	{"deactivated_at", func(r *apitoken.Record) any { return &r.DeactivatedAt }},
	{"deactivated_by", func(r *apitoken.Record) any { return &r.DeactivatedBy }},
	{"created_at", func(r *apitoken.Record) any { return &r.CreatedAt }},
	{"created_by", func(r *apitoken.Record) any { return &r.CreatedBy }},
	{"changed_at", func(r *apitoken.Record) any { return &r.ChangedAt }},
	{"expires_at", func(r *apitoken.Record) any { return &r.ExpiresAt }},
	{"not_before", func(r *apitoken.Record) any { return &r.NotBefore }},
	{"networks", func(r *apitoken.Record) any { return &r.Networks }},

	{"digest", func(r *apitoken.Record) any { return &r.Secrets[0].Digest }},
	{"secret_foreign", func(r *apitoken.Record) any { return &r.Secrets[0].Foreign }},
	{"secret_created_at", func(r *apitoken.Record) any { return &r.Secrets[0].CreatedAt }},
	{"secret_valid_until", func(r *apitoken.Record) any { return &r.Secrets[0].ValidUntil }},
	{"idempotency_key", func(r *apitoken.Record) any { return &r.Secrets[0].IdempotencyKey }},
	{"encryption_key_id", func(r *apitoken.Record) any { return &r.Secrets[0].EncryptionKeyID }},
	{"ciphertext", func(r *apitoken.Record) any { return &r.Secrets[0].Ciphertext }},

	{"old_digest", func(r *apitoken.Record) any { return &r.Secrets[1].Digest }},
	{"old_foreign", func(r *apitoken.Record) any { return &r.Secrets[1].Foreign }},
	{"old_created_at", func(r *apitoken.Record) any { return &r.Secrets[1].CreatedAt }},
	{"old_valid_until", func(r *apitoken.Record) any { return &r.Secrets[1].ValidUntil }},
	{"old_idempotency_key", func(r *apitoken.Record) any { return &r.Secrets[1].IdempotencyKey }},
	{"old_encryption_key_id", func(r *apitoken.Record) any { return &r.Secrets[1].EncryptionKeyID }},
	{"old_ciphertext", func(r *apitoken.Record) any { return &r.Secrets[1].Ciphertext }},

	{"mac_key_id", func(r *apitoken.Record) any { return &r.MACKeyID }},
	{"mac", func(r *apitoken.Record) any { return &r.MAC }},
}

// In their column environment, deleted tokens are in one that no Manager uses, as it has a
// control character: so no list, search or count of others passes over them, and theirs
// have the same indexes.
const deleted = "deleted\x1f"

// Listed returns the environment in whose lists a record appears.
func Listed(rec *apitoken.Record) string {
	if rec.Status == apitoken.StatusDeleted {
		return deleted + rec.Environment
	}
	return rec.Environment
}

// ListedBy returns q in the form for the rows.
func ListedBy(q apitoken.Query) apitoken.Query {
	if q.Status == apitoken.StatusDeleted {
		q.Environment, q.Status = deleted+q.Environment, ""
	}
	return q
}

// ForColumns returns rec as the functions of columns need it: with two secrets, and with
// the environment of its lists.
func ForColumns(rec apitoken.Record) apitoken.Record {
	rec.Environment = Listed(&rec)
	rec.Secrets = append(slices.Clip(rec.Secrets), apitoken.SecretRecord{})[:2]
	return rec
}

// Complete completes a record after its columns were read: it removes a second secret that
// does not exist, and fills in the token of each use and the environment of a deleted
// token.
func Complete(rec *apitoken.Record) error {
	if rec.Status == apitoken.StatusDeleted {
		rec.Environment = strings.TrimPrefix(rec.Environment, deleted)
	}
	if second := &rec.Secrets[1]; second.Digest == nil {
		if !reflect.ValueOf(second).Elem().IsZero() && Rest(apitoken.Record{Secrets: rec.Secrets[1:]}) != nil {
			return errors.New("the column rest is about two secrets, and there is one")
		}
		rec.Secrets = rec.Secrets[:1:1]
	}
	for i := range rec.Uses {
		rec.Uses[i].ID = rec.ID
	}
	return nil
}

// Rest returns the encoding of the fields of a record without a column: its history, and
// the fields of later versions of the core; nil for nothing. It keeps fields that also have
// a copy.
func Rest(rec apitoken.Record) []byte {
	n := len(rec.Secrets)
	rec.Secrets = append(slices.Clone(rec.Secrets), make([]apitoken.SecretRecord, 2-n)...)
	for _, f := range Fields {
		reflect.ValueOf(f.In(&rec)).Elem().SetZero()
	}
	for n > 0 && reflect.ValueOf(rec.Secrets[n-1]).IsZero() {
		n--
	}
	rec.Secrets = rec.Secrets[:n]
	b, _ := rec.MarshalBinary() // see Check
	if len(b) == 0 {
		return nil
	}
	return b
}

// ReadRest reads the result of Rest. It writes the whole record, and so comes before the
// other columns.
func ReadRest(rec *apitoken.Record, b []byte) error {
	secrets := rec.Secrets // into which the other columns are read
	if err := rec.UnmarshalBinary(b); err != nil {
		return err
	}
	if len(rec.Secrets) > len(secrets) {
		return fmt.Errorf("it is about %d secrets", len(rec.Secrets))
	}
	copy(secrets, rec.Secrets)
	rec.Secrets = secrets
	return nil
}

// Check refuses a record that the columns cannot hold. Every text must be valid; the error
// calls valid texts kind.
func Check(rec *apitoken.Record, valid func(string) bool, kind string) error {
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
		texts = append(append(texts, c.By, string(c.Action), c.Via), c.Fields...)
	}
	for _, s := range texts {
		if !valid(s) {
			return fmt.Errorf("a record with the text %.80q, which is not %s", s, kind)
		}
	}
	return nil
}

// ByToken returns uses by the IDs of their tokens.
func ByToken(uses []apitoken.Use) map[string][]apitoken.Use {
	byToken := make(map[string][]apitoken.Use)
	for _, u := range uses {
		byToken[u.ID] = append(byToken[u.ID], u)
	}
	return byToken
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

// A line is a line of a history in JSON, as people read it. It is never read back. Times
// in JSON are microseconds since 1970.
type line struct {
	At     *int64   `json:"at"`
	By     string   `json:"by"`
	Action string   `json:"action"`
	Fields []string `json:"fields,omitempty"`

	Via     string     `json:"via,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
}

// HistoryJSON returns the copy of a history for people.
func HistoryJSON(h []apitoken.HistoryEntry) string {
	var lines []line
	for _, c := range h {
		lines = append(lines, line{timeJSON(c.At), c.By, string(c.Action), c.Fields, c.Via, c.Address})
	}
	return array(lines)
}

func timeJSON(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMicro())
}

// A usage is a use in JSON. The token is that of the row.
type usage struct {
	Digest  string          `json:"digest"` // in hexadecimal
	Source  apitoken.Source `json:"source"`
	At      *int64          `json:"at"`
	Address netip.Addr      `json:"address,omitzero"`
}

// UsesJSON returns the column of the uses.
func UsesJSON(uses []apitoken.Use) string {
	var list []usage
	for _, u := range uses {
		list = append(list, usage{hex.EncodeToString(u.Digest), u.Source, timeJSON(u.At), u.Address})
	}
	return array(list)
}

// ParseUses reads the result of UsesJSON, also as a database formats it.
func ParseUses(b []byte) ([]apitoken.Use, error) {
	if string(b) == "[]" {
		return nil, nil
	}
	if uses, ok := plainUses(string(b)); ok {
		return uses, nil
	}
	var list []usage
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	return decodeUses(list)
}

func decodeUses(list []usage) (uses []apitoken.Use, err error) {
	for _, l := range list {
		digest, err := hex.DecodeString(l.Digest)
		if err != nil {
			return nil, err
		}
		u := apitoken.Use{Digest: digest, Source: l.Source, Address: l.Address}
		if l.At != nil {
			u.At = time.UnixMicro(*l.At).UTC()
		}
		uses = append(uses, u)
	}
	return uses, nil
}
