package benchmarks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
)

// jwtClaims are what a JWT says of its user.
type jwtClaims struct {
	Scope string `json:"scope"` // as RFC 8693 has it: names with spaces between them
	jwt.RegisteredClaims
}

var jwtSecret = []byte("a secret of 32 bytes for a test.")

// sign makes a JWT for each user, but no more than are presented.
func sign(w *Work, method jwt.SigningMethod, key any) ([]string, error) {
	tokens := make([]string, min(len(w.Users), Rotating))
	for i, u := range w.Users[:len(tokens)] {
		t := jwt.NewWithClaims(method, jwtClaims{strings.Join(w.Granted(), " "), jwt.RegisteredClaims{
			Issuer: "https://auth.example.org", Subject: u.Name,
			IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(24 * time.Hour)),
		}})
		var err error
		if tokens[i], err = t.SignedString(key); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// forged returns JWTs whose signatures are wrong.
func forged(tokens []string) func() []string {
	return func() []string {
		bad := make([]string, len(tokens))
		for i, t := range tokens {
			at := strings.LastIndexByte(t, '.') + 1
			c := "A"
			if t[at] == 'A' {
				c = "B"
			}
			bad[i] = t[:at] + c + t[at+1:]
		}
		return bad
	}
}

func hasScopes(scope string, names []string) bool {
	all := strings.Fields(scope)
	for _, name := range names {
		if !slices.Contains(all, name) {
			return false
		}
	}
	return true
}

func newJWT(alg string) func(*Work, Serve) (*Server, error) {
	return func(w *Work, serve Serve) (*Server, error) {
		var signing, verifying any = jwtSecret, jwtSecret
		if alg == "ES256" {
			private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return nil, err
			}
			signing, verifying = private, &private.PublicKey
		}
		tokens, err := sign(w, jwt.GetSigningMethod(alg), signing)
		if err != nil {
			return nil, err
		}
		parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithExpirationRequired(), jwt.WithIssuer("https://auth.example.org"))
		type claimsKey struct{}
		next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _ := r.Context().Value(claimsKey{}).(*jwtClaims)
			if c == nil {
				w.WriteHeader(serve(""))
				return
			}
			w.WriteHeader(serve(c.Subject))
		})
		s := bearer(w, func(_ uint64, names []string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if !ok {
					refuse(w, http.StatusUnauthorized)
					return
				}
				claims := new(jwtClaims)
				if _, err := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return verifying, nil }); err != nil {
					refuse(w, http.StatusUnauthorized)
					return
				}
				if !hasScopes(claims.Scope, names) {
					refuse(w, http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
			})
		})
		s.Tokens, s.Unknown = tokens, forged(tokens)
		return s, nil
	}
}

func newJWTAuth(w *Work, serve Serve) (*Server, error) {
	tokens, err := sign(w, jwt.SigningMethodHS256, jwtSecret)
	if err != nil {
		return nil, err
	}
	auth := jwtauth.New("HS256", jwtSecret, nil)
	s := bearer(w, func(_ uint64, names []string) http.Handler {
		return jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, claims, _ := jwtauth.FromContext(r.Context())
			if scope, _ := claims["scope"].(string); !hasScopes(scope, names) {
				refuse(w, http.StatusForbidden)
				return
			}
			subject, _ := claims["sub"].(string)
			w.WriteHeader(serve(subject))
		})))
	})
	s.Tokens, s.Unknown = tokens, forged(tokens)
	return s, nil
}
