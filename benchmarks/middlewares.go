package benchmarks

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/authn"
	"connectrpc.com/connect"
	mcp "github.com/modelcontextprotocol/go-sdk/auth"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// bearer is a Server of a library that takes the tokens of a Work as Bearer.
func bearer(w *Work, guard func(bits uint64, names []string) http.Handler) *Server {
	return &Server{Tokens: w.tokens(), Unknown: w.unknown, Scheme: "Bearer", Handlers: routes(w, guard)}
}

// refuse is what is added where a library leaves the answer to the application.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, http.StatusText(status), status)
}

func newConnect(w *Work, serve Serve) (*Server, error) {
	all := w.accounts()
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := authn.GetInfo(r.Context()).(*account)
		if !ok {
			w.WriteHeader(serve(""))
			return
		}
		w.WriteHeader(serve(a.name))
	})
	return bearer(w, func(bits uint64, _ []string) http.Handler {
		return authn.NewMiddleware(func(_ context.Context, r *http.Request) (any, error) {
			token, ok := authn.BearerToken(r)
			if !ok {
				return nil, authn.Errorf("no token")
			}
			a := all.find(token)
			switch {
			case a == nil:
				return nil, authn.Errorf("invalid token")
			case a.permissions&bits != bits:
				return nil, connect.NewError(connect.CodePermissionDenied, errors.New("missing permission"))
			}
			return a, nil
		}).Wrap(next)
	}), nil
}

func newMCP(w *Work, serve Serve) (*Server, error) {
	infos := make(map[[32]byte]*mcp.TokenInfo, len(w.Users))
	for sum, a := range w.accounts() {
		infos[sum] = &mcp.TokenInfo{UserID: a.name, Scopes: a.names, Expiration: time.Now().Add(24 * time.Hour)}
	}
	verify := func(_ context.Context, token string, _ *http.Request) (*mcp.TokenInfo, error) {
		if info := infos[sumOf(token)]; info != nil {
			return info, nil
		}
		return nil, mcp.ErrInvalidToken
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := mcp.TokenInfoFromContext(r.Context())
		if info == nil {
			w.WriteHeader(serve(""))
			return
		}
		w.WriteHeader(serve(info.UserID))
	})
	return bearer(w, func(_ uint64, names []string) http.Handler {
		return mcp.RequireBearerToken(verify, &mcp.RequireBearerTokenOptions{Scopes: names})(next)
	}), nil
}

// kubernetesUser is a user.Info with what the permission check needs.
type kubernetesUser struct {
	user.DefaultInfo
	account *account
}

func newKubernetes(w *Work, serve Serve) (*Server, error) {
	return kubernetes(w, serve, func(t authenticator.Token) authenticator.Token { return t }), nil
}

func newKubernetesCached(w *Work, serve Serve) (*Server, error) {
	s := kubernetes(w, serve, func(t authenticator.Token) authenticator.Token {
		return cache.New(t, false, 10*time.Minute, 0)
	})
	s.Cached = true
	return s, nil
}

func kubernetes(w *Work, serve Serve, wrap func(authenticator.Token) authenticator.Token) *Server {
	all := make(map[[32]byte]*kubernetesUser, len(w.Users))
	for sum, a := range w.accounts() {
		all[sum] = &kubernetesUser{user.DefaultInfo{Name: a.name, UID: a.name}, a}
	}
	auth := bearertoken.New(wrap(authenticator.TokenFunc(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		u := all[sumOf(token)]
		if u == nil {
			return nil, false, nil
		}
		return &authenticator.Response{User: u}, true, nil
	})))
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, ok := request.UserFrom(r.Context())
		if !ok {
			w.WriteHeader(serve(""))
			return
		}
		w.WriteHeader(serve(u.GetName()))
	})
	return bearer(w, func(bits uint64, _ []string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resp, ok, err := auth.AuthenticateRequest(r)
			if err != nil || !ok {
				refuse(w, http.StatusUnauthorized)
				return
			}
			if resp.User.(*kubernetesUser).account.permissions&bits != bits {
				refuse(w, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), resp.User)))
		})
	})
}
