package benchmarks

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func newLibrary(w *Work, serve Serve) (*Server, error) {
	return newLibraryOver(w, memory.New(), 0, serve)
}

func newLibraryTyped(w *Work, serve Serve) (*Server, error) {
	next := func(w http.ResponseWriter, r *http.Request, tok apitoken.Token) { w.WriteHeader(serve(tok.Owner())) }
	return libraryServer(w, memory.New(), 0, func(a *apitoken.Authority, p, q apitoken.Permission) http.Handler {
		return a.Handler(next, p, q)
	})
}

// newLibraryOver is the library over an empty store, which gets the tokens of w.
func newLibraryOver(w *Work, store apitoken.Store, maxStaleness time.Duration, serve Serve) (*Server, error) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		w.WriteHeader(serve(tok.Owner()))
	})
	return libraryServer(w, store, maxStaleness, func(a *apitoken.Authority, p, q apitoken.Permission) http.Handler {
		return a.Require(p, q)(next)
	})
}

// libraryServer sets the library up as the documentation says, and generates the
// tokens as their owners would.
func libraryServer(w *Work, store apitoken.Store, maxStaleness time.Duration, guard func(*apitoken.Authority, apitoken.Permission, apitoken.Permission) http.Handler) (*Server, error) {
	a, perms, err := newAuthority(w, store, maxStaleness, 0)
	if err != nil {
		return nil, err
	}
	s := &Server{Scheme: "apiToken", Cached: maxStaleness != apitoken.NoCache, Close: a.Close, store: store}
	s.Tokens, err = generate(a, w, len(w.Users), perms)
	if err != nil {
		return nil, err
	}
	s.Unknown = func() []string {
		other, perms, err := newAuthority(w, memory.New(), 0, 0)
		if err != nil {
			panic(err)
		}
		tokens, err := generate(other, w, min(len(w.Users), Rotating), perms)
		if err := errors.Join(err, other.Close()); err != nil {
			panic(err)
		}
		return tokens
	}
	for _, r := range []Route{Allowed, Forbidden} {
		s.Handlers[r] = guard(a, perms[w.Required[r][0]], perms[w.Required[r][1]])
	}
	return s, nil
}

// newAuthority makes an Authority with the defaults, 0 standing for them.
func newAuthority(w *Work, store apitoken.Store, maxStaleness time.Duration, entries int) (*apitoken.Authority, []apitoken.Permission, error) {
	catalog := new(apitoken.Catalog)
	var perms []apitoken.Permission
	for _, name := range w.Permissions {
		perms = append(perms, catalog.Define(name, "What "+name+" allows"))
	}
	a, err := apitoken.New(apitoken.Config{
		Prefix:       "acme",
		Permissions:  catalog,
		Store:        store,
		MaxStaleness: maxStaleness,
		CacheEntries: entries,
		StoreTimeout: time.Minute, // at the end 10,000 uses are written, perhaps on a busy machine
		Observe:      func(context.Context, apitoken.Event) {},
	})
	return a, perms, err
}

// generate makes tokens for the first n users.
func generate(a *apitoken.Authority, w *Work, n int, perms []apitoken.Permission) ([]string, error) {
	tokens := make([]string, n)
	for i, u := range w.Users[:n] {
		m := a.As(apitoken.Actor{User: u.Name, Environment: apitoken.DefaultEnvironment, Grants: perms})
		_, secret, err := m.Generate(context.Background(), apitoken.GenerateParams{
			Name: "benchmark", Permissions: perms[:granted], Expiry: apitoken.In(90 * 24 * time.Hour),
		})
		if err != nil {
			return nil, err
		}
		tokens[i] = secret.Reveal()
	}
	return tokens, nil
}
