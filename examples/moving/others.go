package moving

import (
	"errors"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/shaj13/go-guardian/v2/auth"

	"github.com/apitoken-go/apitoken"
)

// Guardian is a middleware for what go-guardian decides, as its users write it.
func Guardian(strategy auth.Strategy) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, err := strategy.Authenticate(r.Context(), r)
			if err != nil {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, WithOwner(r, user.GetUserName()))
		})
	}
}

// Exchange answers a good JWT with a token of ours. It can do what the JWT
// could, and lives for a day if it is not asked for again.
func Exchange(authority *apitoken.Authority, key []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var claims struct {
			jwt.RegisteredClaims
			Scopes []string `json:"scopes"`
		}
		text := r.PostFormValue("jwt")
		_, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return key, nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
		if err != nil {
			http.Error(w, "not a valid JWT", http.StatusUnauthorized)
			return
		}
		perms, err := authority.Catalog().Lookup(claims.Scopes...)
		if err != nil {
			http.Error(w, "a scope is unknown", http.StatusForbidden)
			return
		}
		owner := apitoken.Actor{User: claims.Subject, Environment: apitoken.DefaultEnvironment, Grants: perms}
		_, secret, err := authority.As(owner).Generate(r.Context(), apitoken.GenerateParams{
			Name: "in place of a JWT", Permissions: perms, Expiry: apitoken.In(24 * time.Hour),
		})
		if err != nil {
			http.Error(w, "no token", refusedWith(err))
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Write([]byte(secret.Reveal()))
	})
}

func refusedWith(err error) int {
	if errors.Is(err, apitoken.ErrUnavailable) {
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden
}
