package apitokenhuma_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokenhuma "github.com/apitoken-go/apitoken/adapters/huma"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

type input struct {
	ID    string `path:"id"`
	View  string `query:"view"`
	Token string `query:"apiToken"`
	uri   string
}

func (in *input) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.uri = u.RequestURI()
	return nil
}

type output struct{ Body []byte }

// A service is an API whose operations count their calls.
type service struct {
	mux    *http.ServeMux
	api    huma.API
	guard  apitokenhuma.Guard
	called int
}

func newService(auth *apitoken.Authority) *service {
	s := &service{mux: http.NewServeMux(), guard: apitokenhuma.Guard{Auth: auth, Unwrap: humago.Unwrap}}
	config := huma.DefaultConfig("Devices", "1.0.0")
	config.Components.SecuritySchemes = s.guard.SecuritySchemes()
	s.api = humago.New(s.mux, config)
	return s
}

func (s *service) device(ctx context.Context, in *input) (*output, error) {
	s.called++
	tok, _ := apitoken.FromContext(ctx)
	return &output{[]byte(fmt.Sprintf("%s %s %q %q %s", tok.Owner(), in.ID, in.View, in.Token, in.uri))}, nil
}

func (s *service) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

func get(path string) huma.Operation {
	return huma.Operation{OperationID: "get" + path, Method: http.MethodGet, Path: path}
}

func TestNoOperationRunsAfterARefusal(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	s := newService(auth)
	op, ran := get("/devices/{id}"), 0
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) { ran++; next(ctx) }}
	huma.Register(s.api, s.guard.Operation(op, apitoken.All(readDevices)), s.device)
	for token, status := range map[string]int{"": 401, "x": 401, apitokentest.Token(t, auth, writeDevices): 403, "a b": 400} {
		w := s.send(apitokentest.Request("GET", "/devices/1", token))
		assert.Equal(t, status, w.Code)
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	}
	assert.Zero(t, s.called)
	assert.Zero(t, ran, "the operation's own middleware")
	assert.Equal(t, 200, s.send(apitokentest.Request("GET", "/devices/1", apitokentest.Token(t, auth, readDevices))).Code)
	assert.Equal(t, 1, s.called)
	assert.Equal(t, 1, ran)
}

func TestTheParameterIsGoneAndTheRestIsThere(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	s := newService(auth)
	huma.Register(s.api, s.guard.Operation(get("/devices/{id}"), apitoken.All(readDevices)), s.device)
	token := apitokentest.Token(t, auth, readDevices)
	w := s.send(apitokentest.Request("GET", "/devices/1?view=x&apiToken="+token, ""))
	assert.Equal(t, 200, w.Code)
	assert.Equal(t, `tester 1 "x" "" /devices/1?view=x`, w.Body.String())
	assert.Equal(t, "private, no-store", w.Header().Get("Cache-Control"))
	w = s.send(apitokentest.Request("GET", "/devices/1?view=x", token))
	assert.Equal(t, `tester 1 "x" "" /devices/1?view=x`, w.Body.String())
}

// Modifiers of a group do not reach what runs; its middleware does.
func TestAGroupIsGuardedByItsMiddleware(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	s := newService(auth)
	group := huma.NewGroup(s.api, "/v1")
	group.UseMiddleware(s.guard.Middleware(apitoken.All(readDevices)))
	huma.Get(group, "/devices/{id}", s.device)
	assert.Equal(t, 401, s.send(apitokentest.Request("GET", "/v1/devices/1", "")).Code)
	assert.Zero(t, s.called)
	w := s.send(apitokentest.Request("GET", "/v1/devices/1", apitokentest.Token(t, auth, readDevices)))
	assert.Equal(t, `tester 1 "" "" /v1/devices/1`, w.Body.String())
}

