package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// schema makes the tables.
//
//go:embed schema.sql
var schema string

// fingerprint names the columns and triggers that schema makes, a line each, with
// their types and a hash of what they do. What others add to the tables is not in it, nor what a
// later version of this package adds that programs of this one need not know.
//
//go:embed schema.txt
var fingerprint string

// schemaVersion is what schema writes into apitoken_schema. It goes up when programs
// that do not know of a change must not use the tables.
const schemaVersion = 3

// errSchema is what every refusal of a schema wraps.
var errSchema = errors.New("the tables of the tokens cannot be used")

// checkSchema reports whether the tables are there. It refuses those of another version, and
// those in which something is missing that this program relies on.
func checkSchema(ctx context.Context, c *sql.Conn) (there bool, err error) {
	var version int
	err = c.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'apitoken_schema'`).Scan(&version)
	if err != nil || version == 0 {
		return false, err
	}
	err = c.QueryRowContext(ctx, `SELECT version FROM apitoken_schema`).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return true, fmt.Errorf("%w: apitoken_schema is empty", errSchema)
	case err != nil:
		return true, err
	case version > schemaVersion:
		var oldest string
		if err := c.QueryRowContext(ctx, `SELECT oldest FROM apitoken_schema`).Scan(&oldest); err != nil {
			oldest = "a later version"
		}
		return true, fmt.Errorf("%w: they have version %d, and this program knows version %d; use a newer one, of %s of the package", errSchema, version, schemaVersion, oldest)
	case version < schemaVersion:
		return true, fmt.Errorf("%w: they have version %d, from before the first release, and this program knows version %d; make them anew", errSchema, version, schemaVersion)
	}
	lines, err := describe(ctx, c)
	if err != nil {
		return true, err
	}
	for line := range strings.Lines(fingerprint) {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			return true, fmt.Errorf("%w: what version %d has is missing or another: %s", errSchema, version, line)
		}
	}
	return true, nil
}

// describe returns the lines of a fingerprint for what there is.
func describe(ctx context.Context, c *sql.Conn) (lines []string, err error) {
	rows, err := c.QueryContext(ctx, `
		SELECT 'column ' || t.name || '.' || c.name || ' ' || c.type || iif(c."notnull", ' NOT NULL', ''), '' FROM sqlite_schema t, pragma_table_info(t.name) c
			WHERE t.type = 'table' AND t.name LIKE 'apitoken\_%' ESCAPE '\'
		UNION ALL SELECT 'trigger ' || name || ' on ' || tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
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

// migrate makes the tables if they are not there, in one transaction. Of several processes
// that try, one does it and the others find it done.
func migrate(ctx context.Context, c *sql.Conn) error {
	return transact(ctx, c, func(ctx context.Context) error {
		there, err := checkSchema(ctx, c)
		if err != nil {
			return err
		}
		if there {
			// Even so the database must be one that can be written.
			_, err := c.ExecContext(ctx, `UPDATE apitoken_schema SET version = version WHERE FALSE`)
			return err
		}
		_, err = c.ExecContext(ctx, schema)
		return err
	})
}
