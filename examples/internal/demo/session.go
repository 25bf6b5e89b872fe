package demo

import (
	"context"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// Session is the value of a cookie named "session". It stands for what a service knows of
// somebody who has signed in.
const Session = "3f9c1e"

// User returns who has signed in and got this cookie.
func User(session string) (user string, ok bool) { return "grace", session == Session }

// SignIn is the answer to requests without a session.
const SignIn = "Sign in, or send an API token."

type userKey struct{}

// WithUser returns a context that has the user who has signed in.
func WithUser(ctx context.Context, user string) context.Context {
	return context.WithValue(ctx, userKey{}, user)
}

// Who returns the owner of the token of a request, else the user who has signed in.
func Who(ctx context.Context) string {
	if tok, ok := apitoken.FromContext(ctx); ok {
		return tok.Owner()
	}
	user, _ := ctx.Value(userKey{}).(string)
	return user
}

// Sessions is middleware as services have it for sessions.
func Sessions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("session"); err == nil {
			if user, ok := User(cookie.Value); ok {
				next.ServeHTTP(w, r.WithContext(WithUser(r.Context(), user)))
				return
			}
		}
		http.Error(w, SignIn, http.StatusUnauthorized)
	})
}
