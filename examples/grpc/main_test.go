package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/apitoken-go/apitoken/examples/internal/devicesv1"
	"github.com/apitoken-go/apitoken/examples/internal/probe"
)

func TestCallsAreAnsweredAsRequestsAreEverywhere(t *testing.T) {
	rig := probe.New(t, &catalog)
	checkCalls(t, rig, rig.Cases())
	rig = probe.New(t, &catalog, probe.Sources...)
	checkCalls(t, rig, rig.SourceCases())
}

func checkCalls(t *testing.T, rig *probe.Rig, cases []probe.Case) {
	server, err := newServer(rig.Auth)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	client := devicesv1.NewDeviceServiceClient(conn)

	call := func(ctx context.Context, stream, write bool, trailer *metadata.MD) (*devicesv1.Device, error) {
		in := &devicesv1.DeviceRequest{Id: "42"}
		switch {
		case write:
			return client.Delete(ctx, in, grpc.Trailer(trailer))
		case !stream:
			return client.Get(ctx, in, grpc.Trailer(trailer))
		}
		s, err := client.Watch(ctx, in)
		if err != nil {
			return nil, err
		}
		device, err := s.Recv()
		if err == nil {
			_, end := s.Recv()
			assert.Equal(t, io.EOF, end)
		}
		*trailer = s.Trailer()
		return device, err
	}
	want := map[int]codes.Code{200: codes.OK, 400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 503: codes.Unavailable}
	for _, tt := range cases {
		if tt.Query != "" {
			continue // there is none
		}
		for _, stream := range []bool{false, true} {
			t.Run(tt.Name+map[bool]string{true: ", a stream", false: ""}[stream], func(t *testing.T) {
				rig.Fail(tt.Down)
				defer rig.Fail(false)
				ctx := t.Context()
				for _, v := range tt.Authorization {
					ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
				}
				for _, field := range tt.Fields {
					name, value, _ := strings.Cut(field, ": ")
					ctx = metadata.AppendToOutgoingContext(ctx, name, value)
				}
				var trailer metadata.MD
				device, err := call(ctx, stream, tt.Write, &trailer)
				if strings.ContainsFunc(strings.Join(tt.Authorization, ""), func(c rune) bool { return c < ' ' || c > '~' }) {
					// grpc-go does not send that.
					assert.Equal(t, codes.Internal, status.Code(err))
					return
				}
				assert.Equal(t, want[tt.Status], status.Code(err), "%v", err)
				if err != nil {
					assert.Equal(t, tt.Challenge, strings.Join(trailer["www-authenticate"], " and "))
					assert.NotContains(t, err.Error(), rig.Reader)
					return
				}
				assert.Equal(t, "ada", device.AskedBy)
				assert.Equal(t, "42", device.Id)
			})
		}
	}
}
