package benchmarks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
)

func newBare(w *Work, serve Serve) (*Server, error) {
	return &Server{
		Tokens: w.tokens(), Unknown: w.unknown, Scheme: "apiToken",
		Handlers: routes(w, func(uint64, []string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(serve("nobody"))
			})
		}),
	}, nil
}

// A floor is the least that authenticates: no feature may be taken from it
// without it becoming wrong. It says what cannot be saved.
type floor struct {
	accounts
	required uint64
}

const floorScheme = "apitoken "

// check returns the account of a request, or what to answer.
func (f *floor) check(r *http.Request) (*account, *prepared) {
	values := r.Header["Authorization"]
	if len(values) != 1 || !hasScheme(values[0]) {
		return nil, unauthorized
	}
	a := f.find(values[0][len(floorScheme):])
	switch {
	case a == nil:
		return nil, unauthorized
	case a.permissions&f.required != f.required:
		return nil, forbidden
	}
	return a, nil
}

// hasScheme compares without regard to case, for ASCII only.
func hasScheme(value string) bool {
	if len(value) < len(floorScheme) {
		return false
	}
	for i := range len(floorScheme) {
		c := value[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != floorScheme[i] {
			return false
		}
	}
	return true
}

// prepared is an answer that costs nothing to make.
type prepared struct {
	status    int
	challenge []string
	body      []byte
}

var (
	unauthorized = &prepared{http.StatusUnauthorized, []string{"apiToken"}, []byte("401 Unauthorized\n")}
	forbidden    = &prepared{http.StatusForbidden, []string{`apiToken error="insufficient_scope"`}, []byte("403 Forbidden\n")}
	plain        = []string{"text/plain; charset=utf-8"}
)

func (p *prepared) write(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"], h["Www-Authenticate"] = plain, p.challenge
	w.WriteHeader(p.status)
	w.Write(p.body)
}

// An accountContext carries an account in one allocation.
type accountContext struct {
	context.Context
	account *account
}

type accountKey struct{}

func (c *accountContext) Value(key any) any {
	if key == (accountKey{}) {
		return c.account
	}
	return c.Context.Value(key)
}

// withAccount returns a handler that finds the account in the context.
func withAccount(serve Serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, _ := r.Context().Value(accountKey{}).(*account)
		if a == nil {
			w.WriteHeader(serve(""))
			return
		}
		w.WriteHeader(serve(a.name))
	})
}

func newFloor(w *Work, serve Serve) (*Server, error) {
	all, next := w.accounts(), withAccount(serve)
	return &Server{
		Tokens: w.tokens(), Unknown: w.unknown, Scheme: "apiToken",
		Handlers: routes(w, func(bits uint64, _ []string) http.Handler {
			f := &floor{all, bits}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a, refusal := f.check(r)
				if refusal != nil {
					refusal.write(w)
					return
				}
				next.ServeHTTP(w, r.WithContext(&accountContext{r.Context(), a}))
			})
		}),
	}, nil
}

func newFloorTyped(w *Work, serve Serve) (*Server, error) {
	all := w.accounts()
	next := func(w http.ResponseWriter, r *http.Request, a *account) { w.WriteHeader(serve(a.name)) }
	return &Server{
		Tokens: w.tokens(), Unknown: w.unknown, Scheme: "apiToken",
		Handlers: routes(w, func(bits uint64, _ []string) http.Handler {
			f := &floor{all, bits}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a, refusal := f.check(r)
				if refusal != nil {
					refusal.write(w)
					return
				}
				next(w, r, a)
			})
		}),
	}, nil
}

// newTypical is what services have that were written without measuring.
func newTypical(w *Work, serve Serve) (*Server, error) {
	var mu sync.RWMutex
	all := make(map[string]account)
	for _, u := range w.Users {
		sum := sha256.Sum256([]byte(u.Token))
		all[hex.EncodeToString(sum[:])] = account{name: u.Name, names: w.Granted()}
	}
	type contextKey string
	const key = contextKey("account")
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, _ := r.Context().Value(key).(account)
		w.WriteHeader(serve(a.name))
	})
	return &Server{
		Tokens: w.tokens(), Unknown: w.unknown, Scheme: "Bearer",
		Handlers: routes(w, func(_ uint64, names []string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if !ok {
					http.Error(w, "unauthorized", http.StatusUnauthorized)
					return
				}
				sum := sha256.Sum256([]byte(token))
				mu.RLock()
				a, ok := all[hex.EncodeToString(sum[:])]
				mu.RUnlock()
				if !ok {
					http.Error(w, "unauthorized", http.StatusUnauthorized)
					return
				}
				for _, name := range names {
					if !slices.Contains(a.names, name) {
						http.Error(w, "forbidden", http.StatusForbidden)
						return
					}
				}
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key, a)))
			})
		}),
	}, nil
}
