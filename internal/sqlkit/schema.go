package sqlkit

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Schema describes the tables that a store needs.
type Schema struct {
	Version     int    // in apitoken_schema: a program must know exactly this one
	Fingerprint string // lines as Describe returns them
}

// Every refusal of a schema wraps errSchema.
var errSchema = errors.New("the tables of the tokens cannot be used")

// Check refuses tables of another version, and tables that lack something this program
// needs. row runs a query with one row, and describe calls Describe.
func (s Schema) Check(row func(query string) Row, describe func() ([]string, error)) error {
	var version int
	err := row(`SELECT version FROM apitoken_schema`).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: apitoken_schema is empty", errSchema)
	case err != nil:
		return err
	case version > s.Version:
		var oldest string
		if err := row(`SELECT oldest FROM apitoken_schema`).Scan(&oldest); err != nil {
			oldest = "a later version"
		}
		return fmt.Errorf("%w: they have version %d, and this program knows version %d; use a newer one, of %s of the package", errSchema, version, s.Version, oldest)
	case version < s.Version:
		return fmt.Errorf("%w: they have version %d, from before the first release, and this program knows version %d; make them anew", errSchema, version, s.Version)
	}
	lines, err := describe()
	if err != nil {
		return err
	}
	for line := range strings.Lines(s.Fingerprint) {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			return fmt.Errorf("%w: what version %d has is missing or another: %s", errSchema, version, line)
		}
	}
	return nil
}

// Rows are those of database/sql or of another driver.
type Rows interface {
	Row
	Next() bool
	Err() error
}

// Describe returns the lines of a fingerprint: rows have the names of the parts of a schema
// and their code, which Describe hashes.
func Describe(rows Rows) (lines []string, err error) {
	for rows.Next() {
		var line, code string
		if err := rows.Scan(&line, &code); err != nil {
			return nil, err
		}
		if code != "" {
			line += fmt.Sprintf(" %.8x", sha256.Sum256([]byte(code)))
		}
		lines = append(lines, line)
	}
	return lines, rows.Err()
}

// KeysQuery returns a query for Keys. It steps from each key in an index to the next one,
// and counts up to MaxCount of each, because a full count takes longer the more tokens
// there are, and a node asks when it starts. The condition is part of every SELECT that
// finds something.
func KeysQuery(condition string) string {
	var parts []string
	for _, column := range []string{"mac_key_id", "encryption_key_id", "old_encryption_key_id"} {
		parts = append(parts, strings.NewReplacer("KEY_COLUMN", column, "MOST", strconv.Itoa(MaxCount), "CONDITION", condition).Replace(`
		SELECT * FROM (
			WITH RECURSIVE used(key_id) AS (
				SELECT min(KEY_COLUMN) FROM apitoken_tokens WHERE KEY_COLUMN <> ''
				UNION ALL
				SELECT (SELECT min(KEY_COLUMN) FROM apitoken_tokens WHERE KEY_COLUMN > used.key_id AND KEY_COLUMN <> '') FROM used WHERE used.key_id IS NOT NULL
			)
			SELECT 'KEY_COLUMN', used.key_id, (SELECT count(*) FROM (SELECT 1 FROM apitoken_tokens WHERE KEY_COLUMN = used.key_id AND KEY_COLUMN <> '' LIMIT MOST) counted)
			FROM used WHERE used.key_id IS NOT NULL AND CONDITION) KEY_COLUMN`))
	}
	return strings.Join(parts, " UNION ALL ")
}

// Keys reads the IDs of the keys in use, and how many tokens have each.
func Keys(rows Rows) (macs, secrets map[string]int, err error) {
	macs, secrets = make(map[string]int), make(map[string]int)
	for rows.Next() {
		var column, key string
		var n int
		if err := rows.Scan(&column, &key, &n); err != nil {
			return nil, nil, err
		}
		if column == "mac_key_id" {
			macs[key] += n
		} else {
			secrets[key] += n
		}
	}
	return macs, secrets, rows.Err()
}
