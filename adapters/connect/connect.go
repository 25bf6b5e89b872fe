// Package apitokenconnect guards handlers of [connectrpc.com/connect]. Refusals use the
// protocol of the client: Connect, gRPC or gRPC-Web.
//
//	path, handler := devicesv1connect.NewDeviceServiceHandler(devices{})
//	mux.Handle(devicesv1connect.DeviceServiceGetProcedure, apitokenconnect.Guard(auth, apitoken.All(readDevices))(handler))
//
// examples/connect in the repository is a complete program.
package apitokenconnect

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/httpbridge"
)

// Guard is [apitoken.Authority.Guard] for Connect handlers. Register the handler of a
// service once for each procedure, with the requirement of that procedure. So no procedure
// is open, because a procedure that is not registered does not exist.
//
// A request without a valid token gets the code unauthenticated, a request whose token
// lacks a permission gets permission_denied, a malformed request gets invalid_argument, and
// a request that cannot be checked now gets unavailable. The header has the fields of the
// refusal, including WWW-Authenticate. Requests of none of the protocols get the answer of
// apitoken.
//
// Guard is a middleware and not an interceptor, so that nothing reads the body of an
// unknown sender. The options are the handler options that matter for errors, such as
// [connect.WithRequireConnectProtocolHeader].
func Guard(auth *apitoken.Authority, requirement apitoken.Requirement, options ...connect.HandlerOption) func(http.Handler) http.Handler {
	return middleware(auth.Guard(requirement), func(next http.Handler) http.Handler { return next }, options)
}

// GuardOr is [Guard] for procedures that another login also opens: requests without a token
// go to the handler that other returns, see [apitoken.Authority.GuardOr]. other can be the
// Wrap of a middleware of connectrpc.com/authn.
func GuardOr(auth *apitoken.Authority, requirement apitoken.Requirement, other func(http.Handler) http.Handler, options ...connect.HandlerOption) func(http.Handler) http.Handler {
	if other == nil {
		panic("apitokenconnect: GuardOr without another login")
	}
	return middleware(httpbridge.GuardOr(auth, requirement), other, options)
}

// middleware lets requests on that a guard admits, and to other those that it leaves to that.
func middleware(guard, other func(http.Handler) http.Handler, options []connect.HandlerOption) func(http.Handler) http.Handler {
	protocols := connect.NewErrorWriter(options...)
	return func(next http.Handler) http.Handler {
		others := other(next)
		if others == nil {
			panic("apitokenconnect: the other login returned no handler")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(context.WithValue(r.Context(), guardedKey{}, true))
			admitted, answer := httpbridge.Request(guard, r)
			switch {
			case admitted != nil:
				answer.SendTo(w)
				next.ServeHTTP(w, admitted)
			case answer.Elsewhere():
				answer.SendTo(w)
				others.ServeHTTP(w, r)
			case protocols.IsSupported(r):
				// As fields of the header in every protocol: authentication
				// must not be in a trailer (RFC 9110 section 6.5.1).
				err := connect.NewError(code(answer.Status()), errors.New(answer.Message()))
				answer.Header().Del("Content-Type") // of the body, which the protocol replaces
				answer.SetHeader(w.Header())
				protocols.Write(w, r, err)
			default:
				answer.SendTo(w)
			}
		})
	}
}

// code returns what a status of HTTP is to Connect. What is malformed is invalid
// whatever the state of the system, as the specification has it of
// invalid_argument, and no other token would help, as unauthenticated would
// suggest. In Connect's own protocol all have the HTTP status they come from.
func code(status int) connect.Code {
	switch status {
	case http.StatusBadRequest:
		return connect.CodeInvalidArgument
	case http.StatusUnauthorized:
		return connect.CodeUnauthenticated
	case http.StatusForbidden:
		return connect.CodePermissionDenied
	case http.StatusTooManyRequests:
		return connect.CodeResourceExhausted
	case http.StatusInternalServerError:
		return connect.CodeInternal
	}
	return connect.CodeUnavailable
}
