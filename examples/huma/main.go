// Huma shows apitoken with github.com/danielgtaylor/huma over net/http: one
// function makes an operation that needs permissions, and says so in the
// service's OpenAPI document.
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
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

var (
	catalogue    apitoken.Catalogue
	readDevices  = catalogue.Define("devices:read", "See devices")
	writeDevices = catalogue.Define("devices:write", "Change devices")
)

func main() {
	auth := demo.Authority(&catalogue)
	log.Fatal(http.ListenAndServe(demo.Address, newHandler(auth)))
}

func newHandler(auth *apitoken.Authority) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Devices", "1.0.0")
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"apiToken":      {Type: "http", Scheme: "apiToken"},
		"apiTokenQuery": {Type: "apiKey", In: "query", Name: "apiToken"},
	}
	api := humago.New(mux, config)
	huma.Register(api, protected(auth, huma.Operation{OperationID: "get-device", Method: "GET", Path: "/devices/{id}"}, readDevices), device)
	huma.Register(api, protected(auth, huma.Operation{OperationID: "delete-device", Method: "DELETE", Path: "/devices/{id}"}, writeDevices), device)
	return auth.HideQueryToken(mux)
}

// protected returns the operation with a middleware that requires all of these
// permissions, and with the entry in the document that says so.
func protected(auth *apitoken.Authority, op huma.Operation, p apitoken.Permission, more ...apitoken.Permission) huma.Operation {
	guard := auth.Require(p, more...)
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			next(huma.WithContext(ctx, r.Context()))
		})).ServeHTTP(w, r)
	})
	var names []string
	for _, p := range append([]apitoken.Permission{p}, more...) {
		names = append(names, p.Name())
	}
	op.Security = []map[string][]string{{"apiToken": names}, {"apiTokenQuery": names}}
	return op
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

type deviceOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func device(ctx context.Context, in *deviceInput) (*deviceOutput, error) {
	tok, _ := apitoken.FromContext(ctx)
	answer := fmt.Sprintf("%s asks for device %s (%s)\n", tok.Owner(), in.ID, in.uri)
	return &deviceOutput{"text/plain; charset=utf-8", []byte(answer)}, nil
}
