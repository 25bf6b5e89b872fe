package apitokengrpc_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/apitoken-go/apitoken"
	apitokengrpc "github.com/apitoken-go/apitoken/adapters/grpc"
	"github.com/apitoken-go/apitoken/internal/test/limittest"
)

func TestACallOverTheLimitIsResourceExhaustedAndItsTrailerSaysWhenToTryAgain(t *testing.T) {
	limittest.Check(t, &catalog, readDevices, func(auth *apitoken.Authority) limittest.Service {
		s, _, client := start(t, apitokengrpc.New(auth, map[string]apitoken.Requirement{
			health.Health_Check_FullMethodName: apitoken.All(readDevices),
		}, health.Health_List_FullMethodName, health.Health_Watch_FullMethodName), true)
		called := 0
		return limittest.Service{
			Call: func(token string, _ bool) (int, http.Header, string) {
				var trailer metadata.MD
				_, err := client.Check(with(t, "apiToken "+token), new(health.HealthCheckRequest), grpc.Trailer(&trailer))
				called = len(s.calls)
				header := make(http.Header)
				for name, values := range trailer {
					header[http.CanonicalHeaderKey(name)] = values
				}
				if err == nil {
					return 200, header, ""
				}
				require.Equal(t, codes.ResourceExhausted, status.Code(err))
				return 429, header, status.Convert(err).Message()
			},
			Called: &called, NoFields: true, NoQuery: true, NoProblem: true,
		}
	})
}
