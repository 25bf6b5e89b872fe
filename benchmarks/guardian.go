package benchmarks

import (
	"context"
	"net/http"
	"time"

	"github.com/shaj13/go-guardian/v2/auth"
	"github.com/shaj13/go-guardian/v2/auth/strategies/token"
	"github.com/shaj13/libcache"
	_ "github.com/shaj13/libcache/lru"
)

// guardianInfo is an auth.Info with what the permission check needs.
type guardianInfo struct {
	auth.DefaultUser
	account *account
}

func newGuardianStatic(w *Work, serve Serve) (*Server, error) {
	return guardian(w, serve, token.NewStatic(guardianInfos(w))), nil
}

func newGuardianCached(w *Work, serve Serve) (*Server, error) {
	all := make(map[[32]byte]auth.Info, len(w.Users))
	for t, info := range guardianInfos(w) {
		all[sumOf(t)] = info
	}
	cache := libcache.LRU.New(len(w.Users) + 1)
	cache.SetTTL(time.Hour)
	s := guardian(w, serve, token.New(func(_ context.Context, _ *http.Request, t string) (auth.Info, time.Time, error) {
		info, ok := all[sumOf(t)]
		if !ok {
			return nil, time.Time{}, token.ErrTokenNotFound
		}
		return info, time.Now().Add(time.Hour), nil
	}, cache))
	s.Cached = true
	return s, nil
}

func guardianInfos(w *Work) map[string]auth.Info {
	infos := make(map[string]auth.Info, len(w.Users))
	accounts := w.accounts()
	for _, u := range w.Users {
		info := &guardianInfo{account: accounts.find(u.Token)}
		info.SetUserName(u.Name)
		info.SetID(u.Name)
		infos[u.Token] = info
	}
	return infos
}

func guardian(w *Work, serve Serve, strategy auth.Strategy) *Server {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := auth.User(r)
		if info == nil {
			w.WriteHeader(serve(""))
			return
		}
		w.WriteHeader(serve(info.GetUserName()))
	})
	return bearer(w, func(bits uint64, _ []string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, err := strategy.Authenticate(r.Context(), r)
			if err != nil {
				refuse(w, http.StatusUnauthorized)
				return
			}
			if info.(*guardianInfo).account.permissions&bits != bits {
				refuse(w, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, auth.RequestWithUser(info, r))
		})
	})
}
