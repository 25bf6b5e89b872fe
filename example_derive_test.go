package apitoken_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A script gets a token for five minutes and one route, to put it into a URL.
func ExampleAuthority_Derive() {
	key, err := apitoken.NewKey("2026-11", []byte("32 random bytes from a secret man")[:32])
	if err != nil {
		panic(err)
	}
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: memory.New(), IntegrityKeys: []apitoken.Key{key},
	})
	if err != nil {
		panic(err)
	}
	defer auth.Close()
	_, parent, err := auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name: "example", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
	})
	if err != nil {
		panic(err)
	}

	var derived apitoken.Secret
	mux := http.NewServeMux()
	mux.Handle("POST /events/token", auth.Handler(func(w http.ResponseWriter, r *http.Request, tok apitoken.Token) {
		derived, err = auth.Derive(tok, apitoken.Derived{
			Permissions: []apitoken.Permission{readDevices}, For: 5 * time.Minute, Route: "GET /events", Label: "browser",
		})
		if err != nil {
			panic(err)
		}
	}, readDevices))
	events := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		label, ok := tok.Derived()
		fmt.Println(label, ok, tok.Owner())
	})
	mux.Handle("GET /events", auth.Guard(apitoken.All(readDevices).DerivedInQuery())(events))
	mux.Handle("GET /devices", auth.Require(readDevices)(events))

	request := func(method, url string, header apitoken.Secret) {
		r := httptest.NewRequest(method, url, nil)
		if text := header.Reveal(); text != "" {
			r.Header.Set("Authorization", "apiToken "+text)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(method, r.URL.Path, w.Code)
	}
	request("POST", "/events/token", parent)
	request("GET", "/events?apiToken="+derived.Reveal(), apitoken.Secret{})
	request("GET", "/events?apiToken="+parent.Reveal(), apitoken.Secret{}) // valid too long for a URL
	request("GET", "/devices", derived)                                    // another route
	// Output:
	// POST /events/token 200
	// browser true alice
	// GET /events 200
	// GET /events 400
	// GET /devices 403
}
