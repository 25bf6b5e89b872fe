package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/devicesv1"
	"github.com/apitoken-go/apitoken/examples/internal/devicesv1/devicesv1connect"
	"github.com/apitoken-go/apitoken/examples/internal/probe"
)

var want = map[int]connect.Code{400: connect.CodeInvalidArgument, 401: connect.CodeUnauthenticated, 403: connect.CodePermissionDenied, 503: connect.CodeUnavailable}

func serve(t *testing.T, accept ...apitoken.Source) (*probe.Rig, *httptest.Server) {
	rig := probe.New(t, &catalog, accept...)
	server := httptest.NewUnstartedServer(newHandler(rig.Auth))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return rig, server
}

func TestClientsOfEveryProtocolGetTheCodesOfTheirOwn(t *testing.T) {
	rig, server := serve(t)
	checkClients(t, rig, server, rig.Cases())
	rig, server = serve(t, probe.Sources...)
	checkClients(t, rig, server, rig.SourceCases())
}

func checkClients(t *testing.T, rig *probe.Rig, server *httptest.Server, cases []probe.Case) {
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(h2.CloseIdleConnections)
	in := &devicesv1.DeviceRequest{Id: "42"}
	for _, protocol := range []struct {
		name    string
		http    http.RoundTripper
		options []connect.ClientOption
	}{
		{"Connect", http.DefaultTransport, nil},
		{"Connect with JSON", http.DefaultTransport, []connect.ClientOption{connect.WithProtoJSON()}},
		{"Connect with GET", http.DefaultTransport, []connect.ClientOption{connect.WithHTTPGet()}},
		{"gRPC", h2, []connect.ClientOption{connect.WithGRPC()}},
		{"gRPC-Web", http.DefaultTransport, []connect.ClientOption{connect.WithGRPCWeb()}},
	} {
		for _, tt := range cases {
			t.Run(protocol.name+", "+tt.Name, func(t *testing.T) {
				rig.Fail(tt.Down)
				defer rig.Fail(false)
				client := devicesv1connect.NewDeviceServiceClient(&http.Client{Transport: sender{protocol.http, tt}}, server.URL, protocol.options...)
				check := func(device *devicesv1.Device, err error) {
					t.Helper()
					if tt.Status == 200 {
						require.NoError(t, err)
						assert.Equal(t, "ada", device.AskedBy)
						assert.Equal(t, "42", device.Id)
						return
					}
					assert.Equal(t, want[tt.Status], connect.CodeOf(err), "%v", err)
					var refused *connect.Error
					require.ErrorAs(t, err, &refused)
					assert.Equal(t, tt.Challenge, strings.Join(refused.Meta().Values("WWW-Authenticate"), " and "))
					assert.NotEqual(t, http.StatusText(tt.Status), refused.Message(), "what the problem document says")
					assert.NotContains(t, err.Error(), rig.Reader)
				}
				if tt.Write {
					check(message(client.Delete(t.Context(), connect.NewRequest(in))))
					return
				}
				check(message(client.Get(t.Context(), connect.NewRequest(in))))

				stream, err := client.Watch(t.Context(), connect.NewRequest(in))
				if err != nil {
					check(nil, err)
					return
				}
				defer stream.Close()
				var device *devicesv1.Device
				if stream.Receive() {
					device = stream.Msg()
					assert.False(t, stream.Receive(), "one message")
				}
				check(device, stream.Err())
			})
		}
	}
}

func message(resp *connect.Response[devicesv1.Device], err error) (*devicesv1.Device, error) {
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

// A sender adds to requests what a case says.
type sender struct {
	http.RoundTripper
	c probe.Case
}

func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if s.c.Authorization != nil {
		r.Header["Authorization"] = s.c.Authorization
	}
	for _, field := range s.c.Fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	if s.c.Query != "" {
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+s.c.Query, "&")
	}
	return s.RoundTripper.RoundTrip(r)
}

func TestGoogleSClientOfGRPCGetsTheCodesOfGRPC(t *testing.T) {
	rig, server := serve(t)
	conn, err := grpc.NewClient(server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	client := devicesv1.NewDeviceServiceClient(conn)
	get := func(authorization ...string) error {
		ctx := t.Context()
		for _, v := range authorization {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
		}
		_, err := client.Get(ctx, &devicesv1.DeviceRequest{Id: "42"})
		return err
	}
	assert.NoError(t, get("apiToken "+rig.Reader))
	assert.Equal(t, codes.Unauthenticated, status.Code(get()))
	assert.Equal(t, codes.Unauthenticated, status.Code(get("apiToken "+rig.Unknown)))
	assert.Equal(t, codes.InvalidArgument, status.Code(get("apiToken "+rig.Reader, "apiToken "+rig.Reader)))
	_, err = client.Delete(metadata.AppendToOutgoingContext(t.Context(), "authorization", "apiToken "+rig.Reader), &devicesv1.DeviceRequest{})
	assert.Equal(t, codes.PermissionDenied, status.Code(err))
	assert.Equal(t, "The API token does not have the permissions that this request requires.", status.Convert(err).Message())
	rig.Fail(true)
	assert.Equal(t, codes.Unavailable, status.Code(get("apiToken "+rig.Fresh)))
}

func TestARequestOfNoneOfTheProtocolsGetsTheAnswerOfApitoken(t *testing.T) {
	_, server := serve(t)
	resp, err := http.Post(server.URL+devicesv1connect.DeviceServiceGetProcedure, "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, 401, resp.StatusCode)
	assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	assert.Equal(t, `apiToken realm="api"`, resp.Header.Get("WWW-Authenticate"))
}

func TestConnectSOwnProtocolHasTheStatusesOfHTTP(t *testing.T) {
	rig, server := serve(t)
	for _, tt := range rig.Cases() {
		if tt.Query != "" || tt.Write || tt.Status == 200 {
			continue
		}
		rig.Fail(tt.Down)
		req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+devicesv1connect.DeviceServiceGetProcedure, strings.NewReader("{}"))
		require.NoError(t, err)
		req.Header = http.Header{"Content-Type": {"application/json"}}
		if tt.Authorization != nil {
			req.Header["Authorization"] = tt.Authorization
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, tt.Status, resp.StatusCode, tt.Name)
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		var body struct{ Code string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&body), tt.Name)
		assert.Equal(t, want[tt.Status].String(), body.Code, tt.Name)
		rig.Fail(false)
	}
}
