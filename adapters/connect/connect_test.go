package apitokenconnect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/apitoken-go/apitoken"
	apitokenconnect "github.com/apitoken-go/apitoken/adapters/connect"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

const procedure = "/devices.v1.DeviceService/Owner"

// The tests of examples/connect send every kind of request by every protocol.
// Here is what they do not see.

func serve(t *testing.T, auth *apitoken.Authority, options ...connect.HandlerOption) (url string, called *int) {
	called = new(int)
	owner := connect.NewUnaryHandler(procedure, func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		*called++
		tok, _ := apitoken.FromContext(ctx)
		return connect.NewResponse(wrapperspb.String(tok.Owner())), nil
	}, options...)
	mux := http.NewServeMux()
	mux.Handle(procedure, apitokenconnect.Guard(auth, apitoken.All(readDevices), options...)(owner))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, called
}

func call(t *testing.T, url, token string, options ...connect.ClientOption) (*connect.Response[wrapperspb.StringValue], error) {
	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](http.DefaultClient, url+procedure, options...)
	req := connect.NewRequest(new(emptypb.Empty))
	if token != "" {
		req.Header().Set("Authorization", "apiToken "+token)
	}
	return client.CallUnary(t.Context(), req)
}

func TestAHandlerIsNotCalledForARefusedRequest(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	url, called := serve(t, auth)
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}} {
		_, err := call(t, url, "", options...)
		assert.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err))
		_, err = call(t, url, apitokentest.Token(t, auth, writeDevices), options...)
		assert.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
		var refused *connect.Error
		require.True(t, errors.As(err, &refused))
		assert.Equal(t, "no-store", refused.Meta().Get("Cache-Control"))
		assert.Equal(t, "The API token does not have the permissions that this request requires.", refused.Message())
	}
	assert.Zero(t, *called)
	resp, err := call(t, url, apitokentest.Token(t, auth, readDevices))
	require.NoError(t, err)
	assert.Equal(t, apitokentest.Owner, resp.Msg.Value)
	assert.Equal(t, 1, *called)
}

func TestWhatIsSetForTokensInTheQueryReachesTheClient(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	url, _ := serve(t, auth, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	get := procedure + "?connect=v1&encoding=json&message=%7B%7D&apiToken=" + apitokentest.Token(t, auth, readDevices)
	resp, err := http.Get(url + get)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "private, no-store", resp.Header.Get("Cache-Control"))
}

func TestTheOptionsOfTheHandlerSayWhatIsOfConnect(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	url, _ := serve(t, auth, connect.WithRequireConnectProtocolHeader())
	resp, err := http.Get(url + procedure)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, 401, resp.StatusCode)
	assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
}

func TestABodyThatWasReplacedIsNotTheMessage(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(),
		RefusalBody: func(*http.Request, apitoken.Problem) (string, []byte) {
			return "application/json", []byte(`{"detail":"No"}`)
		}})
	require.NoError(t, err)
	url, _ := serve(t, auth)
	_, err = call(t, url, "")
	assert.EqualError(t, err, "unauthenticated: Unauthorized")
}

// As README.md says of the middleware of the root package.
func TestThePlainMiddlewareIsUnderstoodByItsStatus(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	server := httptest.NewServer(auth.Require(readDevices)(http.NotFoundHandler()))
	defer server.Close()
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}} {
		for token, code := range map[string]connect.Code{
			"": connect.CodeUnauthenticated, apitokentest.Token(t, auth): connect.CodePermissionDenied, "a b": connect.CodeInternal,
		} {
			_, err := call(t, server.URL, token, options...)
			assert.Equal(t, code, connect.CodeOf(err), "%v", err)
		}
	}
}

func TestAnotherLoginDecidesAboutCallsWithoutAToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	called := 0
	owner := connect.NewUnaryHandler(procedure, func(ctx context.Context, req *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		called++
		tok, found := apitoken.FromContext(ctx)
		return connect.NewResponse(wrapperspb.String(fmt.Sprint(tok.Owner(), found, ctx.Value(userKey{})))), nil
	})
	protocols := connect.NewErrorWriter()
	sessions := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch session := r.Header.Get("X-Session"); session {
			case "":
				protocols.Write(w, r, connect.NewError(connect.CodeFailedPrecondition, errors.New("sign in")))
			case "panic":
				panic(http.ErrAbortHandler)
			default:
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, session)))
			}
		})
	}
	server := httptest.NewServer(apitokenconnect.GuardOr(auth, apitoken.All(readDevices), sessions)(owner))
	defer server.Close()
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}} {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](http.DefaultClient, server.URL+procedure, options...)
		for _, row := range []struct {
			token, session string
			code           connect.Code // 0 for accepted
			answer         string
		}{
			{"", "", connect.CodeFailedPrecondition, ""},
			{"", "ada", 0, "falseada"},
			{"", "panic", connect.CodeUnavailable, ""},
			{apitokentest.Token(t, auth, readDevices), "ada", 0, "testertrue <nil>"},
			{apitokentest.Token(t, auth, writeDevices), "ada", connect.CodePermissionDenied, ""},
			{"x", "ada", connect.CodeUnauthenticated, ""},
			{"a b", "ada", connect.CodeInvalidArgument, ""},
		} {
			before := called
			req := connect.NewRequest(new(emptypb.Empty))
			req.Header().Set("X-Session", row.session)
			if row.token != "" {
				req.Header().Set("Authorization", "apiToken "+row.token)
			}
			resp, err := client.CallUnary(t.Context(), req)
			if row.code != 0 {
				assert.Equal(t, row.code, connect.CodeOf(err), row)
				assert.Equal(t, before, called, row)
				continue
			}
			require.NoError(t, err, row)
			assert.Equal(t, row.answer, resp.Msg.Value)
			assert.Equal(t, "Authorization", resp.Header().Get("Vary"))
		}
	}
	assert.Panics(t, func() { apitokenconnect.GuardOr(auth, apitoken.AnyToken(), nil) })
	assert.Panics(t, func() {
		apitokenconnect.GuardOr(auth, apitoken.AnyToken(), func(http.Handler) http.Handler { return nil })(owner)
	})
}

type userKey struct{}
