package apitokenconnect_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/apitoken-go/apitoken"
	apitokenconnect "github.com/apitoken-go/apitoken/adapters/connect"
	"github.com/apitoken-go/apitoken/internal/test/limittest"
)

func TestACallCountsOnceBehindTwoGuardsAndOneOverTheLimitIsResourceExhausted(t *testing.T) {
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}} {
		limittest.Check(t, &catalog, readDevices, func(auth *apitoken.Authority) limittest.Service {
			called := 0
			owner := connect.NewUnaryHandler(procedure, func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
				called++
				return connect.NewResponse(wrapperspb.String("")), nil
			})
			count := func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ })
			}
			guard := apitokenconnect.Guard(auth, apitoken.AnyToken())
			handler := func(h http.Handler) limittest.Call {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					maps.Copy(w.Header(), limittest.Gateway())
					h.ServeHTTP(w, r)
				}))
				t.Cleanup(server.Close)
				return func(token string, _ bool) (int, http.Header, string) {
					resp, err := call(t, server.URL, token, options...)
					if err == nil {
						return 200, resp.Header(), ""
					}
					var refused *connect.Error
					require.ErrorAs(t, err, &refused)
					require.Equal(t, connect.CodeResourceExhausted, refused.Code())
					return 429, refused.Meta(), refused.Message()
				}
			}
			return limittest.Service{
				Call:   handler(guard(apitokenconnect.Guard(auth, apitoken.All(readDevices))(owner))),
				Or:     handler(apitokenconnect.GuardOr(auth, apitoken.All(readDevices), count)(owner)),
				Called: &called, NoQuery: true, NoProblem: true,
			}
		})
	}
}
