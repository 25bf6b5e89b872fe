package limittest_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/limittest"
)

func TestARequestCountsOnceBehindTwoGuardsAndOneOverTheLimitIsToldWhenToTryAgain(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	limittest.Check(t, &catalog, read, func(auth *apitoken.Authority) limittest.Service {
		called := 0
		device := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ })
		call := func(h http.Handler) limittest.Call {
			return func(token string, query bool) (int, http.Header, string) {
				w := httptest.NewRecorder()
				maps.Copy(w.Header(), limittest.Gateway())
				h.ServeHTTP(w, limittest.Request("/", token, query))
				return w.Code, w.Header(), w.Body.String()
			}
		}
		return limittest.Service{
			Call:   call(auth.Guard(apitoken.AnyToken())(auth.Require(read)(device))),
			Or:     call(auth.GuardOr(apitoken.All(read), func(http.Handler) http.Handler { return device })(device)),
			Called: &called,
		}
	})
}
