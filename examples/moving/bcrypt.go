package moving

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/apitoken-go/apitoken"
)

// An OldKey is a row of the table that is to go.
type OldKey struct {
	Owner  string
	Hash   []byte   // bcrypt, of the whole key
	Scopes []string // names that the catalog has too
}

// OldKeys are the rows by what precedes the dot of a key, as in "k1.3f9a…".
type OldKeys struct {
	mu   sync.Mutex
	rows map[string]OldKey
}

// Middleware is the old one, with one thing more: the key of a good request is
// brought over, as this is the one moment when its text is known.
func (k *OldKeys) Middleware(auth *apitoken.Authority, operator apitoken.Actor, scope string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text := r.Header.Get("X-Api-Key")
			id, _, _ := strings.Cut(text, ".")
			k.mu.Lock()
			row, ok := k.rows[id]
			k.mu.Unlock()
			switch {
			case !ok || bcrypt.CompareHashAndPassword(row.Hash, []byte(text)) != nil:
				http.Error(w, "unknown key", http.StatusUnauthorized)
				return
			case !slices.Contains(row.Scopes, scope):
				http.Error(w, "scope missing", http.StatusForbidden)
				return
			}
			if err := bringOver(r.Context(), auth.As(operator), auth.Catalog(), id, text, row); err == nil {
				k.mu.Lock()
				delete(k.rows, id) // else the key would come back to life when the token is deleted
				k.mu.Unlock()
			} // an error is for the log: the old key still works, and the next request tries again
			next.ServeHTTP(w, WithOwner(r, row.Owner))
		})
	}
}

// bringOver imports a key whose text is known. Another request may have been
// faster.
func bringOver(ctx context.Context, m *apitoken.Manager, catalog *apitoken.Catalog, id, text string, row OldKey) error {
	perms, err := catalog.Lookup(row.Scopes...)
	if err != nil {
		return err
	}
	_, err = m.Import(ctx, apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Owner: row.Owner, Name: "key " + id, Permissions: perms, Expiry: apitoken.Never()},
		Secret:         apitoken.NewSecret(text),
	})
	if errors.Is(err, apitoken.ErrExists) {
		return nil
	}
	return err
}
