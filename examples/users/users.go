// Package users is the code of docs/users.md: a service whose users are rows with an integer as ID.
package users

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// Schema makes the table of users. With AUTOINCREMENT no ID is given twice: without it, SQLite gives the ID
// of the newest user to the next one if that user is deleted, and their tokens with it.
const Schema = `CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, writes INTEGER NOT NULL)`

// A User is a row.
type User struct {
	ID     int64
	Name   string
	Writes bool // may change devices
}

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

// Users are those of a database.
type Users struct{ DB *sql.DB }

// Owner returns the owner of the tokens of a user. The prefix keeps users and teams apart.
func Owner(id int64) string { return "user:" + strconv.FormatInt(id, 10) }

// userID is the opposite of Owner.
func userID(owner string) (int64, error) {
	text, _ := strings.CutPrefix(owner, "user:")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || Owner(id) != owner { // "user:007" is nobody
		return 0, apitoken.ErrNoOwner
	}
	return id, nil
}

// Find returns the user who owns a token, or ErrNoOwner.
func (u Users) Find(ctx context.Context, owner string) (User, error) {
	id, err := userID(owner)
	if err != nil {
		return User{}, err
	}
	user := User{ID: id}
	err = u.DB.QueryRowContext(ctx, `SELECT name, writes FROM users WHERE id = ?`, id).Scan(&user.Name, &user.Writes)
	if errors.Is(err, sql.ErrNoRows) {
		err = apitoken.ErrNoOwner
	}
	return user, err
}

// Permissions is for Config.OwnerPermissions: what a user may do now. A token can do no more.
func (u Users) Permissions(ctx context.Context, _, owner string) ([]apitoken.Permission, error) {
	user, err := u.Find(ctx, owner)
	if err != nil {
		return nil, err
	}
	perms := []apitoken.Permission{readDevices}
	if user.Writes {
		perms = append(perms, writeDevices)
	}
	return perms, nil
}

// Delete deletes a user and their tokens. After an error, call it again.
func (u Users) Delete(ctx context.Context, auth *apitoken.Authority, id int64) error {
	// The user first: Permissions then returns ErrNoOwner, so that no request is accepted and no token made.
	if _, err := u.DB.ExecContext(ctx, `DELETE FROM users WHERE id = ?`, id); err != nil {
		return err
	}
	system := auth.As(apitoken.Actor{User: "system", Environment: apitoken.DefaultEnvironment, ManageOthers: true})
	for {
		page, err := system.List(ctx, apitoken.ListParams{Owner: Owner(id), Order: apitoken.ByCreated, Limit: 200})
		if err != nil || len(page.Tokens) == 0 {
			return err
		}
		var ids []string
		for _, tok := range page.Tokens {
			ids = append(ids, tok.ID)
		}
		if _, err := system.Bulk(ctx, apitoken.BulkParams{Action: "delete", IDs: ids}); err != nil {
			return err
		}
	}
}

type userKey struct{}

// WithUser returns a request of a user: by token, by session, or in a test.
func WithUser(r *http.Request, user User) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), userKey{}, user))
}

// Of returns the user whose request it is.
func Of(r *http.Request) User {
	user, _ := r.Context().Value(userKey{}).(User)
	return user
}

// Load loads the user once for a request. The middleware stands before it, and puts the token into the context.
func (u Users) Load(auth *apitoken.Authority, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context()) // without the middleware, the token of no owner
		user, err := u.Find(r.Context(), tok.Owner())
		if err != nil {
			auth.Refuse(w, r, err) // 503, also if the user was deleted a moment ago
			return
		}
		next.ServeHTTP(w, WithUser(r, user))
	})
}

// NewHandler returns the handler of the service.
func NewHandler(auth *apitoken.Authority, users Users) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Require(readDevices)(users.Load(auth, http.HandlerFunc(listDevices))))
	return auth.HideQueryToken(mux)
}

func listDevices(w http.ResponseWriter, r *http.Request) {
	w.Write([]byte("devices of " + Of(r).Name))
}
