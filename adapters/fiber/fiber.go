// Package apitokenfiber guards routes of [github.com/gofiber/fiber/v3].
//
//	app := fiber.New()
//	app.Use(apitokenfiber.HideQueryToken(auth))
//	app.Get("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(readDevices)), device)
//
// examples/fiber in the repository is a complete program.
package apitokenfiber

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v3"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/httpbridge"
)

// Guard returns a handler that continues only if the token of the request meets the
// requirement. Otherwise it answers as [apitoken.Authority.Guard] does. It panics where
// that does.
//
// Later handlers find the token with apitoken.FromContext(c.Context()), and the query
// without the parameter. Functions of [apitoken.Config] that take an http.Request get a
// request without a body.
func Guard(auth *apitoken.Authority, requirement apitoken.Requirement) fiber.Handler {
	return handler(auth.Guard(requirement), nil)
}

// GuardOr is [Guard] for routes that another login also opens, such as a session: requests
// without a token go to other, see [apitoken.Authority.GuardOr].
func GuardOr(auth *apitoken.Authority, requirement apitoken.Requirement, other fiber.Handler) fiber.Handler {
	if other == nil {
		panic("apitokenfiber: GuardOr without another login")
	}
	return handler(httpbridge.GuardOr(auth, requirement), other)
}

// handler lets requests on that a guard admits, and to other those that it leaves to that.
func handler(guard func(http.Handler) http.Handler, other fiber.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		p := &params{Context: c.Context(), c: c}
		r, err := request(p, c)
		if err != nil {
			return err
		}
		admitted, answer := httpbridge.Request(guard, r)
		p.c = nil
		for name, values := range answer.Header() {
			if !httpbridge.Joins(name) {
				c.Response().Header.Del(name)
			}
			for _, v := range values {
				c.Response().Header.Add(name, v)
			}
		}
		if answer.Elsewhere() {
			return other(c)
		}
		if admitted == nil {
			return c.Status(answer.Status()).Send(answer.Body())
		}
		pass(c, r, admitted)
		return c.Next()
	}
}

// Params returns a function for [apitoken.Requirement.On] that returns the parameter of fiber's
// path, as c.Params does. It knows the parameters while Guard decides, and returns "" outside of
// that, also for [apitoken.Authority.Recheck]: pass [apitoken.ID] there. The guard of a group
// knows the parameters in the prefix of the group.
func Params(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		if p, _ := r.Context().Value(paramsKey{}).(*params); p != nil && p.c != nil {
			return strings.Clone(p.c.Params(name))
		}
		return ""
	}
}

// params is the context in which a guard decides. fiber uses c again for another request, so it
// is nil after that.
type params struct {
	context.Context
	c fiber.Ctx
}

type paramsKey struct{}

// Value makes params known to Params.
func (p *params) Value(key any) any {
	if key == (paramsKey{}) {
		return p
	}
	return p.Context.Value(key)
}

// HideQueryToken removes the query parameter from requests and passes the token on to
// [Guard]. Use it first, before request logs, which would write the token.
func HideQueryToken(auth *apitoken.Authority) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := request(c.Context(), c)
		if err != nil {
			return err
		}
		pass(c, r, auth.WithoutQueryToken(r))
		return c.Next()
	}
}

// pass puts what became of a request into fiber's.
func pass(c fiber.Ctx, before, after *http.Request) {
	c.SetContext(after.Context())
	if after.RequestURI != before.RequestURI {
		c.Request().SetRequestURI(after.RequestURI)
	}
}

// request makes an http.Request of the lines that fasthttp has received. It
// takes the target of the request as it was sent, since fasthttp parses it
// otherwise than net/http does, and keeps fields that were sent twice: whatever
// is read of both must be read as by net/http. All strings are copies, because
// fasthttp uses its memory again.
func request(ctx context.Context, c fiber.Ctx) (*http.Request, error) {
	in := &c.Request().Header
	target := string(in.RequestURI())
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fiber.NewError(fiber.StatusBadRequest, "malformed request target")
	}
	r := &http.Request{
		Method:     string(in.Method()),
		URL:        u,
		RequestURI: target,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     make(http.Header),
		Body:       http.NoBody,
		Host:       string(in.Host()),
		RemoteAddr: c.RequestCtx().RemoteAddr().String(), // not c.IP, which may be a header
		TLS:        c.RequestCtx().TLSConnectionState(),
	}
	for name, value := range in.All() {
		r.Header.Add(string(name), string(value))
	}
	if route := c.Route(); route != nil {
		r.Pattern = route.Method + " " + route.Path // for events, as http.ServeMux has it
	}
	return r.WithContext(ctx), nil
}
