// Package apitokengrpc guards the methods of a [google.golang.org/grpc] server.
//
//	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{
//		devicesv1.DeviceService_Get_FullMethodName: apitoken.All(readDevices),
//	})
//	server := grpc.NewServer(grpc.UnaryInterceptor(guard.Unary), grpc.StreamInterceptor(guard.Stream))
//	devicesv1.RegisterDeviceServiceServer(server, devices{})
//	err := guard.Check(server)
//
// examples/grpc in the repository is a complete program.
package apitokengrpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/httpbridge"
)

// A Guard decides about calls. Clients send the token as metadata "authorization: apiToken
// <token>", and handlers find it with [apitoken.FromContext].
//
// The Guard checks a call as the HTTP/2 request that it is. So schemes, repeated metadata,
// and the functions of [apitoken.Config] that take a request mean the same as for HTTP: the
// Host is the call's authority, the header is the metadata, RemoteAddr is the peer, and
// Pattern is the full name of the method.
//
// A call without a valid token gets Unauthenticated, and a call whose token lacks a permission gets
// PermissionDenied. A call with malformed metadata gets InvalidArgument, and a call that cannot be
// checked now gets Unavailable. The trailer has the challenge, as www-authenticate. A call gets
// Internal if its route does not know which object it is about, see [Message].
//
// The Guard checks a stream when it begins. [apitoken.Authority.Recheck] checks it again.
type Guard struct {
	auth         *apitoken.Authority
	requirements map[string]apitoken.Requirement
	guards       map[string]func(http.Handler) http.Handler
	others       map[string]func(context.Context, string) (context.Context, error)
	open         map[string]bool
}

// New returns a Guard for methods by their full names, "/package.Service/Method". Methods
// in open need no token. Calls of all other methods are refused. New panics on a
// requirement that no token can meet, and on a method that is in both.
func New(auth *apitoken.Authority, requirements map[string]apitoken.Requirement, open ...string) *Guard {
	g := &Guard{
		auth: auth, requirements: maps.Clone(requirements), guards: make(map[string]func(http.Handler) http.Handler),
		others: make(map[string]func(context.Context, string) (context.Context, error)), open: make(map[string]bool),
	}
	for method, requirement := range requirements {
		g.guards[method] = auth.Guard(requirement)
	}
	for _, method := range open {
		if g.guards[method] != nil {
			panic("apitokengrpc: " + method + " is open and has a requirement")
		}
		g.open[method] = true
	}
	return g
}

// Or lets another login, such as a session or a JWT, decide about calls of these methods
// without a token, see [apitoken.Authority.GuardOr]. other gets the full name of the
// method, and returns the context for the call, or its error. Or panics on a method without
// a requirement.
func (g *Guard) Or(other func(ctx context.Context, method string) (context.Context, error), methods ...string) *Guard {
	if other == nil || len(methods) == 0 {
		panic("apitokengrpc: Or without another login or without methods")
	}
	for _, method := range methods {
		if g.guards[method] == nil {
			panic("apitokengrpc: " + method + " has no requirement, to which another login could be an alternative")
		}
		g.guards[method], g.others[method] = httpbridge.GuardOr(g.auth, g.requirements[method]), other
	}
	return g
}

// Check reports methods of a server that the Guard would refuse because it does not know
// them, and methods of the Guard that the server does not have. Call it after all services
// are registered.
func (g *Guard) Check(server interface {
	GetServiceInfo() map[string]grpc.ServiceInfo
}) error {
	served := make(map[string]bool)
	var mistakes []error
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			served[method] = true
			if g.guards[method] == nil && !g.open[method] {
				mistakes = append(mistakes, fmt.Errorf("apitokengrpc: %s has no requirement and is not open", method))
			}
		}
	}
	for _, method := range append(slices.Collect(maps.Keys(g.guards)), slices.Collect(maps.Keys(g.open))...) {
		if !served[method] {
			mistakes = append(mistakes, fmt.Errorf("apitokengrpc: the server has no %s", method))
		}
	}
	slices.SortFunc(mistakes, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(mistakes...)
}

// Unary is a [grpc.UnaryServerInterceptor].
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, trailer, err := g.admit(ctx, info.FullMethod, req)
	if err != nil {
		grpc.SetTrailer(ctx, trailer)
		return nil, err
	}
	return handler(ctx, req)
}

// Stream is a [grpc.StreamServerInterceptor].
func (g *Guard) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, trailer, err := g.admit(stream.Context(), info.FullMethod, nil)
	if err != nil {
		stream.SetTrailer(trailer)
		return err
	}
	return handler(srv, &serverStream{stream, ctx})
}

type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

// Message returns a function for [apitoken.Requirement.On] that takes the ID of the object from
// the message of the call, for instance Message((*devicesv1.DeviceRequest).GetId). A stream has no
// message when it begins, so every call of it is refused with Internal: require Filtered for it,
// and call [apitoken.Authority.Recheck] with [apitoken.ID] for what the client sends.
func Message[T any](id func(T) string) func(*http.Request) string {
	return func(r *http.Request) string {
		if m, ok := r.Context().Value(messageKey{}).(T); ok {
			return id(m)
		}
		return ""
	}
}

type messageKey struct{}

// admit returns the context for the handler, or why there is to be none. The message of a
// stream is nil.
func (g *Guard) admit(ctx context.Context, method string, message any) (context.Context, metadata.MD, error) {
	guard := g.guards[method]
	switch {
	case guard != nil:
	case g.open[method]:
		return ctx, nil, nil
	default:
		return ctx, nil, status.Error(codes.PermissionDenied, "This method is not served to anyone.")
	}
	asked := context.WithValue(ctx, messageKey{}, message)
	admitted, answer := httpbridge.Request(guard, request(asked, method))
	if admitted != nil {
		return admitted.Context(), nil, nil
	}
	if answer.Elsewhere() {
		let, err := g.others[method](ctx, method)
		if err != nil {
			return ctx, nil, err
		}
		return let, nil, nil
	}
	trailer := make(metadata.MD)
	for _, name := range [...]string{"Www-Authenticate", "Retry-After", "Ratelimit-Policy", "Ratelimit"} {
		trailer.Append(name, answer.Header()[name]...)
	}
	return ctx, trailer, status.Error(code(answer.Status()), answer.Message())
}

// code returns what a status of HTTP is to gRPC. What is malformed is so
// "regardless of the state of the system", as gRPC says of InvalidArgument, and
// no other token would help, as Unauthenticated would suggest.
func code(status int) codes.Code {
	switch status {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.Unavailable
}

// request makes the HTTP request of a call.
func request(ctx context.Context, method string) *http.Request {
	r := &http.Request{
		Method:     http.MethodPost,
		URL:        &url.URL{Path: method},
		RequestURI: method,
		Pattern:    method,
		Proto:      "HTTP/2.0",
		ProtoMajor: 2,
		Header:     make(http.Header),
		Body:       http.NoBody,
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		if name == ":authority" {
			r.Host = strings.Join(values, "")
			continue
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		r.Header[name] = append(r.Header[name], values...)
	}
	if p, ok := peer.FromContext(ctx); ok {
		if p.Addr != nil {
			r.RemoteAddr = p.Addr.String()
		}
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			r.TLS = &info.State
		}
	}
	return r.WithContext(ctx)
}
