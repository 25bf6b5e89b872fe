package apitokenconnect

import (
	"context"
	"errors"
	"maps"
	"net/http"

	"connectrpc.com/connect"

	"github.com/apitoken-go/apitoken"
)

// Interceptor returns an interceptor that decides what [Guard] cannot, as it comes before the
// message is read: whether the token of a call is allowed the object that the message is about,
// see [Message]. It goes into the handler of the service, around which Guard stays. Guard says
// with Filtered that tokens are limited here:
//
//	_, service := devicesv1connect.NewDeviceServiceHandler(devices{}, connect.WithInterceptors(
//		apitokenconnect.Interceptor(auth, map[string]apitoken.Requirement{
//			devicesv1connect.DeviceServiceGetProcedure: apitoken.All(readDevices).On(device,
//				apitokenconnect.Message((*devicesv1.DeviceRequest).GetId)),
//		})))
//	mux.Handle(devicesv1connect.DeviceServiceGetProcedure,
//		apitokenconnect.Guard(auth, apitoken.All(readDevices).Filtered(device))(service))
//
// A procedure that is not in the map is refused, and so is a call that came past Guard and
// GuardOr. Calls that another login has let through GuardOr go on. Interceptor panics on a
// requirement that no token can meet.
func Interceptor(auth *apitoken.Authority, requirements map[string]apitoken.Requirement) connect.Interceptor {
	for _, requirement := range requirements {
		auth.Guard(requirement)
	}
	return &interceptor{auth, maps.Clone(requirements)}
}

// Message returns a function for [apitoken.Requirement.On] that takes the ID of the object from
// the message of a unary call, for instance Message((*devicesv1.DeviceRequest).GetId). Only
// [Interceptor] knows the message. A stream has none when it begins, so every call of it is
// refused with internal: require Filtered for it, and call [apitoken.Authority.Recheck] with
// [apitoken.ID] for what the client sends.
func Message[T any](id func(T) string) func(*http.Request) string {
	return func(r *http.Request) string {
		if m, ok := r.Context().Value(messageKey{}).(T); ok {
			return id(m)
		}
		return ""
	}
}

type (
	messageKey struct{}
	guardedKey struct{} // of requests that passed Guard or GuardOr
)

type interceptor struct {
	auth         *apitoken.Authority
	requirements map[string]apitoken.Requirement
}

// WrapUnary implements [connect.Interceptor].
func (i *interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := i.check(context.WithValue(ctx, messageKey{}, req.Any()), req.Spec().Procedure); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (i *interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := i.check(ctx, conn.Spec().Procedure); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

// WrapStreamingClient implements [connect.Interceptor], for which there is nothing to do.
func (i *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// check returns why a call is refused.
func (i *interceptor) check(ctx context.Context, procedure string) error {
	requirement, known := i.requirements[procedure]
	tok, found := apitoken.FromContext(ctx)
	switch {
	case !known:
		return connect.NewError(connect.CodePermissionDenied, errors.New("the service serves this procedure to nobody"))
	case !found && ctx.Value(guardedKey{}) == nil:
		return connect.NewError(connect.CodeInternal, errors.New("this procedure has no guard"))
	case !found:
		return nil
	}
	_, err := i.auth.Recheck(ctx, tok, requirement)
	if err == nil {
		return nil
	}
	refusal, ok := errors.AsType[*apitoken.Refusal](err)
	if !ok {
		return connect.NewError(connect.CodeUnavailable, errors.New(http.StatusText(http.StatusServiceUnavailable)))
	}
	refused := connect.NewError(code(refusal.Status()), errors.New(refusal.Problem().Detail))
	if challenge := refusal.Challenge(); challenge != "" {
		refused.Meta().Set("WWW-Authenticate", challenge)
	}
	return refused
}
