package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
)

//go:embed schema.sql
var schema1 string

//go:embed schema2.sql
var schema2 string

// migrations lead from one version of the schema to the next; the first makes
// version 1 of nothing. What was released is never edited.
var migrations = []string{schema1, schema2}

// errSchema is what every refusal of a schema wraps.
var errSchema = errors.New("the tables of the tokens cannot be used")

// schemaVersion returns the version of the schema in the database, 0 for none.
// It refuses what a later version of this package has made.
func schemaVersion(ctx context.Context, c *sql.Conn) (int, error) {
	var version int
	err := c.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'apitoken_schema'`).Scan(&version)
	if err != nil || version == 0 {
		return 0, err
	}
	err = c.QueryRowContext(ctx, `SELECT version FROM apitoken_schema`).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, fmt.Errorf("%w: apitoken_schema is empty", errSchema)
	case err != nil:
		return 0, err
	case version > len(migrations):
		return 0, fmt.Errorf("%w: they have version %d, and this program knows up to %d; use a newer one", errSchema, version, len(migrations))
	}
	return version, nil
}

// migrate brings the schema up to date, in one transaction. Of several processes
// that try, one does it and the others find it done.
func migrate(ctx context.Context, c *sql.Conn) error {
	return transact(ctx, c, func(ctx context.Context) error {
		version, err := schemaVersion(ctx, c)
		if err != nil {
			return err
		}
		if version == len(migrations) {
			// Even so the database must be one that can be written.
			_, err := c.ExecContext(ctx, `UPDATE apitoken_schema SET version = version WHERE FALSE`)
			return err
		}
		for _, m := range migrations[version:] {
			if _, err := c.ExecContext(ctx, m); err != nil {
				return err
			}
		}
		_, err = c.ExecContext(ctx, `
			CREATE TABLE IF NOT EXISTS apitoken_schema (version INTEGER NOT NULL) STRICT;
			DELETE FROM apitoken_schema`)
		if err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, `INSERT INTO apitoken_schema VALUES (?)`, len(migrations))
		return err
	})
}
