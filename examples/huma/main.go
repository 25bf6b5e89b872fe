// Huma shows apitoken with github.com/danielgtaylor/huma over net/http and
// adapters/huma, which also writes what operations need into the service's
// OpenAPI document.
//
//	go run ./examples/huma
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/apitoken-go/apitoken"
	apitokenhuma "github.com/apitoken-go/apitoken/adapters/huma"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func main() {
	auth := demo.Authority(&catalog)
	log.Fatal(http.ListenAndServe(demo.Address, newHandler(auth)))
}

func newHandler(auth *apitoken.Authority) http.Handler {
	guard := apitokenhuma.Guard{Auth: auth, Unwrap: humago.Unwrap}
	config := huma.DefaultConfig("Devices", "1.0.0")
	config.Components.SecuritySchemes = guard.SecuritySchemes()
	mux := http.NewServeMux()
	api := humago.New(mux, config)
	huma.Register(api, guard.Operation(huma.Operation{
		OperationID: "get-device", Method: http.MethodGet, Path: "/devices/{id}",
	}, apitoken.All(readDevices)), device)
	huma.Register(api, guard.Operation(huma.Operation{
		OperationID: "delete-device", Method: http.MethodDelete, Path: "/devices/{id}",
	}, apitoken.All(writeDevices)), device)
	huma.Register(api, guard.OperationOr(huma.Operation{
		OperationID: "list-devices", Method: http.MethodGet, Path: "/devices",
	}, apitoken.All(readDevices), sessions(api)), devices)
	return auth.HideQueryToken(mux)
}

type deviceInput struct {
	ID   string `path:"id"`
	View string `query:"view"`
	uri  string
}

// Resolve keeps the URL, only to show that the token is not in it.
func (in *deviceInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.uri = u.RequestURI()
	return nil
}

// sessions is middleware as services have it for sessions.
func sessions(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if cookie, err := huma.ReadCookie(ctx, "session"); err == nil {
			if user, ok := demo.User(cookie.Value); ok {
				next(huma.WithContext(ctx, demo.WithUser(ctx.Context(), user)))
				return
			}
		}
		huma.WriteErr(api, ctx, http.StatusUnauthorized, demo.SignIn)
	}
}

// devices is for those who come with a token, and for those who have signed in.
func devices(ctx context.Context, _ *struct{}) (*deviceOutput, error) {
	return &deviceOutput{"text/plain; charset=utf-8", []byte(demo.Who(ctx) + " asks for all devices\n")}, nil
}

type deviceOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func device(ctx context.Context, in *deviceInput) (*deviceOutput, error) {
	tok, _ := apitoken.FromContext(ctx)
	answer := fmt.Sprintf("%s asks for device %s (%s)\n", tok.Owner(), in.ID, in.uri)
	return &deviceOutput{"text/plain; charset=utf-8", []byte(answer)}, nil
}
