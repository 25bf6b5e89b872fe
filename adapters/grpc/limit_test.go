package apitokengrpc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/apitoken-go/apitoken"
	apitokengrpc "github.com/apitoken-go/apitoken/adapters/grpc"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestACallOverTheLimitIsResourceExhaustedAndSaysWhenToTryAgain(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "test", Permissions: &catalog, Store: memory.New(),
		Limits: apitoken.Limits{Token: apitoken.Limit{Requests: 1, Per: 24 * time.Hour}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	s, _, client := start(t, apitokengrpc.New(auth, map[string]apitoken.Requirement{
		health.Health_Check_FullMethodName: apitoken.All(readDevices),
	}, health.Health_List_FullMethodName, health.Health_Watch_FullMethodName), true)
	ctx := with(t, "apiToken "+apitokentest.Token(t, auth, readDevices))
	_, err = client.Check(ctx, new(health.HealthCheckRequest))
	require.NoError(t, err)
	var trailer metadata.MD
	_, err = client.Check(ctx, new(health.HealthCheckRequest), grpc.Trailer(&trailer))
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	assert.Len(t, s.calls, 1)
	assert.Len(t, trailer["retry-after"], 1)
	assert.Equal(t, []string{`"token";q=1;w=86400`}, trailer["ratelimit-policy"])
	assert.Empty(t, trailer["www-authenticate"])
}
