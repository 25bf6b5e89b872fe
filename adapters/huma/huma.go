// Package apitokenhuma guards operations of [github.com/danielgtaylor/huma/v2], on every
// router that huma can unwrap to net/http: humago, humachi, humamux, humaflow.
//
//	guard := apitokenhuma.Guard{Auth: auth, Unwrap: humago.Unwrap}
//	config := huma.DefaultConfig("Devices", "1.0.0")
//	config.Components.SecuritySchemes = guard.SecuritySchemes()
//	api := humago.New(mux, config)
//	huma.Register(api, guard.Operation(operation, apitoken.All(readDevices)), device)
//
// examples/huma in the repository is a complete program.
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

// SecuritySchemes returns the security schemes of the operations, for the components of
// [huma.Config].
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

// Operation returns an operation that runs only for requests whose token meets the
// requirement, and whose entry in the OpenAPI document has it. Other requests get the
// answer of [apitoken.Authority.Guard]. It panics where that does, or without Unwrap.
//
// Use it with [huma.Register]. A modifier of a [huma.Group] changes the entries of
// operations in the document, but not their middleware: for groups, use [Guard.Middleware].
func (g Guard) Operation(op huma.Operation, requirement apitoken.Requirement) huma.Operation {
	op.Security = nil
	return g.operation(op, requirement, g.Middleware(requirement))
}

// OperationOr is [Guard.Operation] for operations that another login also opens, such as a
// session: requests without a token go to other, see [apitoken.Authority.GuardOr]. Set the
// Security of the operation to that of the other login; in the document it is an
// alternative to a token.
func (g Guard) OperationOr(op huma.Operation, requirement apitoken.Requirement, other func(huma.Context, func(huma.Context))) huma.Operation {
	return g.operation(op, requirement, g.MiddlewareOr(requirement, other))
}

func (g Guard) operation(op huma.Operation, requirement apitoken.Requirement, guard func(huma.Context, func(huma.Context))) huma.Operation {
	middlewares := make(huma.Middlewares, 0, len(op.Middlewares)+1) // before the others, that nothing of theirs runs for a request that is refused
	op.Middlewares = append(append(middlewares, guard), op.Middlewares...)
	op.Security = append(openapi.Schemes(g.Auth.Accepted()).Security(g.route(op, requirement)), op.Security...)
	return op
}

// Middleware continues only if the token of the request meets the requirement. It adds
// nothing to the OpenAPI document. Use it with UseMiddleware of a [huma.Group] or a
// [huma.API].
//
// Later code finds the token with apitoken.FromContext(ctx.Context()), or in the context of
// the operation's function, and the query without the parameter. Code that unwraps the
// huma.Context again finds the original request: wrap the router in
// [apitoken.Authority.HideQueryToken], which request logs need as well.
func (g Guard) Middleware(requirement apitoken.Requirement) func(huma.Context, func(huma.Context)) {
	return g.middleware(g.Auth.Guard(requirement))
}

// MiddlewareOr is [Guard.Middleware] for operations that another login also opens, see
// [Guard.OperationOr].
func (g Guard) MiddlewareOr(requirement apitoken.Requirement, other func(huma.Context, func(huma.Context))) func(huma.Context, func(huma.Context)) {
	if other == nil {
		panic("apitokenhuma: MiddlewareOr without another login")
	}
	return g.middleware(g.Auth.GuardOr(requirement, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			p := next.(*passage)
			other(p.ctx, p.next)
		})
	}))
}

// middleware lets requests on that a guard admits.
func (g Guard) middleware(guard func(http.Handler) http.Handler) func(huma.Context, func(huma.Context)) {
	if g.Unwrap == nil {
		panic("apitokenhuma: Guard without Unwrap")
	}
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := g.Unwrap(ctx)
		if before, ok := ctx.Context().Value(passageKey{}).(*passage); ok && before.admitted != nil {
			r = before.admitted // by a guard before this one
		}
		p := &passage{ctx: ctx, next: next}
		r = r.WithContext(context.WithValue(ctx.Context(), passageKey{}, p))
		if op := ctx.Operation(); op != nil && r.Pattern == "" {
			r.Pattern = op.Method + " " + op.Path // for events, as http.ServeMux has it
		}
		guard(p).ServeHTTP(w, r)
	}
}

// Param returns a function for [apitoken.Requirement.On] that returns the parameter of the path
// of an operation, as huma.Context.Param does. It knows the parameters while a Guard decides, and
// returns "" outside of that, also for [apitoken.Authority.Recheck]: pass [apitoken.ID] there.
func Param(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		if p, _ := r.Context().Value(passageKey{}).(*passage); p != nil && p.admitted == nil {
			return p.ctx.Param(name)
		}
		return ""
	}
}

// A passage is a request on its way through a guard. Its context has it under passageKey.
type passage struct {
	ctx      huma.Context
	next     func(huma.Context)
	admitted *http.Request // nil while the guard decides
}

type passageKey struct{}

// ServeHTTP lets the request on, as the guard passes it.
func (p *passage) ServeHTTP(_ http.ResponseWriter, admitted *http.Request) {
	p.admitted = admitted
	p.next(admittedContext{p.ctx, admitted})
}

// route returns how the table of routes has an operation.
func (g Guard) route(op huma.Operation, requirement apitoken.Requirement) apitoken.Route {
	routes := g.Auth.Routes(nowhere{})
	routes.Handle(op.Method+" "+op.Path, "an operation", requirement, http.NotFoundHandler())
	return routes.Table()[0]
}

// nowhere is a mux that nobody calls.
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