func TestTheDocumentSaysWhatIsRequired(t *testing.T) {
	var usual []apitoken.Source // nil
	for name, tt := range map[string]struct {
		accept      []apitoken.Source
		requirement apitoken.Requirement
		security    string
	}{
		"all":             {usual, apitoken.All(readDevices, writeDevices), `[{"apiToken":["devices:read","devices:write"]},{"apiTokenQuery":["devices:read","devices:write"]}]`},
		"any":             {[]apitoken.Source{apitoken.Scheme("apiToken")}, apitoken.Any(readDevices, writeDevices), `[{"apiToken":["devices:read"]},{"apiToken":["devices:write"]}]`},
		"the header":      {usual, apitoken.All(readDevices).HeaderOnly(), `[{"apiToken":["devices:read"]}]`},
		"any valid token": {usual, apitoken.AnyToken(), `[{"apiToken":[]},{"apiTokenQuery":[]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New(), Accept: tt.accept})
			require.NoError(t, err)
			defer auth.Close()
			s := newService(auth)
			huma.Register(s.api, s.guard.Operation(get("/devices/{id}"), tt.requirement), s.device)
			var doc struct {
				Paths map[string]struct {
					Get struct{ Security json.RawMessage }
				}
				Components struct{ SecuritySchemes map[string]map[string]any }
			}
			w := s.send(httptest.NewRequest("GET", "/openapi.json", nil))
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
			assert.JSONEq(t, tt.security, string(doc.Paths["/devices/{id}"].Get.Security))
			assert.Equal(t, map[string]any{"type": "http", "scheme": "apiToken", "description": "`Authorization: apiToken <token>`"}, doc.Components.SecuritySchemes["apiToken"])
			assert.Len(t, doc.Components.SecuritySchemes, len(auth.Accepted()))
		})
	}
}

func TestEventsHaveThePatternOfTheRouter(t *testing.T) {
	var patterns []string
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: memory.New(),
		Observe: func(_ context.Context, e apitoken.Event) { patterns = append(patterns, e.Pattern) },
	})
	require.NoError(t, err)
	defer auth.Close()
	s := newService(auth)
	huma.Register(s.api, s.guard.Operation(get("/devices/{id}"), apitoken.All(readDevices)), s.device)
	s.send(apitokentest.Request("GET", "/devices/1", ""))
	assert.Equal(t, []string{"GET /devices/{id}"}, patterns)
}

func TestAGuardThatIsNotWholePanics(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	assert.Panics(t, func() { apitokenhuma.Guard{Auth: auth}.Middleware(apitoken.AnyToken()) })
	assert.Panics(t, func() { apitokenhuma.Guard{Auth: auth, Unwrap: humago.Unwrap}.Middleware(apitoken.Requirement{}) })
}

func TestAnotherLoginDecidesAboutRequestsWithoutAToken(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	s := newService(auth)
	sessions := func(ctx huma.Context, next func(huma.Context)) {
		switch ctx.Header("X-Session") {
		case "":
			huma.WriteErr(s.api, ctx, http.StatusTeapot, "sign in")
		case "panic":
			panic("the sessions are gone")
		default:
			next(huma.WithValue(ctx, "user", ctx.Header("X-Session")))
		}
	}
	device := func(ctx context.Context, in *input) (*output, error) {
		s.called++
		tok, found := apitoken.FromContext(ctx)
		return &output{[]byte(fmt.Sprintf("%s %t %v %s", tok.Owner(), found, ctx.Value("user"), in.ID))}, nil
	}
	op := get("/devices/{id}")
	op.Security = []map[string][]string{{"session": {}}}
	huma.Register(s.api, s.guard.OperationOr(op, apitoken.All(readDevices), sessions), device)
	group := huma.NewGroup(s.api, "/v1")
	group.UseMiddleware(s.guard.MiddlewareOr(apitoken.All(readDevices), sessions))
	huma.Get(group, "/devices/{id}", device)
	for _, row := range []struct {
		token, session string
		status         int
		body           string
	}{
		{"", "", http.StatusTeapot, ""},
		{"", "ada", 200, "ada"},
		{apitokentest.Token(t, auth, readDevices), "ada", 200, "tester true <nil> 1"},
		{apitokentest.Token(t, auth, writeDevices), "ada", 403, ""},
		{"x", "ada", 401, ""},
		{"a b", "ada", 400, ""},
	} {
		for _, path := range []string{"/devices/1", "/v1/devices/1"} {
			before := s.called
			r := apitokentest.Request("GET", path, row.token)
			r.Header.Set("X-Session", row.session)
			w := s.send(r)
			assert.Equal(t, row.status, w.Code, row)
			if row.status != 200 {
				assert.Equal(t, before, s.called, row)
				continue
			}
			assert.Equal(t, before+1, s.called, row)
			assert.Contains(t, w.Body.String(), row.body)
			assert.Equal(t, "Authorization", w.Header().Get("Vary"))
		}
	}
	before := s.called
	r := apitokentest.Request("GET", "/devices/1", "")
	r.Header.Set("X-Session", "panic")
	assert.Panics(t, func() { s.send(r) })
	assert.Equal(t, before, s.called)
	assert.Equal(t, []map[string][]string{{"apiToken": {"devices:read"}}, {"apiTokenQuery": {"devices:read"}}, {"session": {}}},
		s.api.OpenAPI().Paths["/devices/{id}"].Get.Security)
	assert.Panics(t, func() { s.guard.OperationOr(op, apitoken.AnyToken(), nil) })
}
