package moving

import (
	"context"
	"database/sql"
	"errors"

	"github.com/apitoken-go/apitoken"
)

// MoveKey imports a key of a table, in whose column key the old way looks it up, and takes it out of that column.
// NULL takes its place there, and never the ID of the token: IDs are public, they stand in lists and logs,
// and the old way would accept one as a key. The ID goes into a column of its own:
//
//	ALTER TABLE api_keys ADD COLUMN token_id TEXT
//
// After an error, call it again.
func MoveKey(ctx context.Context, db *sql.DB, auth *apitoken.Authority, actor apitoken.Actor, row int64, permissions ...apitoken.Permission) error {
	var key sql.NullString
	var owner string
	err := db.QueryRowContext(ctx, `SELECT key, owner FROM api_keys WHERE id = ?`, row).Scan(&key, &owner)
	if err != nil || !key.Valid { // moved already
		return err
	}
	secret := apitoken.NewSecret(key.String)
	_, err = auth.As(actor).Import(ctx, apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Owner: owner, Name: "key of " + owner, Permissions: permissions, Expiry: apitoken.Never()},
		Secret:         secret,
	})
	if err != nil && !errors.Is(err, apitoken.ErrExists) { // it exists if the statement below failed the last time
		return err
	}
	id, _ := auth.IDOf(secret)
	_, err = db.ExecContext(ctx, `UPDATE api_keys SET key = NULL, token_id = ? WHERE id = ?`, id, row)
	return err
}
