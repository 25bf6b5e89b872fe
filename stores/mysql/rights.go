package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// trials do nothing, and need the rights that a program needs. They come by table and right.
var trials = []struct{ table, right, statement string }{
	{"apitoken_schema", "SELECT", `SELECT version, oldest FROM apitoken_schema WHERE FALSE`},
	{"apitoken_tokens", "SELECT", `SELECT * FROM apitoken_tokens WHERE FALSE`},
	{"apitoken_tokens", "INSERT", `INSERT INTO apitoken_tokens SELECT * FROM apitoken_tokens WHERE FALSE`},
	{"apitoken_tokens", "UPDATE", `UPDATE apitoken_tokens SET version = version WHERE id = '' AND FALSE`},
	{"apitoken_tokens", "DELETE", `DELETE FROM apitoken_tokens WHERE id = '' AND FALSE`},
	{"apitoken_index", "SELECT", `SELECT * FROM apitoken_index WHERE FALSE`},
	{"apitoken_index", "INSERT", `INSERT INTO apitoken_index SELECT * FROM apitoken_index WHERE FALSE`},
	{"apitoken_index", "UPDATE", `UPDATE apitoken_index SET entry = entry WHERE id = '' AND FALSE`},
	{"apitoken_index", "DELETE", `DELETE FROM apitoken_index WHERE id = '' AND FALSE`},
	{"apitoken_counter", "SELECT", `SELECT * FROM apitoken_counter WHERE FALSE`}, // to see that it is there
	{"apitoken_limits", "SELECT", `SELECT * FROM apitoken_limits WHERE FALSE`},
	{"apitoken_limits", "INSERT", `INSERT INTO apitoken_limits SELECT * FROM apitoken_limits WHERE FALSE`},
	{"apitoken_limits", "UPDATE", `UPDATE apitoken_limits SET used = used WHERE name = '' AND FALSE`},
	{"apitoken_limits", "DELETE", `DELETE FROM apitoken_limits WHERE name = '' AND FALSE`},
	{"apitoken_changes", "SELECT", `SELECT * FROM apitoken_changes WHERE FALSE`},
	{"apitoken_changes", "DELETE", "DELETE FROM apitoken_changes WHERE `change` = 0 AND FALSE"},
}

// checkRights returns an error with what an administrator has to run, if the user may not use the tables that there are. The
// user who has made the triggers does what these do.
func (s *Store) checkRights(ctx context.Context) error {
	return s.change(ctx, func(c *sql.Conn) error {
		if there, err := exists(ctx, c); err != nil || !there {
			return err
		}
		return try(ctx, c)
	})
}

func try(ctx context.Context, c *sql.Conn) error {
	var grants strings.Builder
	for _, t := range trials {
		_, err := c.ExecContext(ctx, t.statement)
		switch code(err) {
		case 0:
			if err != nil {
				return err
			}
		case 1142, 1143: // a table, a column
			fmt.Fprintf(&grants, " GRANT %s ON %s TO %s;", t.right, strings.TrimSuffix(onAll(ctx, c), "*")+t.table, account(ctx, c))
		case 1146, 1054: // no table, no column: the schema is looked at next
		default:
			return err
		}
	}
	if grants.Len() == 0 {
		return nil
	}
	return fmt.Errorf("permission denied: the user lacks rights to the tables of the tokens; an administrator has to run:%s", grants.String())
}

// onAll returns all tables of the database, and account the user, as GRANT takes them.
func onAll(ctx context.Context, c *sql.Conn) string {
	return ask(ctx, c, "SELECT concat('`', replace(DATABASE(), '`', '``'), '`.*')")
}

func account(ctx context.Context, c *sql.Conn) string {
	return ask(ctx, c, "SELECT concat('`', replace(current_user(), '@', '`@`'), '`')")
}

func ask(ctx context.Context, c *sql.Conn, query string) string {
	text := "…"
	c.QueryRowContext(ctx, query).Scan(&text)
	return text
}
