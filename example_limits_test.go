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

// Each token may make two requests at once, and one more every ten minutes.
func ExampleLimits() {
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: memory.New(),
		Limits: apitoken.Limits{Token: apitoken.Limit{Requests: 6, Per: time.Hour, Burst: 2}},
	})
	if err != nil {
		panic(err)
	}
	defer auth.Close()
	_, secret, err := auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name: "example", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
	})
	if err != nil {
		panic(err)
	}
	devices := auth.Require(readDevices)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "[]")
	}))
	for range 3 {
		r := httptest.NewRequest("GET", "/devices", nil)
		r.Header.Set("Authorization", "apiToken "+secret.Reveal())
		w := httptest.NewRecorder()
		devices.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"), w.Header().Get("Retry-After") != "")
	}
	// Output:
	// 200 "token";q=2;w=1200 false
	// 200 "token";q=2;w=1200 false
	// 429 "token";q=2;w=1200 true
}
