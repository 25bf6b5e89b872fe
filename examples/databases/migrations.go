// Package databases keeps tokens in the database that an application has anyway, through the libraries
// by which it uses it. docs/databases.md explains the code.
package databases

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"
)

// Goose runs the migrations of the application, and makes the tables of the tokens as number 2 of them.
// schema is what the function Schema of the store's package returns.
func Goose(ctx context.Context, dialect goose.Dialect, db *sql.DB, own fs.FS, schema string) error {
	tokens := goose.NewGoMigration(2, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	}}, nil)
	provider, err := goose.NewProvider(dialect, db, own, goose.WithGoMigrations(tokens))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Migrate runs migrations by golang-migrate. One of the files is what the function Schema of the store's package
// returns. The URL begins with "sqlite://" or "pgx5://". It has connections of its own, because
// golang-migrate closes its connections.
func Migrate(url string, files fs.FS) error {
	source, err := iofs.New(files, ".")
	if err != nil {
		return err
	}
	m, err := migrate.NewWithSourceInstance("iofs", source, url)
	if err != nil {
		return err
	}
	if err = m.Up(); err == migrate.ErrNoChange {
		err = nil
	}
	err1, err2 := m.Close()
	return errors.Join(err, err1, err2)
}
