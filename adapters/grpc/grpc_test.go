package apitokengrpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/apitoken-go/apitoken"
	apitokengrpc "github.com/apitoken-go/apitoken/adapters/grpc"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

// A spy is a service of three methods, that remembers whose calls reached it.
type spy struct {
	health.UnimplementedHealthServer
	calls []string
	users []any // of another login
}

func (s *spy) called(ctx context.Context, method string) {
	tok, ok := apitoken.FromContext(ctx)
	s.users = append(s.users, ctx.Value(userKey{}))
	s.calls = append(s.calls, fmt.Sprintf("%s by %q %t", method, tok.Owner(), ok))
}

func (s *spy) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	s.called(ctx, "Check")
	return new(health.HealthCheckResponse), nil
}

func (s *spy) List(ctx context.Context, _ *health.HealthListRequest) (*health.HealthListResponse, error) {
	s.called(ctx, "List")
	return new(health.HealthListResponse), nil
}

func (s *spy) Watch(_ *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	s.called(stream.Context(), "Watch")
	return nil
}

// start serves a spy on loopback, or on a listener in memory.
func start(t *testing.T, guard *apitokengrpc.Guard, inMemory bool) (*spy, *grpc.Server, health.HealthClient) {
	server := grpc.NewServer(grpc.UnaryInterceptor(guard.Unary), grpc.StreamInterceptor(guard.Stream))
	s := new(spy)
	health.RegisterHealthServer(server, s)
	var l net.Listener = bufconn.Listen(1 << 16)
	target := "passthrough:memory"
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return l.(*bufconn.Listener).DialContext(ctx) }
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial)}
	if !inMemory {
		var err error
		l, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		target, options = l.Addr().String(), options[:1]
	}
	go server.Serve(l)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(target, options...)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return s, server, health.NewHealthClient(conn)
}

func with(t *testing.T, values ...string) context.Context {
	ctx := t.Context()
	for _, v := range values {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
	}
	return ctx
}

func watch(ctx context.Context, client health.HealthClient) (metadata.MD, error) {
	stream, err := client.Watch(ctx, new(health.HealthCheckRequest))
	if err == nil {
		_, err = stream.Recv()
	}
	return stream.Trailer(), err
}

func TestOnlyCallsWithWhatTheirMethodNeedsReachIt(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{
		health.Health_Check_FullMethodName: apitoken.All(readDevices),
		health.Health_Watch_FullMethodName: apitoken.All(writeDevices),
	}, health.Health_List_FullMethodName)
	s, _, client := start(t, guard, false)
	reader, writer := "apiToken "+apitokentest.Token(t, auth, readDevices), "apiToken "+apitokentest.Token(t, auth, writeDevices)

	check := func(values ...string) (code codes.Code, challenge string) {
		var trailer metadata.MD
		_, err := client.Check(with(t, values...), new(health.HealthCheckRequest), grpc.Trailer(&trailer))
		code = status.Code(err)
		_, err = client.Check(with(t, values...), new(health.HealthCheckRequest))
		assert.Equal(t, code, status.Code(err), "twice the same")
		return code, fmt.Sprint(trailer["www-authenticate"])
	}
	for _, tt := range []struct {
		values    []string
		code      codes.Code
		challenge string
	}{
		{nil, codes.Unauthenticated, `[apiToken realm="api"]`},
		{[]string{"Bearer x"}, codes.Unauthenticated, `[apiToken realm="api"]`},
		{[]string{"apiToken x"}, codes.Unauthenticated, `[apiToken realm="api", error="invalid_token"]`},
		{[]string{writer}, codes.PermissionDenied, `[apiToken realm="api", error="insufficient_scope", scope="devices:read"]`},
		{[]string{reader, reader}, codes.InvalidArgument, `[apiToken realm="api", error="invalid_request"]`},
		{[]string{reader, "Bearer x"}, codes.InvalidArgument, `[apiToken realm="api", error="invalid_request"]`},
	} {
		code, challenge := check(tt.values...)
		assert.Equal(t, tt.code, code, tt.values)
		assert.Equal(t, tt.challenge, challenge, tt.values)
	}
	trailer, err := watch(with(t, reader), client)
	assert.Equal(t, codes.PermissionDenied, status.Code(err))
	assert.Equal(t, []string{`apiToken realm="api", error="insufficient_scope", scope="devices:write"`}, trailer["www-authenticate"])
	assert.Empty(t, s.calls)

	check(reader)
	watch(with(t, writer), client)
	_, err = client.List(with(t, "apiToken x"), new(health.HealthListRequest))
	assert.NoError(t, err, "open")
	assert.Equal(t, []string{`Check by "tester" true`, `Check by "tester" true`, `Watch by "tester" true`, `List by "" false`}, s.calls)
}

