// Package api is the JSON API over which programs manage tokens. docs/api.md
// describes it. Authorization is up to apitoken.Manager.
package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// A Config has the fields of manage.Config that the API needs.
type Config struct {
	Authority     *apitoken.Authority
	Identify      func(*http.Request) (apitoken.Actor, error)
	IdentifyToken func(*http.Request, apitoken.Token) (apitoken.Actor, error)
	Routes        []apitoken.Route
	Failed        func(*http.Request, error)

	// CrossOrigin detects requests that pages of other sites make.
	CrossOrigin *http.CrossOriginProtection
}

// New returns the handler of the API. It expects paths without the prefix under
// which the API is mounted.
func New(c Config) http.Handler { return &api{c} }

type api struct{ config Config }

// An operation is what the API does for a method and a path.
type operation struct {
	method, path string
	who          identity
	query        []string // the names of its query parameters
	header       string   // the one of conditionHeaders that it supports, "" for none
	do           func(*call) (any, error)
	allMistakes  bool // do is also called after mistakes in the body, to report further ones
}

// operations are all operations. Paths are matched in this order: "bulk" and
// "revoke-all" are no IDs. openapi.json describes them.
var operations = []operation{
	{method: "GET", path: "permissions", do: withoutBody((*call).permissions)},
	{method: "GET", path: "routes", do: withoutBody((*call).routes)},
	{method: "GET", path: "tokens", query: listParameters, do: withoutBody((*call).list)},
	{method: "POST", path: "tokens", header: "Idempotency-Key", do: withBody((*call).generate), allMistakes: true},
	{method: "POST", path: "tokens/bulk", header: "Idempotency-Key", do: withBody((*call).bulk)}, // it is idempotent without a key
	{method: "POST", path: "tokens/import", do: withBody((*call).importToken), allMistakes: true},
	{method: "POST", path: "tokens/revoke-all", do: withBody((*call).revokeAll)},
	{method: "GET", path: "tokens/{id}", header: "If-None-Match", do: withoutBody((*call).get)},
	{method: "PATCH", path: "tokens/{id}", header: "If-Match", do: withBody((*call).update), allMistakes: true},
	{method: "DELETE", path: "tokens/{id}", do: withoutBody((*call).delete)},
	{method: "POST", path: "tokens/{id}/rotate", header: "Idempotency-Key", do: withBody((*call).rotate)},
	{method: "POST", path: "tokens/{id}/end-overlap", do: withBody((*call).endOverlap)},
	{method: "POST", path: "tokens/{id}/reveal", do: withoutBody((*call).reveal)},
	{method: "GET", path: "tokens/{id}/explain", query: append([]string{"from"}, requirementParameters...), do: withoutBody((*call).explain)},
	{method: "GET", path: "tokens/{id}/reach", do: withoutBody((*call).reach)},
	{method: "GET", path: "reports/who-can", query: append([]string{"cursor"}, requirementParameters...), do: withoutBody((*call).whoCan)},
	{method: "GET", path: "reports/policy", query: []string{"max_lifetime", "max_idle", "cursor"}, do: withoutBody((*call).previewPolicy)},
	{method: "GET", path: "reports/catalog", query: []string{"without", "cursor"}, do: withoutBody((*call).previewCatalog)},
	{method: "GET", path: "self", who: bearer, header: "If-None-Match", do: withoutBody((*call).get)},
	{method: "PATCH", path: "self", who: bearer, header: "If-Match", do: withBody((*call).update), allMistakes: true},
	{method: "DELETE", path: "self", who: bearer, do: withoutBody((*call).delete)},
	{method: "POST", path: "self/rotate", who: bearer, do: withBody((*call).rotate)},
	{method: "POST", path: "self/deactivate", who: bearer, do: withoutBody((*call).deactivate)},
	{method: "POST", path: "self/derived", who: bearer, do: withBody((*call).derive), allMistakes: true},
	{method: "GET", path: "openapi.json", who: anyone, do: withoutBody((*call).openAPI)},
}

