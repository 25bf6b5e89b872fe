package sqlite

import (
	"context"
	"database/sql"
	_ "embed"

	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// schema makes the tables.
//
//go:embed schema.sql
var schema string

// Schema returns the SQL that creates the tables, for your own migrations. Run it once, as
// one batch of statements in one transaction. Open and Use then find the tables; without
// tables, they run it themselves.
func Schema() string { return schema }

// fingerprint names the columns and triggers that schema makes, a line each, with
// their types and a hash of what they do. What others add to the tables is not in it, nor what a
// later version of this package adds that programs of this one need not know.
//
//go:embed schema.txt
var fingerprint string

// schemaVersion is what schema writes into apitoken_schema. It goes up when programs
// that do not know of a change must not use the tables.
const schemaVersion = 4

// A querier is a connection, or a database.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// checkSchema reports whether the tables are there. It refuses those of another version, and
// those in which something is missing that this program relies on.
func checkSchema(ctx context.Context, c querier) (there bool, err error) {
	var n int
	err = c.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'apitoken_schema'`).Scan(&n)
	if err != nil || n == 0 {
		return false, err
	}
	err = sqlkit.Schema{Version: schemaVersion, Fingerprint: fingerprint}.Check(
		func(query string) sqlkit.Row { return c.QueryRowContext(ctx, query) },
		func() ([]string, error) { return describe(ctx, c) })
	return true, err
}

// describe returns the lines of a fingerprint for what there is.
func describe(ctx context.Context, c querier) ([]string, error) {
	rows, err := c.QueryContext(ctx, `
		SELECT 'column ' || t.name || '.' || c.name || ' ' || c.type || iif(c."notnull", ' NOT NULL', ''), '' FROM sqlite_schema t, pragma_table_info(t.name) c
			WHERE t.type = 'table' AND t.name LIKE 'apitoken\_%' ESCAPE '\'
		UNION ALL SELECT 'trigger ' || name || ' on ' || tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return sqlkit.Describe(rows)
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