func TestAMethodThatWasForgottenIsRefusedAndFoundAtTheStart(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{
		health.Health_Check_FullMethodName: apitoken.AnyToken(),
		"/grpc.health.v1.Health/Chekc":     apitoken.AnyToken(),
	}, "/nowhere/Open")
	s, server, client := start(t, guard, false)
	token := "apiToken " + apitokentest.Token(t, auth, readDevices, writeDevices)
	_, err := client.List(with(t, token), new(health.HealthListRequest))
	assert.Equal(t, codes.PermissionDenied, status.Code(err))
	_, err = watch(with(t, token), client)
	assert.Equal(t, codes.PermissionDenied, status.Code(err))
	assert.Empty(t, s.calls)
	assert.EqualError(t, guard.Check(server), "apitokengrpc: /grpc.health.v1.Health/List has no requirement and is not open\n"+
		"apitokengrpc: /grpc.health.v1.Health/Watch has no requirement and is not open\n"+
		"apitokengrpc: the server has no /grpc.health.v1.Health/Chekc\n"+
		"apitokengrpc: the server has no /nowhere/Open")

	all := apitokengrpc.New(auth, map[string]apitoken.Requirement{
		health.Health_Check_FullMethodName: apitoken.AnyToken(), health.Health_Watch_FullMethodName: apitoken.AnyToken(),
	}, health.Health_List_FullMethodName)
	assert.NoError(t, all.Check(server))
}

func TestWhatCannotBeMeantPanics(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	assert.Panics(t, func() { apitokengrpc.New(auth, map[string]apitoken.Requirement{"/a/B": {}}) })
	assert.Panics(t, func() { apitokengrpc.New(auth, map[string]apitoken.Requirement{"/a/B": apitoken.AnyToken()}, "/a/B") })
}

func TestTheFunctionsOfConfigGetTheCallAsARequest(t *testing.T) {
	var seen *http.Request
	var events []apitoken.Event
	broken := false
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(),
		Environment: func(r *http.Request) (string, error) {
			seen = r
			if broken {
				return "", errors.New("broken")
			}
			return r.Header.Get("X-Tenant"), nil
		},
		Observe: func(_ context.Context, ev apitoken.Event) { events = append(events, ev) },
	})
	require.NoError(t, err)
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{health.Health_Check_FullMethodName: apitoken.AnyToken()})
	_, _, client := start(t, guard, false)
	ctx := with(t, "apiToken "+apitokentest.TokenOf(t, auth, "ada", "acme", readDevices))
	call := func(tenant string) codes.Code {
		_, err := client.Check(metadata.AppendToOutgoingContext(ctx, "x-tenant", tenant), new(health.HealthCheckRequest))
		return status.Code(err)
	}
	events = nil
	assert.Equal(t, codes.OK, call("acme"))
	assert.Regexp(t, `^127\.0\.0\.1:\d+$`, seen.Host)
	assert.Regexp(t, `^127\.0\.0\.1:\d+$`, seen.RemoteAddr)
	require.Len(t, events, 1)
	assert.Equal(t, health.Health_Check_FullMethodName, events[0].Pattern)
	assert.Equal(t, apitoken.Scheme("apiToken"), events[0].Source)
	assert.Equal(t, codes.Unauthenticated, call("other"))
	broken = true
	assert.Equal(t, codes.Unavailable, call("acme"))
}

func TestATokenThatIsBoundToNetworksNeedsAPeerWithAnAddress(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	ada := auth.As(apitoken.Actor{User: "ada", Environment: "e", Grants: catalog.All()})
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{health.Health_Check_FullMethodName: apitoken.AnyToken()})
	_, _, loopback := start(t, guard, false)
	_, _, memory := start(t, guard, true)
	for network, want := range map[string]codes.Code{"127.0.0.0/8": codes.OK, "192.0.2.0/24": codes.Unauthenticated} {
		_, secret, err := ada.Generate(t.Context(), apitoken.GenerateParams{Name: "n", Permissions: catalog.All(),
			Expiry: apitoken.Never(), Networks: []netip.Prefix{netip.MustParsePrefix(network)}})
		require.NoError(t, err)
		ctx := metadata.AppendToOutgoingContext(with(t, "apiToken "+secret.Reveal()), "x-forwarded-for", "127.0.0.1")
		_, err = loopback.Check(ctx, new(health.HealthCheckRequest))
		assert.Equal(t, want, status.Code(err), network)
		_, err = memory.Check(ctx, new(health.HealthCheckRequest))
		assert.Equal(t, codes.Unauthenticated, status.Code(err), "a peer in memory has no address")
	}
}

