package mysql

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// schema makes the tables.
//
//go:embed schema.sql
var schema string

// Schema returns the SQL that creates the tables, for your own migrations. Run its
// statements once, in order; each ends with a semicolon at the end of a line, and contains
// no other. Use runs them if there are no tables.
func Schema() string { return schema }

// fingerprint names the columns and triggers that schema makes, a line each, with
// their types and a hash of what they do. What others add to the tables is not in it, nor what a
// later version of this package adds that programs of this one need not know.
//
//go:embed schema.txt
var fingerprint string

// schemaVersion is what schema writes into apitoken_schema. It goes up when programs
// that do not know of a change must not use the tables.
const schemaVersion = 1

// checkSchema reports whether the tables are there. It refuses those of another version, and
// those in which something is missing that this program relies on.
func checkSchema(ctx context.Context, c *sql.Conn) (there bool, err error) {
	if there, err = exists(ctx, c); err != nil || !there {
		return false, err
	}
	var lines []string
	err = sqlkit.Schema{Version: schemaVersion, Fingerprint: fingerprint}.Check(
		func(query string) sqlkit.Row { return c.QueryRowContext(ctx, query) },
		func() (_ []string, err error) { lines, err = describe(ctx, c); return lines, err })
	seen := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "trigger ") && strings.Contains(fingerprint, l) })
	if err != nil && strings.Contains(err.Error(), "another: trigger ") {
		err = fmt.Errorf("%w; an administrator has to drop the triggers of that table whose names begin with apitoken_, and to run their CREATE TRIGGER statements of mysql.Schema in their order", err)
	}
	if err != nil && lines != nil && !seen {
		err = fmt.Errorf("%w; if the triggers are there, the user may not see them, and an administrator has to run: GRANT TRIGGER ON %s TO %s", err, onAll(ctx, c), account(ctx, c))
	}
	return true, err
}

func exists(ctx context.Context, c *sql.Conn) (there bool, err error) {
	err = c.QueryRowContext(ctx, `SELECT count(*) > 0 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'apitoken_schema'`).Scan(&there)
	return there, err
}

// describe returns the lines of a fingerprint for what there is. They are binary, as the columns of the server have several collations.
func describe(ctx context.Context, c *sql.Conn) ([]string, error) {
	rows, err := c.QueryContext(ctx, `
		SELECT CAST(concat('column ', c.table_name, '.', c.column_name, ' ', c.data_type,
			CASE WHEN c.data_type = 'varbinary' THEN concat('(', c.character_maximum_length, ')') ELSE '' END,
			CASE WHEN c.collation_name IS NOT NULL THEN concat(' ', c.collation_name) ELSE '' END,
			CASE WHEN c.is_nullable = 'NO' THEN ' NOT NULL' ELSE '' END) AS BINARY) AS line, CAST('' AS BINARY) AS code
			FROM information_schema.columns c WHERE c.table_schema = DATABASE() AND c.table_name IN (`+tables+`)
		UNION ALL SELECT CAST(concat('table ', t.table_name, ' ', t.engine) AS BINARY), ''
			FROM information_schema.tables t WHERE t.table_schema = DATABASE() AND t.table_name IN (`+tables+`)
		UNION ALL SELECT CAST(concat('trigger ', g.trigger_name, ' on ', g.event_object_table, ', ', g.action_timing, ' ', g.event_manipulation,
			CASE WHEN g.event_object_table = 'apitoken_changes' THEN concat(' ', g.action_order) ELSE '' END) AS BINARY),
			CAST(ifnull(g.action_statement, 'hidden') AS BINARY)
			FROM information_schema.triggers g WHERE g.event_object_schema = DATABASE() AND g.event_object_table IN (`+tables+`)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return sqlkit.Describe(rows)
}

const tables = `'apitoken_schema', 'apitoken_tokens', 'apitoken_index', 'apitoken_changes', 'apitoken_counter', 'apitoken_limits'`

// migrate makes the tables if they are not there. Of several nodes that try, one does it; the others wait, and find it done.
func (s *Store) migrate(ctx context.Context) error {
	return s.lend(ctx, func(c *sql.Conn) error {
		there, err := checkSchema(ctx, c)
		if err != nil || there {
			return err
		}
		var locked sql.NullInt64 // the lock ends with the connection at the latest
		if err := c.QueryRowContext(ctx, `SELECT get_lock(`+lockName+`, 60)`).Scan(&locked); err != nil {
			return err
		}
		if locked.Int64 != 1 {
			return errors.New("another program has been making the tables for a minute")
		}
		defer c.ExecContext(context.WithoutCancel(ctx), `DO release_lock(`+lockName+`)`)
		if there, err = checkSchema(ctx, c); err != nil || there {
			return err
		}
		return create(ctx, c)
	})
}

const lockName = `concat('apitoken ', md5(DATABASE()))`

// create makes the tables. The engine has no transactions for that: what was made before an error is removed again.
func create(ctx context.Context, c *sql.Conn) error {
	var made []string
	for _, statement := range statements() {
		if _, err := c.ExecContext(ctx, statement); err != nil {
			for _, table := range made {
				c.ExecContext(context.WithoutCancel(ctx), `DROP TABLE `+table)
			}
			return createError(ctx, c, err)
		}
		if table := madeBy.FindStringSubmatch(statement); table != nil {
			made = append(made, table[1])
		}
	}
	return nil
}

var madeBy = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)

// statements returns those of schema.
func statements() []string {
	var list []string
	for _, s := range strings.Split(schema, ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// createError says what an administrator has to do, if that is what it takes.
func createError(ctx context.Context, c *sql.Conn, err error) error {
	switch code(err) {
	case 1050, 1359: // a table, a trigger is there
		return fmt.Errorf("some tables of the tokens are there without apitoken_schema, perhaps from an attempt that was broken off; rename or drop them: %w", err)
	case 1419: // ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
		return fmt.Errorf("the tables of the tokens are not there, and with binary logging the server lets only administrators make triggers;"+
			" an administrator has to run the SQL that mysql.Schema returns, or SET GLOBAL log_bin_trust_function_creators = 1: %w", err)
	case 1044, 1142, 1227: // no access to a database, a table; a right of the server
		return fmt.Errorf("permission denied: the tables of the tokens are not there, or the user may not see them, and may not make them; an administrator has to run: GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER ON %s TO %s;"+
			" or to make the tables with the SQL that mysql.Schema returns, after which Use says what the user lacks: %w", onAll(ctx, c), account(ctx, c), err)
	}
	return err
}
