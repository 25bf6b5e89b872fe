package manage

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// NewAPI makes the JSON API that docs/api.md describes. It is mounted with
// the prefix taken off:
//
//	mux.Handle("/manage/api/", http.StripPrefix("/manage/api", api))
//
// Requests are made by whoever is signed in (Config.Identify) or with an API
// token (Config.IdentifyToken), not with both. Those that change something and
// that a browser makes on behalf of another site are refused, as
// [http.CrossOriginProtection] decides, unless they have a token and nobody is
// signed in: a browser adds cookies by itself, but no token.
func NewAPI(c Config) (http.Handler, error) {
	protection, err := c.check()
	if err != nil {
		return nil, err
	}
	return &api{c, protection}, nil
}

type api struct {
	config     Config
	protection *http.CrossOriginProtection
}

// An apiOperation is what a method does with a path.
type apiOperation struct {
	method, path string
	who          apiWho
	query        []string // the parameters it has
	header       string   // which of apiConditions it heeds, "" for none
	do           func(*apiCall) (any, error)
	allMistakes  bool // do is called with a body that has mistakes, too, to find the others
}

// apiOperations are all there are, in the order in which paths are matched.
// openapi.json describes them.
var apiOperations = []apiOperation{
	{method: "GET", path: "permissions", do: apiNoBody((*apiCall).permissions)},
	{method: "GET", path: "tokens", query: apiListParameters, do: apiNoBody((*apiCall).list)},
	{method: "POST", path: "tokens", do: apiBody((*apiCall).generate), allMistakes: true},
	{method: "POST", path: "tokens/bulk", do: apiBody((*apiCall).bulk)},
	{method: "GET", path: "tokens/{id}", do: apiNoBody((*apiCall).get)},
	{method: "PATCH", path: "tokens/{id}", header: "If-Match", do: apiBody((*apiCall).update)},
	{method: "DELETE", path: "tokens/{id}", do: apiNoBody((*apiCall).delete)},
	{method: "POST", path: "tokens/{id}/rotate", header: "Idempotency-Key", do: apiBody((*apiCall).rotate)},
	{method: "POST", path: "tokens/{id}/end-overlap", do: apiBody((*apiCall).endOverlap)},
	{method: "POST", path: "tokens/{id}/reveal", do: apiNoBody((*apiCall).reveal)},
	{method: "GET", path: "self", who: apiBearer, do: apiNoBody((*apiCall).get)},
	{method: "DELETE", path: "self", who: apiBearer, do: apiNoBody((*apiCall).delete)},
	{method: "GET", path: "openapi.json", who: apiAnyone, do: apiNoBody((*apiCall).openAPI)},
}

// match reports whether op is about a path, and returns the ID in it. Segments
// are decoded one by one, so that an encoded slash separates nothing.
func (op *apiOperation) match(escapedPath string) (id string, ok bool) {
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

// An apiCall is one request to the API.
type apiCall struct {
	*api
	op     *apiOperation
	w      http.ResponseWriter
	r      *http.Request
	id     string // of the token it is about
	actor  apitoken.Actor
	query  url.Values // each of op.query at most once
	status int        // of the answer, if it has a body
	wrong  error      // with the body, of an operation with allMistakes
}

// manager acts for whoever makes the request.
func (c *apiCall) manager() *apitoken.Manager { return c.config.Authority.As(c.actor) }

// apiBody makes an operation of a function that is given the body of the
// request, apiNoBody of one that has none. Both return what to answer as JSON;
// nil for 204.
func apiBody[B any](f func(*apiCall, *B) (any, error)) func(*apiCall) (any, error) {
	return func(c *apiCall) (any, error) {
		b := new(B)
		if c.wrong = jsonbody.Read(c.w, c.r, b); c.wrong != nil && !c.op.allMistakes {
			return nil, c.wrong
		}
		return f(c, b)
	}
}

func apiNoBody(f func(*apiCall) (any, error)) func(*apiCall) (any, error) {
	return func(c *apiCall) (any, error) {
		if err := jsonbody.ReadNone(c.r); err != nil {
			return nil, err
		}
		return f(c)
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &apiCall{api: a, w: w, r: r, status: http.StatusOK}
	if a.fromElsewhere(r) && !a.config.Authority.HasCredential(r) {
		a.refuse(w, r, apiFromElsewhere())
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
		apiHeaders(w.Header())
		w.WriteHeader(http.StatusNoContent)
	default:
		a.write(w, r, c.status, "application/json", answer)
	}
}

// find finds the operation, or the methods that the path allows instead.
func (c *apiCall) find() (allow []string, err error) {
	path := ""
	for i := range apiOperations {
		op := &apiOperations[i]
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
		return nil, apiNotFound.problem("There is nothing at this path.")
	}
	return allow, apiMethod.problem("This path allows " + strings.Join(allow, ", ") + ".")
}

// answer makes sure that the request is one that can be understood, and made by
// somebody, before it does anything.
func (c *apiCall) answer() (any, error) {
	var err error
	if c.actor, err = c.identify(c.r, c.op.who); err != nil {
		return nil, err
	}
	if c.op.who == apiBearer {
		c.id = c.actor.Token.ID()
	}
	if err := c.readHeaders(); err != nil {
		return nil, err
	}
	if err := c.readQuery(); err != nil {
		return nil, err
	}
	return c.op.do(c)
}

// apiHeaders sets what every answer has: nothing here is for caches, and
// nothing is to be taken for anything but what it says it is.
func apiHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func (a *api) write(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a time after the year 9999, which no store should return
		w.Header().Del("ETag")
		a.refuse(w, r, err)
		return
	}
	apiHeaders(w.Header())
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(append(body, '\n'))
	}
}
