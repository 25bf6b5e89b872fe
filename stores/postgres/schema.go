package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// schema makes the tables.
//
//go:embed schema.sql
var schema string

// Schema returns the SQL that creates the tables, for your own migrations. Run it once, in
// one transaction; it creates the tables in the first schema of the search path. New runs
// it if there are no tables.
func Schema() string { return schema }

// fingerprint names the columns, triggers and functions that schema makes, a line each, with
// their types and a hash of what they do. What others add to the tables is not in it, nor what a
// later version of this package adds that programs of this one need not know.
//
//go:embed schema.txt
var fingerprint string

// schemaVersion is what schema writes into apitoken_schema. It goes up when programs
// that do not know of a change must not use the tables.
const schemaVersion = 3

// checkSchema reports whether the tables are there. It refuses those of another version, and
// those in which something is missing that this program relies on.
func checkSchema(ctx context.Context, tx querier) (there bool, err error) {
	// Not by to_regclass, which may remember that there was none.
	err = queryRow(ctx, tx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = 'apitoken_schema' AND n.nspname = ANY(current_schemas(false)))`).Scan(&there)
	if err != nil || !there {
		return false, err
	}
	if err := checkRights(ctx, tx); err != nil {
		return true, err
	}
	var lines []string
	err = sqlkit.Schema{Version: schemaVersion, Fingerprint: fingerprint}.Check(
		func(query string) sqlkit.Row { return queryRow(ctx, tx, query) },
		func() (_ []string, err error) { lines, err = describe(ctx, tx); return lines, err })
	if err != nil && lines != nil {
		off := slices.DeleteFunc(slices.Clone(triggers), func(name string) bool {
			return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "trigger "+name+" ") })
		})
		err = fmt.Errorf("%w%s", err, repair(off))
	}
	return true, err
}

// describe returns the lines of a fingerprint for what there is. A trigger that does not
// always fire is not there.
func describe(ctx context.Context, tx querier) ([]string, error) {
	rows, err := tx.query(ctx, `
		SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, ''
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
			WHERE c.relname LIKE 'apitoken\_%' AND c.relkind = 'r' AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL SELECT 'trigger ' || t.tgname || ' on ' || c.relname || ', kind ' || t.tgtype || ', calls ' || p.proname, ''
			FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
			WHERE c.relname LIKE 'apitoken\_%' AND pg_table_is_visible(c.oid) AND t.tgenabled = 'A'
		UNION ALL SELECT 'function ' || proname, prosrc FROM pg_proc WHERE proname LIKE 'apitoken\_%' AND pg_function_is_visible(oid)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return sqlkit.Describe(rows)
}

// migrate makes the tables if they are not there, in one transaction. Of several nodes
// that try, one does it; the others wait, and find it done.
func (s *Store) migrate(ctx context.Context) error {
	return s.change(ctx, `BEGIN`, func(tx querier) error {
		there, err := checkSchema(ctx, tx)
		if err != nil {
			return err
		}
		if there {
			// So a node needs no right to create tables. But to write it does.
			_, err := tx.exec(ctx, `UPDATE apitoken_schema SET version = version WHERE FALSE`)
			return err
		}
		if err := checkCreate(ctx, tx); err != nil {
			return err
		}
		// The name of the lock is a hash of the place where the tables will be.
		_, err = tx.exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('apitoken_schema in ' || current_schema(), 0))`)
		if err != nil {
			return err
		}
		if there, err = checkSchema(ctx, tx); err != nil || there {
			return err
		}
		_, err = tx.exec(ctx, schema)
		return err
	})
}
