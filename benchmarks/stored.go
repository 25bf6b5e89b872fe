package benchmarks

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"golang.org/x/crypto/bcrypt"
)

func newCasbin(w *Work, serve Serve) (*Server, error) {
	m, err := casbinModel()
	if err != nil {
		return nil, err
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	return casbinServer(w, serve, e)
}

func newCasbinCached(w *Work, serve Serve) (*Server, error) {
	m, err := casbinModel()
	if err != nil {
		return nil, err
	}
	e, err := casbin.NewCachedEnforcer(m)
	if err != nil {
		return nil, err
	}
	return casbinServer(w, serve, e)
}

func casbinModel() (model.Model, error) {
	return model.NewModelFromString(`
[request_definition]
r = sub, act
[policy_definition]
p = sub, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.act == p.act`)
}

type enforcer interface {
	AddPolicy(...any) (bool, error)
	Enforce(...any) (bool, error)
}

func casbinServer(w *Work, serve Serve, e enforcer) (*Server, error) {
	for _, name := range w.Granted() {
		if _, err := e.AddPolicy("member", name); err != nil {
			return nil, err
		}
	}
	// The first Enforce compiles the matcher, and must not run beside another: the
	// race detector sees it write.
	if _, err := e.Enforce("member", w.Permissions[0]); err != nil {
		return nil, err
	}
	all, next := w.accounts(), withAccount(serve)
	s := &Server{Tokens: w.tokens(), Unknown: w.unknown, Scheme: "apiToken"}
	s.Handlers = routes(w, func(_ uint64, names []string) http.Handler {
		f := &floor{all, 0}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a, refusal := f.check(r)
			if refusal != nil {
				refusal.write(w)
				return
			}
			for _, name := range names {
				if ok, err := e.Enforce("member", name); err != nil || !ok {
					forbidden.write(w)
					return
				}
			}
			next.ServeHTTP(w, r.WithContext(&accountContext{r.Context(), a}))
		})
	})
	return s, nil
}

func newFosite(w *Work, serve Serve) (*Server, error) {
	ctx := context.Background()
	config := &fosite.Config{
		GlobalSecret: jwtSecret, ScopeStrategy: fosite.ExactScopeStrategy,
		DisableRefreshTokenValidation: true,
	}
	memory, strategy := storage.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config)
	provider := compose.Compose(config, memory, &compose.CommonStrategy{CoreStrategy: strategy}, compose.OAuth2TokenIntrospectionFactory)
	mint := func(n int, keep bool) ([]string, error) {
		tokens := make([]string, n)
		for i := range tokens {
			token, signature, err := strategy.GenerateAccessToken(ctx, nil)
			if err != nil {
				return nil, err
			}
			tokens[i] = token
			if !keep {
				continue
			}
			err = memory.CreateAccessTokenSession(ctx, signature, &fosite.Request{
				ID: w.Users[i].Name, RequestedAt: time.Now(), Client: &fosite.DefaultClient{ID: "client"},
				GrantedScope: w.Granted(), Session: &fosite.DefaultSession{
					Subject: w.Users[i].Name, ExpiresAt: map[fosite.TokenType]time.Time{fosite.AccessToken: time.Now().Add(24 * time.Hour)},
				},
			})
			if err != nil {
				return nil, err
			}
		}
		return tokens, nil
	}
	tokens, err := mint(len(w.Users), true)
	if err != nil {
		return nil, err
	}
	type requestKey struct{}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, _ := r.Context().Value(requestKey{}).(fosite.AccessRequester)
		if a == nil {
			w.WriteHeader(serve(""))
			return
		}
		w.WriteHeader(serve(a.GetSession().GetSubject()))
	})
	s := bearer(w, func(_ uint64, names []string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, access, err := provider.IntrospectToken(r.Context(), fosite.AccessTokenFromRequest(r), fosite.AccessToken, new(fosite.DefaultSession), names...)
			switch {
			case errors.Is(err, fosite.ErrInvalidScope):
				refuse(w, http.StatusForbidden)
			case err != nil:
				refuse(w, http.StatusUnauthorized)
			default:
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, access)))
			}
		})
	})
	s.Tokens, s.Unknown = tokens, func() []string {
		tokens, err := mint(min(len(w.Users), Rotating), false)
		if err != nil {
			panic(err)
		}
		return tokens
	}
	return s, nil
}

