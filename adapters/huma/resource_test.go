package apitokenhuma_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	apitokenhuma "github.com/apitoken-go/apitoken/adapters/huma"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

// An asked input has the parameter of the path as middleware of huma finds it.
type asked struct{ id string }

func (in *asked) Resolve(ctx huma.Context) []error {
	in.id = ctx.Param("id")
	return nil
}

type answered struct {
	Status int
	Body   []byte
}

func TestALimitedTokenGetsNothingElseFromAServiceOfHuma(t *testing.T) {
	s := resourcetest.New(t, 1, 100, resourcetest.Framework{
		Param: func(name string) string { return "{" + name + "}" }, Rest: func(name string) string { return "{" + name + "...}" },
		Value: apitokenhuma.Param, RestValue: apitokenhuma.Param,
	})
	x := newService(s.Auth)
	for _, r := range s.Routes {
		api, last := x.api, len(r.Guards)-1
		for i, guard := range r.Guards[:last] {
			group := huma.NewGroup(api, r.Prefixes[i])
			group.UseMiddleware(x.guard.Middleware(guard))
			api = group
		}
		op := huma.Operation{OperationID: r.Name, Method: http.MethodGet, Path: r.Prefixes[last]}
		huma.Register(api, x.guard.Operation(op, r.Guards[last]), func(ctx context.Context, in *asked) (*answered, error) {
			tok, _ := apitoken.FromContext(ctx)
			status, body := r.Answer(tok, in.id)
			return &answered{status, []byte(body)}, nil
		})
	}
	s.Check(t, func(c resourcetest.Call) (int, string) {
		w := x.send(c.Request())
		return w.Code, w.Body.String()
	})
}

func TestAParameterIsUnknownAfterTheGuard(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device := catalog.Resource("device", "Device")
	auth := apitokentest.New(t, &catalog)
	x := newService(auth)
	on := func(id func(*http.Request) string) apitoken.Requirement { return apitoken.All(read).On(device, id) }
	called := false
	huma.Register(x.api, x.guard.Operation(get("/devices/{id}"), on(apitokenhuma.Param("id"))), func(ctx context.Context, in *asked) (*answered, error) {
		called = true
		tok, _ := apitoken.FromContext(ctx)
		_, err := auth.Recheck(ctx, tok, on(apitokenhuma.Param("id")))
		assert.Error(t, err)
		_, err = auth.Recheck(ctx, tok, on(apitoken.ID(in.id)))
		assert.NoError(t, err)
		return &answered{Status: 200}, nil
	})
	assert.Equal(t, 200, x.send(apitokentest.Request("GET", "/devices/1", apitokentest.Token(t, auth, read))).Code)
	assert.True(t, called)
	assert.Empty(t, apitokenhuma.Param("id")(apitokentest.Request("GET", "/devices/1", "")), "of a request that huma does not know")
}