// match reports whether a path is that of op, and returns the ID in it. It decodes
// each segment by itself, so that an encoded slash is part of a segment.
func (op *operation) match(escapedPath string) (id string, ok bool) {
	want := strings.Split(op.path, "/")
	got := strings.Split(strings.TrimPrefix(escapedPath, "/"), "/")
	if len(got) != len(want) {
		return "", false
	}
	for i, segment := range got {
		text, err := url.PathUnescape(segment)
		switch {
		case err != nil || text == "":
			return "", false
		case want[i] == "{id}":
			id = text
		case want[i] != text:
			return "", false
		}
	}
	return id, true
}

// A call is one request to the API.
type call struct {
	*api
	op     *operation
	w      http.ResponseWriter
	r      *http.Request
	id     string // of the token
	actor  apitoken.Actor
	query  url.Values             // has each of op.query at most once
	status int                    // of the answer
	wrong  []*apitoken.FieldError // the mistakes that were found so far
}

// manager returns the Manager that acts for the actor of the request.
func (c *call) manager() *apitoken.Manager { return c.config.Authority.As(c.actor) }

// withBody returns the do of an operation whose requests have a body of type B. The
// function f returns the value to answer as JSON, nil for 204.
func withBody[B any](f func(*call, *B) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		b := new(B)
		if err := c.note(jsonbody.Read(c.w, c.r, b)); err != nil {
			return nil, err
		}
		unread := slices.ContainsFunc(c.wrong, func(f *apitoken.FieldError) bool { return f.Field == "body" })
		if unread || c.wrong != nil && !c.op.allMistakes {
			return nil, c.mistakes(nil)
		}
		return f(c, b)
	}
}

// withoutBody is like withBody for requests without a body.
func withoutBody(f func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if _ = c.note(jsonbody.ReadNone(c.r)); c.wrong != nil {
			return nil, c.mistakes(nil)
		}
		return f(c)
	}
}

// ServeHTTP answers a request to the API.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r, status: http.StatusOK}
	if a.isCrossOrigin(r) && !a.config.Authority.HasCredential(r) {
		a.refuse(w, r, crossOriginError())
		return
	}
	allow, err := c.find()
	if allow != nil {
		w.Header().Set("Allow", strings.Join(allow, ", "))
	}
	var answer any
	if err == nil {
		answer, err = c.answer()
	}
	switch {
	case err != nil:
		a.refuse(w, r, err)
	case answer == nil:
		setHeaders(w.Header())
		w.WriteHeader(c.status)
	default:
		a.write(w, r, c.status, "application/json", answer)
	}
}

// find sets c.op and c.id. If no operation has the path and the method of the
// request, it returns an error, and the methods that the path allows.
func (c *call) find() (allow []string, err error) {
	path := ""
	for i := range operations {
		op := &operations[i]
		id, ok := op.match(c.r.URL.EscapedPath())
		if !ok || path != "" && path != op.path {
			continue
		}
		path = op.path
		methods := []string{op.method}
		if op.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		if slices.Contains(methods, c.r.Method) {
			c.op, c.id = op, id
			return nil, nil
		}
		allow = append(allow, methods...)
	}
	if path == "" {
		return nil, kindNotFound.problem("There is nothing at this path.")
	}
	return allow, kindMethod.problem("This path allows " + strings.Join(allow, ", ") + ".")
}

// answer runs the operation, after it has checked who makes the request, its
// header fields and its query.
func (c *call) answer() (any, error) {
	var err error
	if c.actor, err = c.identify(c.r, c.op.who); err != nil {
		return nil, err
	}
	if err := c.mayDerived(); err != nil {
		return nil, err
	}
	if c.op.who == bearer {
		c.id = c.actor.Token.ID()
	}
	c.readHeaders()
	c.readQuery()
	return c.op.do(c)
}

// setHeaders sets the header fields of every answer: caches must not keep it, and
// browsers must not guess its type.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// write answers with v as JSON, or with 503 if v cannot be encoded.
func (a *api) write(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a time after the year 9999, which no store should return
		w.Header().Del("ETag")
		a.refuse(w, r, err)
		return
	}
	setHeaders(w.Header())
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(append(body, '\n'))
	}
}
