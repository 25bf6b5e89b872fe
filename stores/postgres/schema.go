package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema.sql
var schema1 string

// migrations lead from one version of the schema to the next; the first makes
// version 1 of nothing. What was released is never edited.
var migrations = []string{schema1}

// schemaVersion returns the version of the schema, 0 for none. It refuses what a
// later version of this package has made.
func schemaVersion(ctx context.Context, tx pgx.Tx) (version int, err error) {
	// Not by to_regclass, which may remember that there was none.
	var there bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = 'apitoken_schema' AND n.nspname = ANY(current_schemas(false)))`).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	err = tx.QueryRow(ctx, `SELECT version FROM apitoken_schema`).Scan(&version)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, errors.New("the tables of the tokens cannot be used: apitoken_schema is empty")
	case err != nil:
		return 0, err
	case version > len(migrations):
		return 0, fmt.Errorf("the tables of the tokens have version %d, and this program knows up to %d; use a newer one", version, len(migrations))
	}
	return version, nil
}

// migrate brings the schema up to date, in one transaction. Of several nodes
// that try, one does it; the others wait, and find it done.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		version, err := schemaVersion(ctx, tx)
		if err != nil {
			return err
		}
		if version == len(migrations) {
			// So a node needs no right to create tables. But to write it does.
			_, err := tx.Exec(ctx, `UPDATE apitoken_schema SET version = version WHERE FALSE`)
			return err
		}
		// The name of the lock is a hash of the place where the tables will be.
		_, err = tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('apitoken_schema in ' || current_schema(), 0))`)
		if err != nil {
			return err
		}
		if version, err = schemaVersion(ctx, tx); err != nil || version == len(migrations) {
			return err
		}
		// The trigger keeps this search path, whoever sets it off. The folder
		// of temporary tables would come first if it did not come last.
		_, err = tx.Exec(ctx, `SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)`)
		if err != nil {
			return err
		}
		for _, m := range migrations[version:] {
			if _, err := tx.Exec(ctx, m); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS apitoken_schema (version integer NOT NULL); DELETE FROM apitoken_schema`); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO apitoken_schema VALUES ($1)`, len(migrations))
		return err
	})
}
