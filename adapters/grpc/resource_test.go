package apitokengrpc_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/apitoken-go/apitoken"
	apitokengrpc "github.com/apitoken-go/apitoken/adapters/grpc"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

// A message has methods as generated code has them.
type message struct{ id, room string }

func (m *message) GetId() string   { return m.id }
func (m *message) GetRoom() string { return m.room }

// field is a field of a message, "" of any other name.
func field(name string) func(*http.Request) string {
	switch name {
	case "id":
		return apitokengrpc.Message((*message).GetId)
	case "room":
		return apitokengrpc.Message((*message).GetRoom)
	}
	return apitokengrpc.Message(func(m message) string { return m.id }) // no message is one of these
}

func TestALimitedTokenGetsNothingElseFromAServiceOfGRPC(t *testing.T) {
	s := resourcetest.New(t, 1, 100, resourcetest.Framework{
		Param: func(name string) string { return name }, Value: field, Flat: true,
	})
	requirements := make(map[string]apitoken.Requirement)
	for _, r := range s.Routes {
		requirements["/devices/"+r.Name] = r.Guards[0]
	}
	guard := apitokengrpc.New(s.Auth, requirements)
	s.Check(t, func(c resourcetest.Call) (code int, body string) {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "apiToken "+c.Token))
		_, err := guard.Unary(ctx, &message{c.Device, c.Room}, &grpc.UnaryServerInfo{FullMethod: "/devices/" + c.Route.Name},
			func(ctx context.Context, req any) (any, error) {
				tok, _ := apitoken.FromContext(ctx)
				code, body = c.Route.Answer(tok, req.(*message).id)
				return nil, nil
			})
		switch status.Code(err) {
		case codes.PermissionDenied:
			return http.StatusForbidden, ""
		case codes.Internal:
			return http.StatusInternalServerError, ""
		}
		assert.NoError(t, err)
		return code, body
	})
}

type aStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s aStream) Context() context.Context     { return s.ctx }
func (s aStream) SetTrailer(_ metadata.MD)     {}
func (s aStream) SetHeader(metadata.MD) error  { return nil }
func (s aStream) SendHeader(metadata.MD) error { return nil }

func TestAStreamHasNoMessageWhenItBegins(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device := catalog.Resource("device", "Device")
	auth := apitokentest.New(t, &catalog)
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{
		"/devices/On":       apitoken.All(read).On(device, field("id")),
		"/devices/Filtered": apitoken.All(read).Filtered(device),
	})
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "apiToken "+apitokentest.Token(t, auth, read)))
	called := 0
	call := func(method string) error {
		return guard.Stream(nil, aStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method}, func(_ any, stream grpc.ServerStream) error {
			called++
			tok, _ := apitoken.FromContext(stream.Context())
			_, err := auth.Recheck(stream.Context(), tok, apitoken.All(read).On(device, apitoken.ID("7")))
			return err
		})
	}
	assert.Equal(t, codes.Internal, status.Code(call("/devices/On")))
	assert.Zero(t, called)
	assert.NoError(t, call("/devices/Filtered"))
	assert.Equal(t, 1, called)
}
