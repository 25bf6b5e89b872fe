package apitokenhuma_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/limittest"
)

func TestARequestCountsOnceBehindTwoGuardsAndOneOverTheLimitIsToldWhenToTryAgain(t *testing.T) {
	limittest.Check(t, &catalog, readDevices, func(auth *apitoken.Authority) limittest.Service {
		s := newService(auth)
		group := huma.NewGroup(s.api, "/v1")
		group.UseMiddleware(s.guard.Middleware(apitoken.AnyToken()))
		huma.Register(group, s.guard.Operation(get("/devices/{id}"), apitoken.All(readDevices)), s.device)
		other := func(huma.Context, func(huma.Context)) { s.called++ }
		huma.Register(s.api, s.guard.OperationOr(get("/other/{id}"), apitoken.All(readDevices), other), s.device)
		call := func(target string) limittest.Call {
			return func(token string, query bool) (int, http.Header, string) {
				w := httptest.NewRecorder()
				maps.Copy(w.Header(), limittest.Gateway())
				s.mux.ServeHTTP(w, limittest.Request(target, token, query))
				return w.Code, w.Header(), w.Body.String()
			}
		}
		return limittest.Service{Call: call("/v1/devices/1"), Or: call("/other/1"), Called: &s.called}
	})
}