func TestABodyThatWasReplacedIsNotTheMessage(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(),
		RefusalBody: func(*http.Request, apitoken.Problem) (string, []byte) { return "text/html", []byte("<h1>No</h1>") }})
	require.NoError(t, err)
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{health.Health_Check_FullMethodName: apitoken.AnyToken()})
	_, _, client := start(t, guard, true)
	_, err = client.Check(t.Context(), new(health.HealthCheckRequest))
	assert.Equal(t, "Unauthorized", status.Convert(err).Message())
}

type userKey struct{}

func TestAnotherLoginDecidesAboutCallsWithoutAToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	requirements := map[string]apitoken.Requirement{
		health.Health_Check_FullMethodName: apitoken.All(readDevices),
		health.Health_Watch_FullMethodName: apitoken.All(readDevices),
		health.Health_List_FullMethodName:  apitoken.All(readDevices),
	}
	var methods []string
	login := func(ctx context.Context, method string) (context.Context, error) {
		methods = append(methods, method)
		md, _ := metadata.FromIncomingContext(ctx)
		if md["session"] == nil {
			return nil, status.Error(codes.FailedPrecondition, "sign in")
		}
		return context.WithValue(ctx, userKey{}, md["session"][0]), nil
	}
	guard := apitokengrpc.New(auth, requirements).Or(login, health.Health_Check_FullMethodName, health.Health_Watch_FullMethodName)
	s, server, client := start(t, guard, false)
	require.NoError(t, guard.Check(server))
	reader := "apiToken " + apitokentest.Token(t, auth, readDevices)
	writer := "apiToken " + apitokentest.Token(t, auth, writeDevices)
	session := func(values ...string) context.Context {
		return metadata.AppendToOutgoingContext(with(t, values...), "session", "ada")
	}
	for _, row := range []struct {
		ctx  context.Context
		code codes.Code
	}{
		{with(t), codes.FailedPrecondition},
		{session("apiToken x"), codes.Unauthenticated},
		{session("apiToken a b"), codes.InvalidArgument},
		{session(reader, reader), codes.InvalidArgument},
		{session(writer), codes.PermissionDenied},
	} {
		_, err := client.Check(row.ctx, new(health.HealthCheckRequest))
		assert.Equal(t, row.code, status.Code(err))
		_, err = watch(row.ctx, client)
		assert.Equal(t, row.code, status.Code(err))
	}
	_, err := client.List(session(), new(health.HealthListRequest))
	assert.Equal(t, codes.Unauthenticated, status.Code(err), "which has no other login")
	assert.Empty(t, s.calls)
	assert.Equal(t, []string{health.Health_Check_FullMethodName, health.Health_Watch_FullMethodName}, methods, "asked only about calls without a token")

	_, err = client.Check(session(), new(health.HealthCheckRequest))
	assert.NoError(t, err)
	watch(session(), client)
	_, err = client.Check(session(reader), new(health.HealthCheckRequest))
	assert.NoError(t, err)
	assert.Equal(t, []string{`Check by "" false`, `Watch by "" false`, `Check by "tester" true`}, s.calls)
	assert.Equal(t, []any{"ada", "ada", nil}, s.users)

	assert.Panics(t, func() { guard.Or(nil, health.Health_Check_FullMethodName) })
	assert.Panics(t, func() { guard.Or(login) })
	assert.Panics(t, func() { guard.Or(login, "/a/B") })
}

func TestTheTrailerHasTheChallengeOfEachScheme(t *testing.T) {
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(),
		Accept: []apitoken.Source{apitoken.Bearer(), apitoken.BasicPassword()}})
	require.NoError(t, err)
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{health.Health_Check_FullMethodName: apitoken.AnyToken()})
	_, _, client := start(t, guard, false)
	var trailer metadata.MD
	_, err = client.Check(t.Context(), new(health.HealthCheckRequest), grpc.Trailer(&trailer))
	assert.Equal(t, codes.Unauthenticated, status.Code(err))
	assert.Equal(t, []string{`Bearer realm="api"`, `Basic realm="api"`}, trailer["www-authenticate"])
}
