// Package moving is the code of docs/moving-in.md: how to come from other API
// keys to this library, with old and new side by side for as long as it takes.
package moving

import (
	"context"
	"errors"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// Beside guards handlers by API token, and lets old decide about requests that
// have none of ours. Everything else is refused here, first of all a token that
// is known and deactivated: the old way must not be a way around that.
func Beside(auth *apitoken.Authority, requirement apitoken.Requirement, old func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		theirs := old(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tok, err := auth.Check(r, requirement)
			switch {
			case err == nil:
				next.ServeHTTP(w, WithOwner(auth.WithoutQueryToken(r), tok.Owner()))
			case errors.Is(err, apitoken.ErrNoToken), errors.Is(err, apitoken.ErrUnknownToken):
				theirs.ServeHTTP(w, r)
			default:
				auth.Refuse(w, r, err)
			}
		})
	}
}

type ownerKey struct{}

// WithOwner says whose request it is, by whichever way that was found out.
func WithOwner(r *http.Request, owner string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), ownerKey{}, owner))
}

// Owner returns it.
func Owner(r *http.Request) string {
	owner, _ := r.Context().Value(ownerKey{}).(string)
	return owner
}
