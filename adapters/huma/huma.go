// Package apitokenhuma guards operations of [github.com/danielgtaylor/huma/v2],
// on every router for which huma unwraps to net/http: humago, humachi, humamux,
// humaflow.
//
//	guard := apitokenhuma.Guard{Auth: auth, Unwrap: humago.Unwrap}
//	config := huma.DefaultConfig("Devices", "1.0.0")
//	config.Components.SecuritySchemes = guard.SecuritySchemes()
//	api := humago.New(mux, config)
//	huma.Register(api, guard.Operation(operation, apitoken.All(readDevices)), device)
//
// The whole program is in examples/huma of the repository.
package apitokenhuma

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/openapi"
)

// A Guard guards operations. Auth and Unwrap are required.
type Guard struct {
	Auth   *apitoken.Authority
	Unwrap func(huma.Context) (*http.Request, http.ResponseWriter) // of the router's adapter
}

// SecuritySchemes returns what the security of operations refers to, for the
// components of huma.Config.
func (g Guard) SecuritySchemes() map[string]*huma.SecurityScheme {
	schemes := make(map[string]*huma.SecurityScheme)
	for name, scheme := range openapi.Schemes(g.Auth.Accepted()).Components() {
		member := func(key string) string {
			text, _ := scheme.(map[string]any)[key].(string)
			return text
		}
		schemes[name] = &huma.SecurityScheme{
			Type: member("type"), Description: member("description"), Name: member("name"), In: member("in"), Scheme: member("scheme"),
		}
	}
	return schemes
}

// Operation returns an operation that is called only for requests whose token
// meets the requirement, as its entry in the OpenAPI document then says; others are
// answered as by [apitoken.Authority.Guard]. It panics where that does, or
// without Unwrap.
//
// It is for huma.Register. Whatever changes operations of a huma.Group changes
// their entries in the document, but not what runs: there, use Middleware.
func (g Guard) Operation(op huma.Operation, requirement apitoken.Requirement) huma.Operation {
	middlewares := make(huma.Middlewares, 0, len(op.Middlewares)+1) // before the others, that nothing of theirs runs for a request that is refused
	op.Middlewares = append(append(middlewares, g.Middleware(requirement)), op.Middlewares...)
	op.Security = openapi.Schemes(g.Auth.Accepted()).Security(g.route(op, requirement))
	return op
}

// Middleware lets requests on only if their token meets the requirement, and says
// nothing about that in the OpenAPI document. It is for the UseMiddleware of a
// huma.Group or a huma.API.
//
// What follows finds the token with apitoken.FromContext(ctx.Context()), or in
// the context of the operation's function, and the query without the parameter.
// What unwraps the huma.Context once more finds the request as it came: put
// [apitoken.Authority.HideQueryToken] around the router, which logs of requests
// requirement as well.
func (g Guard) Middleware(requirement apitoken.Requirement) func(huma.Context, func(huma.Context)) {
	if g.Unwrap == nil {
		panic("apitokenhuma: Guard without Unwrap")
	}
	guard := g.Auth.Guard(requirement)
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := g.Unwrap(ctx)
		if r.Pattern == "" {
			if op := ctx.Operation(); op != nil { // for events, as http.ServeMux has it
				r = r.WithContext(r.Context())
				r.Pattern = op.Method + " " + op.Path
			}
		}
		guard(http.HandlerFunc(func(_ http.ResponseWriter, admitted *http.Request) {
			next(admittedContext{ctx, admitted})
		})).ServeHTTP(w, r)
	}
}

// route returns how the table of routes has an operation.
func (g Guard) route(op huma.Operation, requirement apitoken.Requirement) apitoken.Route {
	routes := g.Auth.Routes(nowhere{})
	routes.Handle(op.Method+" "+op.Path, "an operation", requirement, http.NotFoundHandler())
	return routes.Table()[0]
}

// nowhere is a mux of which nothing is asked.
type nowhere struct{}

func (nowhere) Handle(string, http.Handler) {}

type humaContext = huma.Context

// An admittedContext shows a request as it was let on.
type admittedContext struct {
	humaContext
	r *http.Request
}

func (c admittedContext) Context() context.Context { return c.r.Context() }
func (c admittedContext) URL() url.URL             { return *c.r.URL }
func (c admittedContext) Query(name string) string { return c.r.URL.Query().Get(name) }

// Unwrap is for the Unwrap of huma's adapters.
func (c admittedContext) Unwrap() huma.Context { return c.humaContext }