func newOAuth2(w *Work, serve Serve) (*Server, error) {
	tokens, err := store.NewMemoryTokenStore()
	if err != nil {
		return nil, err
	}
	scope := strings.Join(w.Granted(), " ")
	for _, u := range w.Users {
		err := tokens.Create(context.Background(), &models.Token{
			Access: u.Token, AccessCreateAt: time.Now(), AccessExpiresIn: 24 * time.Hour,
			ClientID: "client", UserID: u.Name, Scope: scope,
		})
		if err != nil {
			return nil, err
		}
	}
	manager := manage.NewDefaultManager()
	manager.MapTokenStorage(tokens)
	srv := server.NewDefaultServer(manager)
	type userKey struct{}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := r.Context().Value(userKey{}).(string)
		w.WriteHeader(serve(user))
	})
	return bearer(w, func(_ uint64, names []string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, err := srv.ValidationBearerToken(r)
			if err != nil {
				refuse(w, http.StatusUnauthorized)
				return
			}
			if !hasScopes(info.GetScope(), names) {
				refuse(w, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, info.GetUserID())))
		})
	}), nil
}

func newSCS(w *Work, serve Serve) (*Server, error) {
	sessions := scs.New()
	sessions.HashTokenInStore = true
	scope := strings.Join(w.Granted(), " ")
	for _, u := range w.Users {
		deadline := time.Now().Add(24 * time.Hour)
		b, err := sessions.Codec.Encode(deadline, map[string]any{"user": u.Name, "scope": scope})
		if err != nil {
			return nil, err
		}
		if err := sessions.Store.Commit(scsKey(u.Token), b, deadline); err != nil {
			return nil, err
		}
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(serve(sessions.GetString(r.Context(), "user")))
	})
	return bearer(w, func(_ uint64, names []string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				refuse(w, http.StatusUnauthorized)
				return
			}
			ctx, err := sessions.Load(r.Context(), token)
			if err != nil || !sessions.Exists(ctx, "user") {
				refuse(w, http.StatusUnauthorized)
				return
			}
			if !hasScopes(sessions.GetString(ctx, "scope"), names) {
				refuse(w, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}), nil
}

// newBcrypt hashes tokens as if they were passwords. The map is keyed by what
// comes before the point.
func newBcrypt(w *Work, serve Serve) (*Server, error) {
	type user struct {
		account
		hash []byte
	}
	users, tokens := make(map[string]*user, len(w.Users)), make([]string, 4)
	for i, u := range w.Users {
		users[u.Name] = &user{account{u.Name, 1<<granted - 1, w.Granted()}, nil}
		if i < len(tokens) {
			hash, err := bcrypt.GenerateFromPassword([]byte(u.Token), w.PasswordCost)
			if err != nil {
				return nil, err
			}
			users[u.Name].hash, tokens[i] = hash, u.Name+"."+u.Token
		}
	}
	next := withAccount(serve)
	s := bearer(w, func(bits uint64, _ []string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			name, secret, _ := strings.Cut(text, ".")
			u := users[name]
			if !ok || u == nil || bcrypt.CompareHashAndPassword(u.hash, []byte(secret)) != nil {
				refuse(w, http.StatusUnauthorized)
				return
			}
			if u.permissions&bits != bits {
				refuse(w, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r.WithContext(&accountContext{r.Context(), &u.account}))
		})
	})
	s.Tokens, s.Unknown = tokens, func() []string {
		bad := make([]string, len(tokens))
		for i, t := range tokens {
			bad[i] = t[:len(t)-1] + "-" // the public part is right
		}
		return bad
	}
	return s, nil
}

// scsKey is under what scs keeps a session with HashTokenInStore.
func scsKey(token string) string {
	sum := sumOf(token)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
