package apitokenconnect_test

import (
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestACallOverTheLimitIsResourceExhaustedAndSaysWhenToTryAgain(t *testing.T) {
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}} {
		auth, err := apitoken.New(apitoken.Config{
			Prefix: "test", Permissions: &catalog, Store: memory.New(),
			Limits: apitoken.Limits{Token: apitoken.Limit{Requests: 1, Per: 24 * time.Hour}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { auth.Close() })
		url, called := serve(t, auth)
		token := apitokentest.Token(t, auth, readDevices)
		resp, err := call(t, url, token, options...)
		require.NoError(t, err)
		assert.Equal(t, `"token";r=0;t=86400`, resp.Header().Get("RateLimit"))
		_, err = call(t, url, token, options...)
		assert.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err))
		assert.Equal(t, 1, *called)
		var refused *connect.Error
		require.True(t, errors.As(err, &refused))
		assert.NotEmpty(t, refused.Meta().Get("Retry-After"))
		assert.Equal(t, `"token";q=1;w=86400`, refused.Meta().Get("RateLimit-Policy"))
	}
}
